import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { AppliedConfiguration, Configuration } from '../../src/domain/configuration.js';
import { stampConfiguration } from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { applyChange, createTestEdge, planned, version } from '../rig/edge.js';
import { type Example, type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { askRaw } from '../rig/raw-visitor.js';

const html = 'text/html; charset=utf-8';
const slowPool = { backend: { backend: '    timeout server 300ms\n' } };

let edge: ExampleEdge;
afterEach(async () => await edge?.dispose());
const start = async (example: Example, changed: Partial<Configuration['edge']> = {}) => {
  edge = await startExampleEdge(example, { change: (whole) => ({ ...whole, edge: { ...whole.edge, ...changed } }) });
};
const stopBackends = async () => {
  const names = ['backend-api-1', 'backend-api-2'];
  for (const name of names) await edge.stopInstance(name);
  await edge.untilDown(names);
};
const post = async (path: string) =>
  await askRaw(
    edge.applied.configuration.edge.http,
    `POST ${path} HTTP/1.1\r\nHost: any.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  );

describe('a page of edge.errors', () => {
  const own = [
    `<!doctype html>\n<p class="a" id='b'>"quoted", $HOME $\{HOME} "$HOME" and %[src] %% %ci`,
    '\\ \\n \\x41 \\" \\\\ C:\\new\\table # no comment',
    "\ttabs\tand\r\nother ends of lines, it's é, €, 日本 and 😀 – \u00a0\u2028",
    '{"json": ["a", {"b": null}]}\n\n',
  ].join('\n');

  it('reaches the visitor of a dead pool byte for byte', async () => {
    await start('lab', { errors: [{ status: 503, contentType: html, body: own }] });
    await stopBackends();
    const { status, body, headers } = await edge.ask('any.test', '/');
    expect(status).toBe(503);
    expect(body).toBe(own);
    expect(headers).toMatchObject({ 'content-type': html, 'content-length': String(Buffer.byteLength(own)) });
  });

  it('stands for each of its statuses alone, and for no page of a site’s own', async () => {
    const errors = [502, 503].map((status) => ({
      ...{ status, contentType: 'application/json', body: `{"status":${status}}\n` },
    }));
    await start('veza', { errors });
    await edge.stopInstance('veza-web-blue');
    await edge.untilDown(['veza-web-blue']);
    expect((await edge.visit('veza.fr', '/')).body).toBe('{"status":503}\n');
    expect((await edge.visit('veza.fr', '/hls/1')).body).toBe('veza-stream-blue');
    expect((await edge.visit('talas.fr', '/')).body).toContain('There is nothing here yet.');
    expect((await edge.ask('example.test', '/')).body).toBe('Unknown host.\n');
  });

  it('comes with JSON’s type where it is JSON', async () => {
    await start('lab', { errors: [{ status: 504, contentType: 'application/json', body: '{}' }], extra: slowPool });
    const { status, headers, body } = await edge.ask('any.test', '/wait');
    expect([status, headers['content-type'], body]).toEqual([504, 'application/json', '{}']);
  });
});

describe('the built-in page', () => {
  const builtIn = (text: string) => expect.stringMatching(new RegExp(`^<!doctype html>.*<p>${text}</p>\n$`));

  it('says that a dead pool may be back in a moment', async () => {
    await start('lab');
    await stopBackends();
    expect(await edge.ask('any.test', '/')).toMatchObject({
      status: 503,
      headers: { 'content-type': html },
      body: builtIn('Please try again in a moment\\.'),
    });
  });

  it('says that an answer took too long, or got lost', async () => {
    await start('lab', { extra: slowPool });
    expect(await edge.ask('any.test', '/wait')).toMatchObject({
      status: 504,
      headers: { 'content-type': html },
      body: expect.stringContaining('<h1>This took too long</h1>'),
    });
    const lost = post('/wait');
    const { apps } = edge;
    const asked = () => [...apps.values()].some(({ requests }) => requests.some(({ method }) => method === 'POST'));
    await expect.poll(asked, { timeout: 5_000, interval: 5 }).toBe(true);
    await Promise.all([edge.stopInstance('backend-api-1'), edge.stopInstance('backend-api-2')]);
    expect(await lost).toMatchObject({ status: 502, body: builtIn('The answer got lost on its way\\. .*') });
  });

  it('of a site that has none yet is its own', async () => {
    await start('veza');
    for (const host of ['talas.fr', 'www.talas.fr']) {
      expect(await edge.visit(host, '/any')).toMatchObject({
        status: 503,
        headers: { 'content-type': html },
        body: expect.stringMatching(/<title>503 talas\.fr<\/title>.*<p>There is nothing here yet\.<\/p>\n$/),
      });
    }
  });
});

describe('lines of edge.extra', () => {
  const extra = {
    global: '    setenv SITE "lab one"\n',
    defaults: '    # Both families of addresses.\n    option originalto\n',
    frontend:
      '    http-request deny deny_status 403 if { path_beg /secret }\n    http-response set-header X-Site "$SITE"\n',
    backend: { stream: '    http-request set-header X-Pool stream\n' },
  };

  it('take effect, each in its own section', async () => {
    await start('lab', { extra });
    expect((await edge.ask('any.test', '/')).headers['x-site']).toBe('lab one');
    expect((await edge.ask('any.test', '/secret/1')).status).toBe(403);
    await edge.ask('any.test', '/tracks/own.ts');
    await edge.ask('any.test', '/own');
    const received = (path: string) =>
      [...edge.apps.values()].flatMap(({ requests }) => requests).find((request) => request.path === path)?.headers;
    expect(received('/tracks/own.ts')).toMatchObject({ 'x-pool': 'stream', 'x-original-to': edgeAddress() });
    expect(received('/own')).toMatchObject({ 'x-original-to': edgeAddress() });
    expect(received('/own')).not.toHaveProperty('x-pool');
  });

  it('stand behind Bascule’s own lines of the section, and before what chooses a server', async () => {
    await start('lab', { extra });
    const sections = edge
      .text([], 1)
      .replace(/^#.*\n/gm, '')
      .split(/^(?=[a-z])/m);
    const section = (start: string) => sections.find((text) => text.startsWith(start))?.trimEnd() ?? '';
    expect(section('global')).toMatch(ending('global', extra.global));
    expect(section('defaults')).toMatch(ending('defaults', extra.defaults));
    expect(section('frontend edge')).toMatch(
      ending('frontend', extra.frontend, '\\n(?:    # .*\\n)?(?:    use_backend .*\\n)+\\n    default_backend .*'),
    );
    expect(section('backend stream_pool')).toMatch(ending('backend', extra.backend.stream, '(?:    server .*\\n?){2}'));
    expect(section('backend api_pool')).not.toContain('edge.extra');
  });

  it('are shown in the diff of the change that brings them', async () => {
    const test = await createTestEdge();
    try {
      const { config } = test.edge.configuration.files;
      const stamp = { project: 'demo', generation: 1, probe: 'random1', states: [], version };
      await mkdir(dirname(config), { recursive: true });
      await writeFile(config, stampConfiguration(renderConfiguration(test.applied, []), stamp));
      const { configuration } = test.applied;
      const wanted: AppliedConfiguration = {
        ...test.applied,
        configuration: {
          ...configuration,
          edge: { ...configuration.edge, extra: { ...extra, backend: { api: extra.backend.stream } } },
        },
      };
      const { diff } = (await planned(test, 'run-1', applyChange, wanted)).plan;
      const changed = diff.split('\n').filter((line) => /^[+-][^+-]/.test(line));
      const linesOf = (name: string, text: string) => [`    # ---- edge.extra.${name}`, ...text.trimEnd().split('\n')];
      const backend = linesOf('backend', extra.backend.stream);
      const added = [
        ...linesOf('global', extra.global),
        ...linesOf('defaults', extra.defaults),
        ...linesOf('frontend', extra.frontend),
        // In both environments.
        ...backend,
        ...backend,
      ];
      expect(changed).toEqual(added.map((line) => `+${line}`));
    } finally {
      await test.dispose();
    }
  });
});

const edgeAddress = (): string => edge.applied.configuration.edge.http.address;

/** A section's text that ends with these lines of an operator, or with what `rest` describes after them. */
const ending = (name: string, lines: string, rest = ''): RegExp => {
  const own = lines.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`\\n    # ---- edge\\.extra\\.${name}\\n${rest === '' ? own.trimEnd() : own}${rest}$`);
};
