import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderText } from '../../src/cli/render.js';
import type { Configuration } from '../../src/domain/configuration.js';
import { placesOf, type Shape, settle } from '../rig/config-draft.js';
import {
  blueGreenModel,
  type Colors,
  comparableWord,
  poolsModel,
  routingOf,
  type SectionModel,
} from '../rig/config-model.js';
import { blueGreenShapes, type EdgeShape, poolsShapes } from '../rig/config-shapes.js';
import { isFree, isRendered, triedValue, type ValueKind } from '../rig/config-values.js';
import { newerHaproxyFolder } from '../rig/haproxy.js';
import { type HaproxySection, readLines, readSections } from '../rig/haproxy-words.js';
import { replayable, seed } from '../rig/seed.js';

/** Configurations of each shape. */
const runs = 35;

let folder: string;
let newerHaproxy: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'bascule-')));
  newerHaproxy = join(await newerHaproxyFolder(), 'haproxy');
  await mkdir(join(folder, 'opened'));
  await writeFile(join(folder, 'opened/base'), '# frontend\n');
});
afterAll(() => rm(folder, { recursive: true }));

const counts = { tried: 0, accepted: 0, rendered: 0, configurations: 0 };
const acceptedOf = new Map<ValueKind, { accepted: number; refused: number }>();

describe('whatever bascule.yaml may say, haproxy.cfg says that and nothing else', () => {
  const colors = fc.record({
    active: fc.array(fc.constantFrom('blue' as const, 'green' as const), { minLength: 2, maxLength: 2 }),
    hasStandby: fc.array(fc.boolean(), { minLength: 2, maxLength: 2 }),
  });
  test.each(Object.entries(blueGreenShapes))('blue-green, driver %s', async (_, shape) => {
    await holdsFor(shape, colors, blueGreenModel);
  });
  test.each(Object.entries(poolsShapes))('multi-instance, its servers told as %s', async (_, shape) => {
    await holdsFor(shape, fc.constant({ active: [], hasStandby: [] }), poolsModel);
  });

  test('that was shown for enough strings, of every kind', () => {
    const { tried, accepted, rendered: inFile, configurations } = counts;
    process.stdout.write(
      `${tried} strings, ${accepted} accepted, ${inFile} of them rendered, ` +
        `in ${configurations} configurations; BASCULE_TEST_SEED=${seed} repeats it\n`,
    );
    expect(counts.tried).toBeGreaterThanOrEqual(10_000);
    expect(counts.rendered).toBeGreaterThanOrEqual(2_000);
    expect(counts.configurations).toBeGreaterThanOrEqual(100);
    for (const [kind, of] of acceptedOf) {
      expect(of.accepted, `accepted of kind ${kind}`).toBeGreaterThan(2);
      // What may hold nearly anything is refused too rarely to count on it.
      if (!isFree(kind)) expect(of.refused, `refused of kind ${kind}`).toBeGreaterThan(0);
    }
  });
});

/** For tried strings at every place of the shape. An error that names another field than the one that is wrong fails it. */
async function holdsFor<Input extends { readonly edge: EdgeShape }>(
  shape: Shape<Input>,
  anyColors: fc.Arbitrary<Colors>,
  modelOf: (input: Input, colors: Colors) => readonly SectionModel[],
): Promise<void> {
  const places = placesOf(shape);
  const values = fc.tuple(...places.map(({ kind }) => triedValue(kind)));
  await fc.assert(
    fc.asyncProperty(values, anyColors, async (tried, colors) => {
      const settled = settle(shape, tried, folder);
      note(places, settled.accepted, tried, settled.tried);
      const text = await rendered(settled.configuration, colors);
      const plain = settle(shape, plainValues(places, settled.accepted), folder);
      const expected = withAbsolutePaths(modelOf(settled.input, colors), settled.input);
      const twin = withAbsolutePaths(modelOf(plain.input, colors), plain.input);
      expectModel(readSections(text), expected, {
        sections: readSections(await rendered(plain.configuration, colors)),
        model: twin,
      });
      await expectAccepted(text, settled.configuration);
    }),
    replayable(runs),
  );
}

/** All at their base, but for what says which lines there are. */
const plainValues = (places: readonly { kind: ValueKind; base: string }[], accepted: readonly (string | null)[]) =>
  places.map(({ kind, base }, index) => (['logFormat', 'status'].includes(kind) ? (accepted[index] ?? base) : base));

function note(
  places: readonly { kind: ValueKind }[],
  accepted: readonly (string | null)[],
  tried: readonly string[],
  count: number,
): void {
  counts.configurations += 1;
  counts.tried += count;
  for (const [index, { kind }] of places.entries()) {
    const value = accepted[index] ?? null;
    const of = acceptedOf.get(kind) ?? { accepted: 0, refused: 0 };
    acceptedOf.set(kind, of);
    if (value === null) {
      of.refused += 1;
      continue;
    }
    of.accepted += 1;
    counts.accepted += 1;
    if (isRendered(kind)) counts.rendered += 1;
    if (isFree(kind)) continue;
    expect(value, `accepted as ${kind}`).toMatch(/^[A-Za-z0-9._~:/*@+%-]+$/);
    // A relative path gets its folder in front.
    if (!['file', 'folder', 'socket', 'masterSocket'].includes(kind))
      expect(value, `accepted as ${kind}`).not.toMatch(/^-/);
    expect(tried[index]).toBe(value);
  }
}

async function rendered(configuration: Configuration, { active, hasStandby }: Colors): Promise<string> {
  const { environments } = configuration;
  return renderText(configuration, {
    active: new Map(environments.map(({ name }, index) => [name, active[index] ?? 'blue'])),
    withoutStandby: environments.filter((_, index) => !hasStandby[index]).map(({ name }) => name),
  });
}

/** The paths of files as haproxy.cfg has them. */
function withAbsolutePaths(model: readonly SectionModel[], { edge }: { readonly edge: EdgeShape }) {
  const paths: Readonly<Record<string, string>> = {
    [edge.files.socket]: join(folder, edge.files.socket),
    [`${edge.files.certificates}/`]: `${join(folder, edge.files.certificates)}/`,
  };
  const at = (words: readonly string[]) => (words[0] === 'stats' ? 2 : words[0] === 'bind' ? 4 : -1);
  return model.map((section) => ({
    ...section,
    lines: section.lines.map((line) => ({
      ...line,
      words: line.words.map((word, index) => (index === at(line.words) ? (paths[word] ?? word) : word)),
    })),
  }));
}

/** Says which entries differ: the reporter shows no more of an error than its message. */
function expectSame(what: string, actual: readonly unknown[], expected: readonly unknown[]): void {
  const [now, wanted] = [actual, expected].map((all) => all.map((each) => JSON.stringify(each)));
  const beyond = (all: readonly string[] = [], others: readonly string[] = []) => {
    const left = [...others];
    return all.filter((each) => {
      const index = left.indexOf(each);
      if (index >= 0) left.splice(index, 1);
      return index < 0;
    });
  };
  const message = `${what}: ${beyond(now, wanted).join(' ')} instead of ${beyond(wanted, now).join(' ')}`;
  expect(now, message.slice(0, 2_000)).toEqual(wanted);
}

interface Twin {
  readonly sections: readonly HaproxySection[];
  readonly model: readonly SectionModel[];
}

/** The file has the sections, servers, conditions and uses of the model, and every other line as its twin has it. */
function expectModel(sections: readonly HaproxySection[], model: readonly SectionModel[], twin: Twin): void {
  expectSame(
    'sections',
    sections.map(({ head }) => head.join(' ')),
    model.map(({ head }) => head),
  );
  for (const [index, section] of sections.entries()) {
    const expected = model[index];
    if (!expected) throw new Error('a section that the model has not');
    if (expected.routing) {
      const { acls, uses, otherwise } = routingOf(section);
      expectSame('conditions', acls.toSorted(), expected.routing.acls.toSorted());
      expectSame('uses', uses, expected.routing.uses);
      expect(otherwise).toBe(expected.routing.otherwise);
    }
    const { rest, constant } = withoutModelled(section, expected);
    if (section.head[0] === 'resolvers') continue;
    // Sections of the same rank: names differ, and `resolvers` may be missing in one of them.
    const position = model.slice(0, index).filter(({ head }) => head !== 'resolvers dns').length;
    const withoutResolvers = twin.model.flatMap((each, at) => (each.head === 'resolvers dns' ? [] : [at]));
    const at = withoutResolvers[position] ?? -1;
    const other = withoutModelled(twin.sections[at] ?? section, twin.model[at] ?? expected);
    expectSame(`other lines of ${expected.head}`, constant, other.constant);
    expectSame(`words behind the values of ${expected.head}`, rest, other.rest);
  }
}

/** Lines that the model does not tell, and the constant words that follow those that it does. */
function withoutModelled({ head, lines }: HaproxySection, model: SectionModel) {
  const left = lines
    .filter(([keyword = '']) => !['acl', 'use_backend', 'default_backend'].includes(keyword))
    .map((words) => words.map(comparableWord));
  const rest = model.lines.map(({ words, open }) => {
    const wanted = words.map(comparableWord);
    const index = left.findIndex(
      (line) =>
        (open ? line.length >= wanted.length : line.length === wanted.length) &&
        wanted.every((word, at) => word === line[at] || (word === '*' && wanted[0] === 'server' && at === 2)),
    );
    if (index < 0)
      throw new Error(`${head.join(' ')} has no line \`${wanted.join(' ')}\`, but ${JSON.stringify(left)}`);
    const [found = []] = left.splice(index, 1);
    return found
      .slice(wanted.length)
      .filter((word) => !['secure', 'has_certificate'].includes(word))
      .map((word) => word.replace(/<title>.*?<\/title>|<h1>.*?<\/h1>/g, ''));
  });
  return {
    rest: rest.filter((_, index) => model.lines[index]?.open).map((words) => words.join(' ')),
    constant: left.map((words) => words.join(' ')),
  };
}

/** Both HAProxys accept it, and the newer one says that it read those words in those lines. */
async function expectAccepted(text: string, { edge }: Configuration): Promise<void> {
  const file = join(folder, 'haproxy.cfg');
  // No name is looked up for it, which takes seconds where a name server does not answer.
  await writeFile(file, text.replaceAll('init-addr libc,none', 'init-addr none'));
  await mkdir(edge.files.certificates, { recursive: true });
  const run = (...argv: readonly [string, ...string[]]) => execa(argv[0], argv.slice(1), { reject: false });
  const [older, newer, { stdout }] = await Promise.all([
    run('haproxy', '-c', '-f', file),
    run(newerHaproxy, '-c', '-f', file),
    // It prints each line as it reads it, and does nothing else.
    run(newerHaproxy, '-dC,line', '-c', '-f', file),
  ]);
  for (const { exitCode, stderr } of [older, newer]) {
    expect(exitCode, stderr.replace(/^\[(?:NOTICE|WARNING)\].*\n/gm, '')).toBe(0);
  }
  expectSame(
    'as HAProxy reads it',
    stdout
      .replace(/\n[^\n]*$/, '')
      .split(/\n(?=[0-9]+\t)/)
      .map((line) => line.replace(/^([0-9]+)\t+/, '$1 ').trimEnd())
      .filter((line) => /^[0-9]+ ./.test(line)),
    // It sets no variable then, and leaves an empty word out.
    readLines(text.replaceAll('init-addr libc,none', 'init-addr none')).map(({ number, words }) =>
      [number, ...words.filter((word) => word !== '')].join(' ').trimEnd(),
    ),
  );
}
