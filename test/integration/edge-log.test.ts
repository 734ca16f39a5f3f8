import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { AccessLog } from '../../src/domain/configuration.js';
import type { Color } from '../../src/domain/edge-state.js';
import { stateOf } from '../rig/applied.js';
import { ask } from '../rig/ask.js';
import { probeOf } from '../rig/edge-under-test.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { askRaw } from '../rig/raw-visitor.js';

type Line = Readonly<Record<string, unknown>>;

let edge: ExampleEdge;
let syslog: Socket | null = null;
afterEach(async () => {
  await edge?.dispose();
  syslog?.close();
  syslog = null;
});

const states = (prod: Color) => [stateOf('prod', prod, { hasStandby: true })];
const start = async (log: AccessLog) => {
  edge = await startExampleEdge('veza', {
    states: states('blue'),
    change: (whole) => ({ ...whole, edge: { ...whole.edge, log } }),
  });
};
/** What HAProxy says of itself on the same stdout (`Proxy edge stopped`, `Server … is UP`) is no access. */
const isOfHaproxy = (line: string): boolean => /^(?:Proxy|Server) \S+ /.test(line);
const accessLines = (): readonly string[] =>
  edge.haproxy
    .output()
    .split('\n')
    .filter((line) => line !== '' && !isOfHaproxy(line));

/**
 * Lines of stdout's log, once there are so many of them; every one has to be JSON. HAProxy writes a line after the
 * answer, and each thread its own: who wants them in order waits for one before the next is asked.
 */
async function untilLines(count: number): Promise<readonly Line[]> {
  return await vi.waitFor(
    () => {
      const lines = accessLines().map((line) => JSON.parse(line) as Line);
      expect(lines.length).toBeGreaterThanOrEqual(count);
      return lines;
    },
    { timeout: 10_000, interval: 20 },
  );
}

describe('the access log as JSON, on stdout', () => {
  it('says of each request who asked for what and who answered, with the id that visitor and app have', async () => {
    await start({ to: 'stdout', format: 'json' });
    const { headers } = await edge.visit('VEZA.fr', '/api/v1/x?y=z');
    const [line] = await untilLines(1);
    expect(line).toMatchObject({
      ...{ client: '127.0.0.1', method: 'GET', scheme: 'https', host: 'veza.fr', path: '/api/v1/x?y=z', status: 200 },
      ...{ environment: 'prod', pool: 'prod_backend_api', server: 'veza-backend-blue', color: 'blue' },
      request: headers['x-request-id'],
    });
    expect(line?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);

    await edge.reload(states('green'), 2);
    await edge.visit('veza.fr', '/');
    await untilLines(2);
    await edge.visit('staging.veza.fr', '/hls/1');
    expect((await untilLines(3)).slice(1)).toMatchObject([
      { environment: 'prod', pool: 'prod_web_pool', server: 'veza-web-green', color: 'green' },
      { environment: 'staging', pool: 'staging_stream_pool', server: 'veza-staging-stream-blue', color: 'blue' },
    ]);
  });

  it('says the environment of what the edge itself answers, too', async () => {
    await start({ to: 'stdout', format: 'json' });
    const { headers } = await edge.ask('staging.veza.fr', '/x');
    await untilLines(1);
    await askRaw(
      edge.applied.configuration.edge.http,
      'TRACE / HTTP/1.1\r\nHost: veza.fr\r\nConnection: close\r\n\r\n',
    );
    await untilLines(2);
    await edge.visit('talas.fr', '/');
    await untilLines(3);
    await edge.ask('example.test', '/');
    expect(await untilLines(4)).toMatchObject([
      { status: 308, scheme: 'http', environment: 'staging', request: headers['x-request-id'], color: '-' },
      { status: 405, scheme: 'http', environment: 'prod', method: 'TRACE' },
      { status: 503, scheme: 'https', environment: '-', pool: 'talas_backend' },
      { status: 503, scheme: 'http', environment: '-', pool: 'default_503', host: 'example.test' },
    ]);
  });

  it('is one object a line, whatever bytes host and path have', async () => {
    await start({ to: 'stdout', format: 'json' });
    const strange = '"\\\t{}%[src]\'`$x\x7f\xff\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"';
    const requests = [
      `GET /a"b\\c'd{}\`%5B$x HTTP/1.1\r\nHost: forgejo.talas.group`,
      `GET / HTTP/1.1\r\nHost: ${strange}`,
      `GET /${'"\\'.repeat(4_000)} HTTP/1.1\r\nHost: forgejo.talas.group`,
      `GET / HTTP/1.1\r\nHost: ${'"\\'.repeat(4_000)}`,
      `GET / HTTP/1.1\r\nHost: ${'\xc3\xa9'.repeat(4_000)}`,
      `GET /${'"'.repeat(7_000)} HTTP/1.1\r\nHost: ${'\xc3\xa9'.repeat(4_000)}`,
      `GET /\xff\xc3 HTTP/1.1\r\nHost: forgejo.talas.group`,
      `G"T / HTTP/1.1\r\nHost: forgejo.talas.group`,
      'nothing',
    ];
    for (const [index, head] of requests.entries()) {
      await askRaw(edge.applied.configuration.edge.http, Buffer.from(`${head}\r\nConnection: close\r\n\r\n`, 'latin1'));
      await untilLines(index + 1);
    }
    const lines = await untilLines(requests.length);
    expect(lines).toHaveLength(requests.length);
    expect(lines[0]).toMatchObject({ path: `/a"b\\c'd{}\`%5B$x`, pool: 'forgejo_backend' });
    expect(lines[1]).toMatchObject({ host: expect.stringContaining('"\\\t{}%[src]\'`$x'), pool: 'default_503' });
    expect(lines[2]?.path).toMatch(/^\/(?:"\\){500,}"?$/);
    expect(lines[3]?.host).toBe(`${'"\\'.repeat(126)}"`);
  });

  it('has no line for a probe', async () => {
    await start({ to: 'stdout', format: 'json' });
    const probe = { 'X-Bascule-Probe': probeOf(1) };
    expect((await edge.ask('veza.fr', '/probe', probe)).headers).toHaveProperty('x-bascule-server');
    await edge.ask('veza.fr', '/probe', { 'X-Bascule-Probe': 'wrong' });
    await untilLines(1);
    await edge.ask('veza.fr', '/visit');
    expect((await untilLines(2)).map(({ path, status }) => [path, status])).toEqual([
      ['/probe', 308],
      ['/visit', 308],
    ]);
  });
});

it('the access log in HAProxy’s own format says pool, server and status', async () => {
  await start({ to: 'stdout', format: 'haproxy' });
  await edge.visit('veza.fr', '/api/v1/x');
  const line = await vi.waitFor(
    () => {
      const [first] = accessLines();
      if (first === undefined) throw new Error('no line yet');
      return first;
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(line).toMatch(/^127\.0\.0\.1:\d+ \[.+\] edge~ prod_backend_api\/veza-backend-blue [\d/]+ 200 \d+ /);
  expect(line).toMatch(/ "GET \/api\/v1\/x HTTP\/1\.1"$/);
});

it('a syslog server gets each line of the access log as a message, a very long one too', async () => {
  syslog = createSocket('udp4');
  const messages: string[] = [];
  syslog.on('message', (message) => messages.push(message.toString()));
  syslog.bind(0, '127.0.0.1');
  await once(syslog, 'listening');
  await start({ to: `127.0.0.1:${syslog.address().port}`, format: 'json' });
  const path = `/${'"'.repeat(7_000)}`;
  await ask(edge.applied.configuration.edge.http, 'forgejo.talas.group', path);
  // HAProxy tells it of its own start and of servers that come up, too.
  const line = await vi.waitFor(
    () => {
      const found = messages.find((message) => message.includes('forgejo_backend","server'));
      if (found === undefined) throw new Error(`no such message: ${messages}`);
      return found;
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(line).toMatch(/^<134>\w{3} [ \d]\d \d\d:\d\d:\d\d haproxy\[\d+\]: \{/);
  expect(JSON.parse(line.slice(line.indexOf('{')))).toMatchObject({
    ...{ environment: '-', pool: 'forgejo_backend', server: 'forgejo' },
    path: expect.stringMatching(/^\/"{1000,}$/),
  });
});
