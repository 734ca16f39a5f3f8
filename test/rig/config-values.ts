import * as fc from 'fast-check';

/**
 * Strings for the fields of bascule.yaml, at the edge of what is allowed there: valid ones of least and greatest length,
 * and the same with one thing in them that HAProxy, YAML or a shell would read as something else.
 */

const lower = 'abcdefghijklmnopqrstuvwxyz';
const upper = lower.toUpperCase();
const digits = '0123456789';
const alphanumeric = lower + upper + digits;

const nasty = [
  '\n',
  '\r',
  '\0',
  '\t',
  ' ',
  '#',
  '"',
  "'",
  '\\',
  '$',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: HAProxy expands it
  '${HOME}',
  '%[src]',
  '-f',
  ' -f /etc/passwd',
  ',',
  '\n  use_backend other',
  '\nbackend other',
  ' or TRUE',
  '\x1b[0m',
  '\u00e9',
  '\u2028',
  '\ufeff',
  '😀',
] as const;
const wholes = ['', ' ', '-f', '#', '\n', '__proto__', 'null', '~', '%', '*', '..', '"'] as const;

/** Any string of these characters: the shortest, the longest, or one of a few characters. */
function chars(alphabet: string, least: number, most: number): fc.Arbitrary<string> {
  const unit = fc.constantFrom(...alphabet);
  const between = (minLength: number, maxLength: number) => fc.string({ unit, minLength, maxLength, size: 'max' });
  return fc.oneof(
    { weight: 4, arbitrary: between(least, Math.min(most, least + 10)) },
    { weight: 1, arbitrary: between(most, most) },
  );
}

const joined = (...parts: readonly (string | fc.Arbitrary<string>)[]): fc.Arbitrary<string> =>
  fc.tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part))).map((all) => all.join(''));

const list = (item: fc.Arbitrary<string>, separator: string, most: number): fc.Arbitrary<string> =>
  fc.array(item, { minLength: 1, maxLength: most }).map((items) => items.join(separator));

const number = (least: number, most: number): fc.Arbitrary<string> =>
  fc.oneof(fc.constantFrom(least, most), fc.integer({ min: least, max: most })).map(String);

const name = (longest: number): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom('constructor', 'if', 'or', 'true', 'backend', 'default', 'a', 'null') },
    { weight: 1, arbitrary: chars(lower, 1, 1) },
    {
      weight: 8,
      arbitrary: joined(chars(lower, 1, 1), chars(`${lower}${digits}-`, 0, longest - 2), chars(lower + digits, 1, 1)),
    },
  );

const label = fc.oneof(
  { weight: 1, arbitrary: chars(alphanumeric, 1, 1) },
  {
    weight: 3,
    arbitrary: joined(chars(alphanumeric, 1, 1), chars(`${alphanumeric}-`, 0, 61), chars(alphanumeric, 1, 1)),
  },
);
const longestHost = [63, 63, 63, 61].map((length) => 'h'.repeat(length)).join('.');
const host = fc.oneof(
  { weight: 1, arbitrary: fc.constant(longestHost) },
  { weight: 12, arbitrary: list(label, '.', 3) },
);
const octet = number(0, 255);
const ipv4 = joined(octet, '.', octet, '.', octet, '.', octet);
/** None that a base has, nor that of a component: then another field would be named. */
const port = fc.oneof(fc.constantFrom('1', '80', '443', '65535'), number(20_000, 60_000));
const nameLabel = joined(chars(lower + upper, 1, 1), chars(`${alphanumeric}-`, 0, 61), chars(alphanumeric, 1, 1));
const serverAddress = joined(
  fc.oneof(ipv4, nameLabel, joined(label, '.', nameLabel), joined(label, '.', label, '.', nameLabel)),
  ':',
  port,
);
const longestMilliseconds: Readonly<Record<string, number>> = { ms: 2_147_483_647, s: 2_147_483, m: 35_791, h: 596 };
const durationFrom = (least: number) =>
  fc.constantFrom('ms', 's', 'm', 'h').chain((unit) => joined(number(least, longestMilliseconds[unit] ?? 1), unit));
const pathCharacters = `${alphanumeric}._~/-`;
const fileCharacters = `${alphanumeric}._/+@-`;
const segment = joined(chars(`${alphanumeric}_+@-`, 1, 1), chars(`${alphanumeric}._+@-`, 0, 200));
const urlPath = joined('/', chars(pathCharacters, 0, 255));
const variable = joined(chars(`${lower}${upper}_`, 1, 1), chars(`${alphanumeric}_`, 0, 254));

/** The valid strings of each kind. */
const valid = {
  name: name(63),
  /** The same where it is no part of haproxy.cfg. */
  nameElsewhere: name(63),
  /** As long as prefix, component and `-green` may be together: 63 characters. */
  componentOfPrefix: name(28),
  prefix: joined(chars(lower, 1, 1), chars(`${lower}${digits}-`, 0, 28)),
  pool: joined(chars(lower, 1, 1), chars(`${lower}${digits}_-`, 0, 62)),
  host,
  domain: host,
  serverAddress,
  bind: joined(fc.oneof({ weight: 4, arbitrary: ipv4 }, { weight: 1, arbitrary: fc.constant('*') }), ':', port),
  user: joined(chars(`${lower}_`, 1, 1), chars(`${lower}${digits}_-`, 0, 31)),
  extension: chars(alphanumeric, 1, 16),
  image: joined(chars(alphanumeric, 1, 1), chars(`${alphanumeric}._:/-`, 0, 254)),
  days: joined(number(1, 3_650), 'd'),
  logTarget: fc.oneof(fc.constant('stdout'), joined(ipv4, ':', port), joined('/', chars(`${alphanumeric}._/-`, 1, 96))),
  logFormat: fc.constantFrom('json', 'haproxy'),
  status: fc.constantFrom('400', '401', '403', '404', '405', '407', '408', '410', '413', '425', '429', '500', '501'),
  authority: fc.oneof(
    fc.constantFrom('letsencrypt', 'letsencrypt-staging'),
    joined('https://', list(label, '.', 3)),
    joined('https://', list(label, '.', 3), ':', port, urlPath),
  ),
  email: joined(chars(`${alphanumeric}_+`, 1, 1), list(chars(`${alphanumeric}_+-`, 1, 20), '.', 3), '@', host),
  urlPath,
  cookie: chars(`${alphanumeric}_`, 1, 64),
  range: fc.oneof(fc.constantFrom('127.0.0.0/8', '127.255.0.0/16', '127.9.8.0/24', '127.0.0.1', '10.0.0.7')),
  file: chars(fileCharacters, 1, 1_024),
  /** A folder that can be made below the configuration's. */
  folder: list(segment, '/', 4),
  socket: chars(`${alphanumeric}_+@-`, 1, 60),
  masterSocket: chars(`${alphanumeric}_+@-`, 1, 60),
  opened: joined(
    'opened/',
    chars(`${alphanumeric} #"'$%\\,\n`, 1, 1),
    chars(`${alphanumeric} .#"'$%\\,\n\u00e9`, 0, 120),
  ),
  duration: durationFrom(0),
  positiveDuration: durationFrom(1),
  positiveDurationElsewhere: durationFrom(1),
  size: joined(number(1, 9_999_999), fc.constantFrom('kB', 'MB', 'GB')),
  percentage: fc.oneof(joined(number(0, 100), '%'), joined(number(0, 99), '.', chars(digits, 1, 3), '%')),
  variable,
  program: chars(`${alphanumeric} #"'$%\\./\n\u00e9`, 1, 200),
  text: chars(`${alphanumeric} #"'$%\\=\n\u00e9`, 0, 2_000),
  artifact: joined(
    fc.constantFrom('file:./', 'file:///srv/', 'https://artifacts.example.org/', 'http://10.0.0.1:8080/'),
    chars(`${alphanumeric}._~!$&'()*+,;=-`, 1, 100),
    '/{component}/{environment}/{sha}',
  ),
  checksum: fc.oneof(
    fc.constantFrom('{url}.sha256', 'https://artifacts.example.org/{sha}'),
    joined('{url}', chars(`${alphanumeric}._~!$&'()*+,;=-`, 1, 100)),
  ),
} satisfies Readonly<Record<string, fc.Arbitrary<string>>>;

export type ValueKind = keyof typeof valid;

/** What may hold anything, since it never reaches haproxy.cfg nor a shell. */
const freeKinds: readonly ValueKind[] = ['opened', 'program', 'text', 'artifact', 'checksum'];

export const isFree = (kind: ValueKind): boolean => freeKinds.includes(kind);

/** What is checked as strictly, but is no part of haproxy.cfg. */
const kindsElsewhere: readonly ValueKind[] = [
  'nameElsewhere',
  'positiveDurationElsewhere',
  'duration',
  'masterSocket',
  'user',
  'image',
  'authority',
  'email',
  'range',
  'file',
  'size',
  'percentage',
  'variable',
];

/** Whether haproxy.cfg holds an accepted value. */
export const isRendered = (kind: ValueKind): boolean => !isFree(kind) && !kindsElsewhere.includes(kind);

/** A string for a field of this kind: valid three times in five, else changed at one place or something else entirely. */
export function triedValue(kind: ValueKind): fc.Arbitrary<string> {
  const changed = fc
    .tuple(valid[kind], fc.constantFrom(...nasty), fc.nat(), fc.constantFrom('insert', 'replace', 'begin', 'end'))
    .map(([text, added, place, how]) => {
      const at = how === 'begin' ? 0 : how === 'end' ? text.length : place % (text.length + 1);
      return text.slice(0, at) + added + text.slice(how === 'replace' ? at + 1 : at);
    });
  const tried = fc.oneof(
    { weight: 12, arbitrary: valid[kind] },
    { weight: 7, arbitrary: changed },
    { weight: 1, arbitrary: fc.oneof(fc.constantFrom(...wholes), valid[kind].map(veryLong)) },
  );
  // What lies above the configuration is not the test's.
  return kind === 'folder' ? tried.filter((path) => !path.split('/').includes('..')) : tried;
}

const veryLong = (text: string): string => (text || 'x').repeat(Math.ceil(3_000 / (text.length || 1)));
