import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { renderText } from '../../src/cli/render.js';
import { parseConfiguration } from '../../src/config/load.js';
import type { Configuration } from '../../src/domain/configuration.js';
import { isBasculeError } from '../../src/errors.js';
import { ask } from '../rig/ask.js';
import { haproxyPlaces, newerHaproxyFolder, startHaproxy } from '../rig/haproxy.js';
import { freePort } from '../rig/ports.js';
import { replayable, seed } from '../rig/seed.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-'));
});
afterAll(() => rm(folder, { recursive: true }));

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

const render = (configuration: Configuration) => renderText(configuration, { active: new Map(), withoutStandby: [] });

/** Parts of lines that may become a section, another line, or a variable of Bascule's. */
const parts = [
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
  '.',
  '[',
  'back',
  'end',
  ' ',
  ' ',
  ' ',
  ' ',
  '\t',
  '#',
  '"',
  "'",
  '\\',
  '\\x62',
  '\\n',
  '\\ ',
  '$SITE',
  '\r',
  '\v',
  '\f',
  '\u0085',
  '\u00a0',
  '\u2028',
  '\ufeff',
  '\u00e9',
  'x',
  'a1',
] as const;
const anyLine = fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 8 }).map((all) => all.join(''));
const anyLines = fc.array(anyLine, { minLength: 60, maxLength: 60, size: 'max' });
const sections = ['global', 'defaults', 'frontend', 'api', 'web'] as const;

test('own lines that are accepted stay in their section, whatever is in them', async () => {
  const newer = join(await newerHaproxyFolder(), 'haproxy');
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
      await writeFile(join(folder, 'haproxy.cfg'), text);
      const { stdout } = await execa(newer, ['-dC,line', '-c', '-f', join(folder, 'haproxy.cfg')], { reject: false });
      const lines = [...stdout.matchAll(/^([0-9]+)\t(\t?)(.*?) *$/gm)];
      expect(lines.filter(([, , indent]) => indent === '').map(([, , , words]) => words)).toEqual([
        'global',
        'defaults',
        'frontend edge',
        'backend prod_api_pool',
        'backend prod_web_pool',
        'backend default_503',
      ]);
      // HAProxy has read on to the last line, and set nothing of Bascule's but what Bascule sets.
      expect(Number(lines.at(-1)?.[1])).toBe(text.trimEnd().split('\n').length);
      const set = lines.flatMap(([, , , words = '']) => {
        const [keyword = '', ...names] = words.split(' ');
        if (keyword === 'resetenv') return [keyword];
        if (keyword === 'unsetenv') return names.filter((name) => name.startsWith('BASCULE_'));
        return ['setenv', 'presetenv'].includes(keyword) && names[0]?.startsWith('BASCULE_') ? [names[0]] : [];
      });
      expect(set, set.join(' ')).toEqual(['BASCULE_DIGEST', 'BASCULE_GENERATION', 'BASCULE_PROBE']);
    }),
    replayable(50),
  );
  process.stdout.write(
    `${counts.tried} own lines, ${counts.accepted} accepted; BASCULE_TEST_SEED=${seed} repeats it\n`,
  );
  expect(counts.tried).toBeGreaterThanOrEqual(10_000);
  expect(counts.accepted).toBeGreaterThanOrEqual(1_000);
});

/** `<file>:<line>` of each that is refused. */
function refusedLines(load: () => unknown): ReadonlySet<string> {
  try {
    load();
    return new Set();
  } catch (error) {
    if (!isBasculeError(error) || error.code !== 'config-invalid') throw error;
    const { problems } = error.args as { problems: readonly string[] };
    return new Set(
      problems.map((problem) => {
        const [, file, line] = /edge\.extra\.\S+: "[^"]*\/([a-z]+\.cfg)" line ([0-9]+): /.exec(problem) ?? [];
        if (file === undefined) throw new Error(`no line is named: ${problem}`);
        return `${file}:${line}`;
      }),
    );
  }
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
      replayable(20),
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
