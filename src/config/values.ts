import { isIP } from 'node:net';
import * as z from 'zod';
import { longestStepMs } from '../domain/timeouts.js';
import { durationPattern, parseDuration, sizePattern } from './units.js';

/**
 * The kinds of value in bascule.yaml. Each that reaches haproxy.cfg or a shell has an allow-list that holds no blank, quote,
 * `#`, `$`, `%`, backslash or control character: `haproxy -c` accepts injected directives, so nothing is escaped later.
 */

/** Turns what was expected into zod's message, for a wrong value and for a missing one. */
export const expected = (what: string) => ({
  error: (issue: { readonly input?: unknown }) =>
    issue.input === undefined ? `is missing: expected ${what}` : `expected ${what}`,
});

const octet = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const ipv4 = `${octet}(?:\\.${octet}){3}`;
const portNumber = '(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})';
const hostLabel = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const labels = `${hostLabel}(?:\\.${hostLabel})*`;
const host = `(?=.{1,253}$)${labels}`;

export const namePattern = /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
export const nameExpectation =
  'a name of lower-case letters, digits and "-", that begins with a letter, does not end with "-" and has at most 63 characters';
/** `__proto__` is no key of JavaScript's objects: the variable would get lost. */
export const variablePattern = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]{0,254}$/;
export const variableExpectation = 'the name of an environment variable: letters, digits and "_"';
/** Statuses that HAProxy answers by itself, each with a page of its own. */
export const statuses = [400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504] as const;
export const statusPattern = new RegExp(`^(?:${statuses.join('|')})$`);
export const statusExpectation = `a status that HAProxy answers by itself: ${statuses.join(', ')}`;
/** A whole path, with the folder that a relative one is in. */
export const filePathPattern = /^[A-Za-z0-9._/+@-]{1,1024}$/;
export const filePathCharacters = 'letters, digits and . _ / + @ -';

export const name = text(namePattern, nameExpectation);
export const poolName = text(
  /^[a-z][a-z0-9_-]{0,62}$/,
  'a name of lower-case letters, digits, "_" and "-", that begins with a letter and has at most 63 characters',
);
export const prefix = text(
  /^[a-z][a-z0-9-]{0,62}$/,
  'a prefix of lower-case letters, digits and "-", that begins with a letter',
);
const hostNameExpectation = 'a host name such as www.example.org, without port or wildcard';
export const hostName = text(new RegExp(`^${host}$`), hostNameExpectation);
/** A name that a certificate is for. A last label of digits alone is an IPv4 address or a mistake. */
export const certificateName = z
  .string(expected(hostNameExpectation))
  .regex(new RegExp(`^(?![0-9]+$)(?!.*\\.[0-9]+$)${host}$`), {
    error: ({ input }) => {
      const text = String(input);
      if (text.startsWith('*.')) {
        return "expected no wildcard: HTTP-01 can't prove one; that needs DNS-01 at your registrar, which Bascule does not do: list the names one by one";
      }
      if (isIP(text.replace(/^\[(.*)\]$/, '$1')) > 0) {
        return 'expected no IP address: HAProxy chooses a certificate by the name that a client asks for, and a client that asks for an address sends none; list a host name that leads to it';
      }
      return `expected ${hostNameExpectation}`;
    },
  });
export const domainName = text(new RegExp(`^${host}$`), 'a domain such as lxd');
export const serverAddress = text(
  // A last label of digits alone is an IPv4 address or a mistake.
  new RegExp(`^(?:${ipv4}|(?=.{1,253}:)(?:${hostLabel}\\.)*(?![0-9]+:)${hostLabel}):${portNumber}$`),
  'a host name or an IPv4 address, and a port, such as 10.0.20.11:8080',
);
export const systemUser = text(
  /^[a-z_][a-z0-9_-]{0,31}$/,
  'a user name of lower-case letters, digits, "_" and "-", that begins with a letter or "_" and has at most 32 characters',
);
export const fileExtension = text(/^[A-Za-z0-9]{1,16}$/, 'an extension without dot, such as m3u8');
export const image = text(
  /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$/,
  'the alias or fingerprint of an image, such as images:debian/13',
);
/** As Linux takes it: at most 15 characters. */
export const bridgeName = text(
  /^[a-z][a-z0-9-]{1,14}$/,
  'the name of a bridge: 2 to 15 lower-case letters, digits and "-", the first of them a letter',
);
export const listenAddress = text(
  new RegExp(`^(?:${ipv4}|\\*)$`),
  'an IPv4 address of the machine that Incus runs on, or "*" for every address',
);
export const bridgeAddress = text(
  new RegExp(`^${ipv4}/(?:1[6-9]|2[0-9])$`),
  'the IPv4 address of a bridge with its network (/16 to /29), such as 10.77.0.1/24',
);
export const packageName = text(/^[a-z0-9][a-z0-9.+-]{1,62}$/, 'the name of a package such as curl');
export const days = text(
  /^(?:[1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-4][0-9]|3650)d$/,
  'a number of days such as 365d, from 1d to 3650d',
);
export const logTarget = text(
  // HAProxy takes a socket's path of 97 characters.
  new RegExp(`^(?:stdout|${ipv4}:${portNumber}|/[A-Za-z0-9._/-]{1,96})$`),
  'stdout, a syslog server such as 127.0.0.1:514, or the absolute path of its socket such as /dev/log',
);
export const certificateAuthority = text(
  new RegExp(`^(?:letsencrypt|letsencrypt-staging|https://${labels}(?::${portNumber})?(?:/[A-Za-z0-9._~/-]{0,255})?)$`),
  'letsencrypt, letsencrypt-staging, or the https: URL of the directory of another one',
);
export const externalKeyId = text(/^[A-Za-z0-9._~+/=-]{1,256}$/, 'an id of letters, digits and . _ ~ + / = -');
export const certificateProfile = text(/^[A-Za-z0-9._-]{1,64}$/, 'a name of letters, digits and . _ -');
export const email = text(
  new RegExp(`^(?!-)[A-Za-z0-9_+-]+(?:\\.[A-Za-z0-9_+-]+)*@${host}$`),
  'an email address such as ops@example.org',
);
export const urlPath = text(
  /^\/[A-Za-z0-9._~/-]{0,255}$/,
  'a path that begins with "/", of letters, digits and . _ ~ / - only',
);
export const cookieName = text(/^[A-Za-z0-9_]{1,64}$/, 'a cookie name of letters, digits and "_"');
export const bindAddress = text(
  new RegExp(`^(?:${ipv4}|\\*):${portNumber}$`),
  'an IPv4 address and a port such as 127.0.0.1:8088, or "*:80" for every address',
);
export const addressRange = text(
  new RegExp(`^${ipv4}(?:/(?:[89]|[12][0-9]|3[02]))?$`),
  'a range of IPv4 addresses (/8 to /30) such as 127.77.0.0/16, or one address such as 127.0.0.1',
);
const ipv6Characters = '[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}';
const networkExpectation =
  'an address such as 192.0.2.7 or a network such as 10.0.0.0/8 or "2001:db8::/32", of at least /8 in IPv4 and /16 in IPv6';
/** A part of the Internet that somebody owns: a shorter prefix would trust strangers. */
export const network = z
  .string(expected(networkExpectation))
  .regex(
    new RegExp(
      `^(?:${ipv4}(?:/(?:[89]|[12][0-9]|3[0-2]))?|${ipv6Characters}(?:/(?:1[6-9]|[2-9][0-9]|1[01][0-9]|12[0-8]))?)$`,
    ),
    {
      error: `expected ${networkExpectation}`,
      abort: true,
    },
  )
  .refine((value) => isIP(value.split('/')[0] ?? '') !== 0, `expected ${networkExpectation}`);
export const filePath = text(filePathPattern, `a path of ${filePathCharacters} only`);
export const variableName = text(variablePattern, variableExpectation);
/** A path that is only opened, never written to haproxy.cfg or given to a shell. */
export const openedPath = text(/^[^\0]+$/, 'the path of a file');
export const port = wholeNumber(1, 65_535);
export const size = text(sizePattern, 'a size such as 500MB or 2GB');
export const percentage = text(/^(?:100|[0-9]{1,2}(?:\.[0-9]{1,3})?)%$/, 'a share such as "1%"');
export const yesOrNo = z.boolean(expected('true or false'));

export const argvExpectation =
  'a program and its arguments, as a list such as ["node", "server.mjs"] (no shell reads it)';
/** A program and its arguments; no shell reads them. */
export const argv = z.tuple(
  // `env`, which starts it, would take a program with `=` in its name for a variable.
  [text(/^[^\0=]+$/, 'a program, without "=" in its name')],
  z.string(expected('an argument in quotes')).regex(/^[^\0]*$/, 'expected no NUL'),
  { ...expected(argvExpectation) },
);

/** A duration that may be 0. */
export const duration = durationText('a duration such as 500ms, 2s, 5m or 1h, up to 24 days', 0);
/** A duration for which 0 would mean "for ever" or make no sense. */
export const positiveDuration = durationText(
  'a duration such as 500ms, 2s, 5m or 1h, more than 0 and up to 24 days',
  1,
);

/** How long a step of an operation may take. It may be 0. */
export const stepDuration = durationText('a duration such as 500ms, 2s, 5m or 1h, up to 24 hours', 0, longestStepMs);
/** The same for one that needs time. */
export const positiveStepDuration = durationText(
  'a duration such as 500ms, 2s, 5m or 1h, more than 0 and up to 24 hours',
  1,
  longestStepMs,
);

export function text(pattern: RegExp, what: string) {
  return z.string(expected(what)).regex(pattern, `expected ${what}`);
}

export function wholeNumber(least: number, most: number) {
  const what = `a whole number from ${least} to ${most}`;
  return z.int(expected(what)).min(least, `expected ${what}`).max(most, `expected ${what}`);
}

function durationText(what: string, leastMs: number, mostMs = Number.POSITIVE_INFINITY) {
  const isWithin = (ms: number | null) => ms !== null && ms >= leastMs && ms <= mostMs;
  return z
    .string(expected(what))
    .regex(durationPattern, { error: `expected ${what}`, abort: true })
    .refine((value) => isWithin(parseDuration(value)), `expected ${what}`);
}
