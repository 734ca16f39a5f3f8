import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { renderText } from '../../src/cli/render.js';
import { parseConfiguration } from '../../src/config/load.js';
import type { Configuration } from '../../src/domain/configuration.js';
import { isBasculeError } from '../../src/errors.js';
import { ask } from '../rig/ask.js';
import { additions, configurations, type Field, fieldsOf, formatted, withFields } from '../rig/config-fields.js';
import { haproxyPlaces, newerHaproxyFolder, startHaproxy } from '../rig/haproxy.js';
import { freePort } from '../rig/ports.js';
import { isWhole, replayable, seed } from '../rig/tier.js';

let folder: string;
let newerHaproxy: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'bascule-')));
  newerHaproxy = join(await newerHaproxyFolder(), 'haproxy');
});
afterAll(() => rm(folder, { recursive: true }));

const render = (configuration: Configuration, active: 'blue' | 'green' = 'blue', hasStandby = true) => {
  const names = configuration.environments.map(({ name }) => name);
  return renderText(configuration, {
    active: new Map(names.map((name) => [name, active])),
    withoutStandby: hasStandby ? [] : names,
  });
};

/** As HAProxy reads a file: each line as its words, with its number; a section begins where the indent is empty. */
async function readByHaproxy(text: string) {
  const file = join(folder, 'haproxy.cfg');
  await writeFile(file, text);
  const { stdout } = await execa(newerHaproxy, ['-dC,line', '-c', '-f', file], { reject: false });
  return [...stdout.matchAll(/^([0-9]+)\t(\t?)(.*?) *$/gm)].map(([, number, indent, words = '']) => ({
    number: Number(number),
    isHead: indent === '',
    words,
  }));
}

/** What a configuration is refused for: `<path>: <what>` each. */
function problemsOf(load: () => unknown): readonly string[] {
  try {
    load();
    return [];
  } catch (error) {
    if (!isBasculeError(error) || error.code !== 'config-invalid') throw error;
    return (error.args as { problems: readonly string[] }).problems;
  }
}

describe('whatever strings bascule.yaml accepts, haproxy.cfg has them and nothing else', () => {
  test.each(Object.entries(configurations))('%s', async (_, base) => {
    const fields = fieldsOf(base);
    const counts = { tried: 0, accepted: 0, rendered: 0 };
    const before = await render(load(base));
    const structure = structureOf(await readByHaproxy(before));
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(...fields.map(triedValue)),
        fc.constantFrom('blue', 'green'),
        fc.boolean(),
        async (tried, active, hasStandby) => {
          const names = tried.filter((_, index) => fields[index]?.isName);
          fc.pre(new Set(names).size === names.length);
          const { configuration, accepted } = settle(base, tried);
          await mkdir(configuration.edge.files.certificates, { recursive: true });
          // No name is looked up for it, which takes seconds where a name server does not answer.
          const text = (await render(configuration, active, hasStandby)).replaceAll('init-addr libc', 'init-addr none');
          const lines = await readByHaproxy(text);
          expect(structureOf(lines)).toEqual(structure);
          expect(lines.at(-1)?.number).toBe(text.trimEnd().split('\n').length);
          for (const program of ['haproxy', newerHaproxy]) {
            const { exitCode, stderr } = await execa(program, ['-c', '-f', join(folder, 'haproxy.cfg')], {
              reject: false,
            });
            expect(exitCode, stderr).toBe(0);
          }
          for (const [index, field] of fields.entries()) {
            const value = accepted[index];
            counts.tried += tried[index] === undefined ? 0 : 1;
            if (value === undefined) continue;
            counts.accepted += 1;
            expect(value, `accepted as ${formatted(field.path)}`).toMatch(/^[A-Za-z0-9._~:/*@+%=-]+$/);
            if (isDuration(field) || !before.includes(String(field.base))) continue;
            counts.rendered += 1;
            const shown = field.path[1] === 'files' ? resolve(folder, value) : value;
            expect(text.includes(shown) || text.includes(shown.toLowerCase()), formatted(field.path)).toBe(true);
          }
        },
      ),
      replayable(isWhole ? 50 : 4),
    );
    if (isWhole) process.stdout.write(`strings: ${JSON.stringify(counts)}; BASCULE_TEST_SEED=${seed} repeats it\n`);
    expect(counts.accepted).toBeGreaterThan(counts.tried / 4);
    expect(counts.accepted).toBeLessThan(counts.tried);
  });

  const load = (input: unknown) => parseConfiguration(stringify(input), join(folder, 'bascule.yaml'));
  const isDuration = ({ pattern }: Field) => pattern?.endsWith('(?:ms|s|m|h)$') ?? false;

  /** Valid three times in five, else with something in it that HAProxy, YAML or a shell would read as something else. */
  function triedValue({ path, pattern, isName }: Field): fc.Arbitrary<string | undefined> {
    if (!pattern) return fc.constant(undefined);
    const isFile = path[1] === 'files';
    const valid = fc
      // Without what stringMatching does not know.
      .stringMatching(new RegExp(pattern.replace(/\(\?[=!][^()]*\)/g, '')))
      // A path or a name may be too long together with others; what lies above the configuration is not the test's.
      .map((text) => (isFile || ['prefix', 'api'].includes(String(path.at(-1))) ? text.slice(0, 28) : text))
      .filter((text) => new RegExp(pattern).test(text) && !text.includes('..') && !(isFile && text.startsWith('/')))
      // The folder itself holds the test's own haproxy.cfg.
      .filter((text) => !isFile || resolve(folder, text) !== folder);
    if (isName) return valid;
    const changed = fc
      .tuple(valid, fc.constantFrom(...additions), fc.nat(), fc.boolean())
      .map(([text, added, at, replaces]) => {
        const place = at % (text.length + 1);
        return text.slice(0, place) + added + text.slice(replaces ? place + 1 : place);
      });
    return fc.oneof({ weight: 3, arbitrary: valid }, { weight: 2, arbitrary: changed });
  }

  /**
   * Takes back those of the tried strings that are refused until there is no error left. Throws where an error names a field
   * that was not changed: then a field took the blame for another.
   */
  function settle(base: unknown, tried: readonly (string | undefined)[]) {
    const accepted = [...tried];
    for (;;) {
      const paths: string[] = [];
      const input = withFields(base, ({ shown, base: own, isName }) => {
        const value = accepted[paths.length];
        paths.push(formatted(isName && value !== undefined ? [...shown.slice(0, -1), value] : shown));
        return value ?? own;
      });
      const problems = problemsOf(() => load(input));
      if (problems.length === 0) return { configuration: load(input), accepted };
      const before = [...accepted];
      for (const problem of problems) {
        const told = problem.slice(join(folder, 'bascule.yaml').length).replace(/^:\d+:\d+ /, '');
        const index = paths.findIndex((path, at) => before[at] !== undefined && told.startsWith(`${path}: `));
        if (index < 0) throw new Error(`refused, but not by the name of what was tried: ${problem}`);
        accepted[index] = undefined;
      }
    }
  }

  /** Sections in their order (those that resolve names are there where one is to be resolved), and how many lines there are of those that lead traffic. */
  function structureOf(lines: Awaited<ReturnType<typeof readByHaproxy>>) {
    const count = (keyword: string) => lines.filter(({ words }) => words.startsWith(`${keyword} `)).length;
    const heads = lines.filter(({ isHead }) => isHead).map(({ words }) => words.split(' ')[0]);
    return {
      sections: heads.filter((head) => head !== 'resolvers'),
      lines: ['bind', 'server', 'use_backend', 'default_backend', 'setenv', 'stats'].map(count),
    };
  }
});
const configurationText = (edge: string) => `
version: 1
project: demo
edge: { http: 127.0.0.1:8088, ${edge} }
environments: { prod: { hosts: [localhost] } }
components:
  api: { health: { path: / }, run: [node], routes: [{ prefix: /api }] }
  web: { health: { path: / }, run: [node], default: true }
artifacts: { url: "file:./{sha}.tar.gz" }
`;

/** Parts of lines that may become a section, another line, or a variable of Bascule's. */
const parts = [
  ...[
    'backend',
    'frontend',
    'listen',
    'defaults',
    'global',
    'program',
    'userlist',
    'peers',
    'ring',
    'mode',
    'http',
    'acl',
  ],
  ...[
    'no',
    'default',
    'option',
    'setenv',
    'presetenv',
    'unsetenv',
    'resetenv',
    'BASCULE_DIGEST',
    'BASCULE_',
    'PROBE',
    '.if',
    '.endif',
  ],
  ...['.', '[', 'back', 'end', ' ', ' ', ' ', ' ', '\t', '#', '"', "'"],
  ...['\\', '\\x62', '\\n', '\\ ', '$SITE', '\r', '\v', '\f', '\u0085', '\u00a0', '\u2028', '\ufeff'],
  ...['\u00e9', 'x', 'a1'],
] as const;
const anyLine = fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 8 }).map((all) => all.join(''));
const anyLines = fc.array(anyLine, { minLength: 60, maxLength: 60, size: 'max' });
const sections = ['global', 'defaults', 'frontend', 'api', 'web'] as const;

test('own lines that are accepted stay in their section, whatever is in them', async () => {
  const extra =
    'extra: { global: global.cfg, defaults: defaults.cfg, frontend: frontend.cfg, backend: { api: api.cfg, web: web.cfg } }';
  const load = () => parseConfiguration(configurationText(extra), join(folder, 'bascule.yaml'));
  const counts = { tried: 0, accepted: 0 };
  await fc.assert(
    fc.asyncProperty(fc.tuple(...sections.map(() => anyLines)), async (tried) => {
      const write = (all: readonly (readonly string[])[]) =>
        Promise.all(
          sections.map((name, index) => writeFile(join(folder, `${name}.cfg`), `${all[index]?.join('\n')}\n`)),
        );
      await write(tried);
      const refused = refusedLines(load);
      const accepted = tried.map((lines, index) =>
        lines.filter((_, at) => !refused.has(`${sections[index]}.cfg:${at + 1}`)),
      );
      counts.tried += tried.flat().length;
      counts.accepted += accepted.flat().length;
      await write(accepted);
      const text = await render(load());
      const lines = await readByHaproxy(text);
      expect(lines.filter(({ isHead }) => isHead).map(({ words }) => words)).toEqual([
        'global',
        'defaults',
        'frontend edge',
        'backend prod_api_pool',
        'backend prod_web_pool',
        'backend default_503',
      ]);
      // HAProxy has read on to the last line, and set nothing of Bascule's but what Bascule sets.
      expect(lines.at(-1)?.number).toBe(text.trimEnd().split('\n').length);
      const set = lines.flatMap(({ words }) => {
        const [keyword = '', ...names] = words.split(' ');
        if (keyword === 'resetenv') return [keyword];
        if (keyword === 'unsetenv') return names.filter((name) => name.startsWith('BASCULE_'));
        return ['setenv', 'presetenv'].includes(keyword) && names[0]?.startsWith('BASCULE_') ? [names[0]] : [];
      });
      expect(set, set.join(' ')).toEqual(['BASCULE_DIGEST', 'BASCULE_GENERATION', 'BASCULE_PROBE']);
    }),
    replayable(isWhole ? 50 : 5),
  );
  expect(counts.accepted).toBeGreaterThan(counts.tried / 10);
  expect(counts.accepted).toBeLessThan(counts.tried);
});

/** `<file>:<line>` of each that is refused. */
function refusedLines(load: () => unknown): ReadonlySet<string> {
  const refused = problemsOf(load).map((problem) => {
    const [, file, line] = /edge\.extra\.\S+: "[^"]*\/([a-z]+\.cfg)" line ([0-9]+): /.exec(problem) ?? [];
    if (file === undefined) throw new Error(`no line is named: ${problem}`);
    return `${file}:${line}`;
  });
  return new Set(refused);
}

const statuses = [400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504];
const mostBytes = 8_000;
const unit = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('"', "'", '\\', '$', '#', ' ', '%', '\n', '\r', '\t', '\\n', '\\x41') },
  { weight: 1, arbitrary: fc.constantFrom('\x01', '\x7f', '\u0085', '\u2028', '\ufeff', '%[src]', '\nbackend x\n') },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
);
const anyPage = fc
  .oneof(
    { weight: 5, arbitrary: fc.array(unit, { maxLength: 40, size: 'max' }).map((units) => units.join('')) },
    { weight: 1, arbitrary: fc.array(unit, { minLength: 50, maxLength: 50, size: 'max' }).map(filled) },
  )
  .map((page) => page.replaceAll('\0', ''));

test('an error page comes to the visitor as it is in its file, whatever is in it', async () => {
  const port = await freePort();
  const places = await haproxyPlaces();
  const errors = statuses.map((status) => `${status}: ${status}.html`).join(', ');
  const edge = `errors: { ${errors} }, extra: { frontend: frontend.cfg }, files: { socket: ${places.socket} }`;
  await writeFile(
    join(folder, 'frontend.cfg'),
    statuses
      .map((status) => `http-request return status ${status} default-errorfiles if { path /${status} }\n`)
      .join(''),
  );
  const text = async (pages: readonly string[]) => {
    await Promise.all(statuses.map((status, index) => writeFile(join(folder, `${status}.html`), pages[index] ?? '')));
    const file = join(folder, 'bascule.yaml');
    return render(parseConfiguration(configurationText(edge).replace(':8088', `:${port}`), file));
  };
  const haproxy = await startHaproxy(places, await text(statuses.map(() => '')));
  try {
    await fc.assert(
      fc.asyncProperty(fc.tuple(...statuses.map(() => anyPage)), async (pages) => {
        await haproxy.reload(await text(pages));
        for (const [index, status] of statuses.entries()) {
          const answer = await ask({ address: '127.0.0.1', port }, 'localhost', `/${status}`);
          expect(answer.status).toBe(status);
          // A byte order mark is none of the page's text.
          expect(answer.body).toBe(pages[index]?.replace(/^\ufeff/, ''));
          if (answer.body !== '') expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
        }
      }),
      replayable(isWhole ? 20 : 3),
    );
  } finally {
    await haproxy.stop();
  }
});

/** As many of them, one after the other, as a page may hold. */
function filled(units: readonly string[]): string {
  const all = units.map((each) => each.replaceAll('\0', '') || ' ');
  let page = '';
  for (let at = 0; Buffer.byteLength(page + all[at % all.length]) <= mostBytes; at += 1) page += all[at % all.length];
  return page;
}
