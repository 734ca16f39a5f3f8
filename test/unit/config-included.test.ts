import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseConfiguration } from '../../src/config/load.js';
import { BasculeError } from '../../src/errors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-included-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The edge of a configuration that lies in the folder. */
function edgeWith(settings: string) {
  const text = `
version: 1
project: demo
edge: { http: 127.0.0.1:8088, ${settings} }
environments: { prod: { hosts: [localhost] } }
components: { web: { health: { path: / }, run: [node] } }
artifacts: { url: "file:./{sha}.tar.gz" }
`;
  return parseConfiguration(text, join(folder, 'bascule.yaml')).edge;
}

function problemsWith(settings: string): string[] {
  try {
    edgeWith(settings);
  } catch (error) {
    if (!(error instanceof BasculeError) || error.code !== 'config-invalid') throw error;
    const { problems } = error.args as { problems: readonly string[] };
    return problems.map((problem) => problem.replace(/^\S+ /, '').replaceAll(`${folder}/`, ''));
  }
  return [];
}

test('error pages are taken in, with the type that their name tells', async () => {
  await writeFile(join(folder, 'down.html'), '<h1>Gleich zurück</h1>\n');
  await writeFile(join(folder, 'LIMIT.JSON'), '{}');
  await writeFile(join(folder, 'denied'), '');
  expect(edgeWith(`errors: { 503: down.html, 429: LIMIT.JSON, 403: "${join(folder, 'denied')}" }`).errors).toEqual([
    { status: 403, contentType: 'text/plain; charset=utf-8', body: '' },
    { status: 429, contentType: 'application/json', body: '{}' },
    { status: 503, contentType: 'text/html; charset=utf-8', body: '<h1>Gleich zurück</h1>\n' },
  ]);
});

test('own lines are taken in, each ended by a newline alone', async () => {
  await writeFile(join(folder, 'global.cfg'), '# of our own\r\n\r\n\ttune.bufsize 32768\r\n');
  await writeFile(join(folder, 'web.cfg'), '    http-response set-header X-Served-By "web: #1" # für alle');
  await writeFile(join(folder, 'empty.cfg'), '');
  expect(edgeWith('extra: { global: global.cfg, frontend: empty.cfg, backend: { web: web.cfg } }').extra).toEqual({
    global: '# of our own\n\n\ttune.bufsize 32768\n',
    backend: { web: '    http-response set-header X-Served-By "web: #1" # für alle\n' },
  });
});

test('variables of the operator may be set', async () => {
  await writeFile(join(folder, 'variables.cfg'), 'setenv SITE "BASCULE_ and more"\nunsetenv A B # BASCULE_DIGEST\n');
  expect(problemsWith('extra: { global: variables.cfg }')).toEqual([]);
});

test('the largest page and the largest file of lines are taken in', async () => {
  await writeFile(join(folder, 'largest.html'), 'x'.repeat(8_000));
  await writeFile(join(folder, 'largest.cfg'), `#${'x'.repeat(63_999)}`);
  expect(problemsWith('errors: { 503: largest.html }, extra: { defaults: largest.cfg }')).toEqual([]);
});

test('a file that is too large, none, unreadable or no text is an error, all at once', async () => {
  await writeFile(join(folder, 'large.html'), 'x'.repeat(8_001));
  await writeFile(join(folder, 'large.cfg'), '#'.repeat(64_001));
  await writeFile(join(folder, 'latin-1.html'), Buffer.from('Zur\xfcck', 'latin1'));
  await writeFile(join(folder, 'binary.html'), 'a\0b');
  expect(
    problemsWith(
      'errors: { 500: large.html, 501: latin-1.html, 502: binary.html, 503: ., 504: binary.html/x }, extra: { frontend: large.cfg, defaults: none.cfg }',
    ).map((problem) => problem.replace(folder, 'FOLDER')),
  ).toEqual([
    'edge.errors["500"]: expected a file of at most 8000 bytes: "large.html" has 8001',
    'edge.errors["501"]: expected a file of UTF-8 without NUL, unlike "latin-1.html"',
    'edge.errors["502"]: expected a file of UTF-8 without NUL, unlike "binary.html"',
    'edge.errors["503"]: expected a file: "FOLDER" is none',
    'edge.errors["504"]: expected a file: "binary.html/x" cannot be read (ENOTDIR)',
    'edge.extra.frontend: expected a file of at most 64000 bytes: "large.cfg" has 64001',
    'edge.extra.defaults: expected a file: "none.cfg" does not exist',
  ]);
});

const noKeyword = 'expected a keyword at the beginning, of letters, digits and . _ - only';
const noCondition = 'expected no condition such as .if: it would reach beyond these lines';
const noOwnVariable = 'expected no variable that begins with BASCULE_';
const noVariable = 'expected names of variables, of letters, digits and "_" only';
const noControl = 'expected no control characters but tab and newline';
const noHeader = "expected no line of Bascule's own header";
const noReset = "expected no resetenv: it would take away Bascule's own variables";

describe('a line that would reach beyond its section is an error with its place', () => {
  test.each([
    ...['global', 'defaults', 'frontend', 'backend', 'listen', 'program', 'http-errors', 'log-profile', 'acme'].map(
      (section): [string, string] => [`${section} other`, `expected no section: "${section}" begins one`],
    ),
    ['\t backend\tother', 'expected no section: "backend" begins one'],
    ['backend#other', 'expected no section: "backend" begins one'],
    ['"backend" other', noKeyword],
    ['back""end other', noKeyword],
    ['back\\end other', noKeyword],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: HAProxy expands it
    ['"${SECTION}" other', noKeyword],
    ['[scope]', noKeyword],
    ['.if 0', noCondition],
    ['  .endif', noCondition],
    ['".if" 0', noKeyword],
    ['setenv BASCULE_DIGEST x', noOwnVariable],
    ['presetenv  BASCULE_PROBE x', noOwnVariable],
    ['unsetenv SITE BASCULE_GENERATION', noOwnVariable],
    ['setenv "BASCULE_DIGEST" x', noVariable],
    ['setenv BASC""ULE_DIGEST x', noVariable],
    ['unsetenv "#" BASCULE_DIGEST', noVariable],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: HAProxy expands it
    ['setenv "${NAME}" x', noVariable],
    ['resetenv', noReset],
    ['resetenv BASCULE_DIGEST PATH', noReset],
    ['mode http\rbackend other', noControl],
    ['mode\x1bhttp', noControl],
    ['mode\u0085http', noControl],
    ['# bascule project=demo generation=9 digest=x', noHeader],
    ['# environment name=prod color=green sha=none standby=none', noHeader],
  ])('%j', async (line, message) => {
    await writeFile(join(folder, 'lines.cfg'), `# first\n${line}\nmode http\n`);
    expect(problemsWith('extra: { frontend: lines.cfg }')).toEqual([
      `edge.extra.frontend: "lines.cfg" line 2: ${message}`,
    ]);
  });
});

describe('a variable that HAProxy would put in', () => {
  const unset = (name: string) =>
    `expected a variable that is set where HAProxy runs: ${name} is not; \`edge.extra.global\` sets it by setenv, or by presetenv where the environment of HAProxy comes first`;

  /* biome-ignore-start lint/suspicious/noTemplateCurlyInString: HAProxy expands them */
  test.each([
    ['http-request set-header X "$NAME"', 'NAME'],
    ['http-request set-header X "a ${NAME} b"', 'NAME'],
    ['http-request set-header X "${NAME[*]}"', 'NAME'],
    ['http-request set-header X "\\\\${NAME}"', 'NAME'],
    ['http-request set-header X \'it\'"$HOME"', 'HOME'],
    ['http-request set-header X "${SET}$NAME"', 'NAME'],
    ['http-request set-header X "$GONE"', 'GONE'],
    ['http-request set-header X "$BASCULE_ENCRYPTION_KEY"', 'BASCULE_ENCRYPTION_KEY'],
    ['http-request set-header X "$NAME-text"', 'NAME'],
  ])('and that is not set is an error: %j', async (line, name) => {
    await writeFile(join(folder, 'set.cfg'), 'setenv SET x\nsetenv GONE x\nunsetenv GONE\n');
    await writeFile(join(folder, 'uses.cfg'), `${line}\n`);
    expect(problemsWith('extra: { global: set.cfg, frontend: uses.cfg }')).toEqual([
      `edge.extra.frontend: "uses.cfg" line 1: ${unset(name)}`,
    ]);
  });

  test('and that is set, or has a text of its own, or is none, is taken', async () => {
    await writeFile(join(folder, 'set.cfg'), 'setenv SET x\npresetenv SITE "${SET}"\nlog-tag "$SITE"\n');
    const lines = [
      'http-request set-header X "$SET ${SITE} ${OTHER-text} \\$NAME \\${NAME} 5$ $"',
      'http-request set-header Y $NAME ${NAME}',
      "http-request set-header Z '$NAME'",
      'http-request set-header P "$HAPROXY_LOCALPEER" # "$NAME"',
    ];
    await writeFile(join(folder, 'uses.cfg'), lines.join('\n'));
    expect(problemsWith('extra: { global: set.cfg, frontend: uses.cfg, backend: { web: uses.cfg } }')).toEqual([]);
  });

  test('and that is set below its use only is an error', async () => {
    await writeFile(join(folder, 'set.cfg'), 'log-tag "$LATE"\nsetenv LATE x\n');
    expect(problemsWith('extra: { global: set.cfg }')).toEqual([
      `edge.extra.global: "set.cfg" line 1: ${unset('LATE')}`,
    ]);
  });
  /* biome-ignore-end lint/suspicious/noTemplateCurlyInString: HAProxy expands them */
});

test('every line that is wrong is named', async () => {
  await writeFile(join(folder, 'several.cfg'), 'backend a\nmode http\n.if 1\n');
  expect(problemsWith('extra: { backend: { web: several.cfg } }')).toEqual([
    'edge.extra.backend.web: "several.cfg" line 1: expected no section: "backend" begins one',
    `edge.extra.backend.web: "several.cfg" line 3: ${noCondition}`,
  ]);
});
