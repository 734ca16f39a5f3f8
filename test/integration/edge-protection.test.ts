import { createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Configuration } from '../../src/domain/configuration.js';
import { RuntimeApi } from '../../src/haproxy/runtime.js';
import { stateOf } from '../rig/applied.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { askRaw, openRaw, parseAnswer, untilClosed } from '../rig/raw-visitor.js';

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** As the template says: what a request's line and headers have to fit into. */
const largestHead = 16_384;

const states = [stateOf('prod', 'blue', { hasStandby: true })];

let edge: ExampleEdge;
const target = () => edge.applied.configuration.edge.http;
const send = async (lines: readonly string[]) => await askRaw(target(), `${lines.join('\r\n')}\r\n\r\n`);

/** The requests of visitors that forgejo has had, the only site that examples/veza.yaml serves over http. */
const seen = () => (edge.apps.get('forgejo')?.requests ?? []).filter(({ headers }) => 'x-request-id' in headers);

describe('the edge', () => {
  beforeAll(async () => {
    edge = await startExampleEdge('veza');
  });
  afterAll(async () => await edge?.dispose());

  it('closes on a sender who never finishes the headers, with 408, and no app sees the request', async () => {
    const before = seen().length;
    const socket = openRaw(target());
    const answer = untilClosed(socket);
    socket.write('GET / HTTP/1.1\r\nHost: forgejo.talas.group\r\n');
    // One more header line every 200 ms, for as long as the edge listens.
    const timer = setInterval(() => socket.write(`X-Slow: ${Date.now()}\r\n`), 200);
    try {
      expect(parseAnswer(await answer)?.status).toBe(408);
    } finally {
      clearInterval(timer);
    }
    expect(seen()).toHaveLength(before);
  });

  it.each([
    ['a header that is too long', `GET / HTTP/1.1\r\nHost: forgejo.talas.group\r\nX-Long: ${'a'.repeat(largestHead)}`],
    ['a request line that is too long', `GET /${'a'.repeat(largestHead)} HTTP/1.1\r\nHost: forgejo.talas.group`],
    ['too many headers', `GET / HTTP/1.1\r\nHost: forgejo.talas.group\r\n${'X-Many: 1\r\n'.repeat(101)}X-Last: 1`],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: forgejo.talas.group'],
    ['a header name with a space', 'GET / HTTP/1.1\r\nHost: forgejo.talas.group\r\nX Bad: 1'],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: forgejo.talas.group\r\nHost: veza.fr'],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: forgejo.talas.group\r\nContent-Length: 4\r\nContent-Length: 5'],
    ['a length that is none', 'POST / HTTP/1.1\r\nHost: forgejo.talas.group\r\nContent-Length: -1'],
    ['what is no HTTP', 'hello'],
  ])('answers %s with 400, and no app sees the request', async (_what, head) => {
    const before = seen().length;
    expect((await askRaw(target(), `${head}\r\n\r\n`))?.status).toBe(400);
    expect(seen()).toHaveLength(before);
  });

  it('passes on headers of a size that browsers send', async () => {
    const cookie = 'a'.repeat(largestHead / 2);
    await send(['GET /cookie HTTP/1.1', 'Host: forgejo.talas.group', `Cookie: ${cookie}`, 'Connection: close']);
    expect(seen().at(-1)).toMatchObject({ path: '/cookie', headers: { cookie } });
  });

  it('passes on a request with both a length and chunks as chunks alone', async () => {
    const answer = await askRaw(
      target(),
      [
        'POST /chunks HTTP/1.1',
        'Host: forgejo.talas.group',
        'Content-Length: 60',
        'Transfer-Encoding: chunked',
        'Connection: close',
        '',
        '0',
        '',
        'GET /smuggled HTTP/1.1',
        'Host: forgejo.talas.group',
        '',
        '',
      ].join('\r\n'),
    );
    expect(answer?.status).toBe(200);
    expect(seen().at(-1)?.path).toBe('/chunks');
    expect(seen().at(-1)?.headers).not.toHaveProperty('content-length');
    expect(seen().map(({ path }) => path)).not.toContain('/smuggled');
  });

  it.each(['http', 'https'] as const)(
    'tells apps over %s who asks and how, whatever the visitor says of it',
    async (scheme) => {
      const headers = {
        'X-Forwarded-For': '203.0.113.1',
        Forwarded: 'for=203.0.113.1;proto=https',
        'X-Forwarded-Proto': 'gopher',
        'X-Forwarded-Host': 'evil.test',
        'X-Request-ID': 'mine',
      };
      const host = scheme === 'http' ? 'forgejo.talas.group' : 'veza.fr';
      const answer =
        scheme === 'http' ? await edge.ask(host, '/own', headers) : await edge.visit(host, '/own', headers);
      const id = answer.headers['x-request-id'];
      expect(id).toMatch(uuid);
      const app = edge.apps.get(scheme === 'http' ? 'forgejo' : 'veza-web-blue');
      const { headers: received } = app?.requests.find(({ path }) => path === '/own') ?? {};
      expect(received).toMatchObject({
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': scheme,
        'x-forwarded-host': host,
        'x-request-id': id,
        host,
      });
      expect(received).not.toHaveProperty('forwarded');
    },
  );

  it('gives every answer a request id of its own, those of its own pages too', async () => {
    const answers = await Promise.all([
      edge.ask('forgejo.talas.group', '/'),
      edge.ask('forgejo.talas.group', '/'),
      edge.ask('example.test', '/'),
      edge.ask('veza.fr', '/'),
    ]);
    const ids = answers.map(({ headers }) => headers['x-request-id']);
    for (const id of ids) expect(id).toMatch(uuid);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe('a server that takes a request and dies', () => {
  let dying: Server;
  let taken: string[];
  afterEach(async () => {
    await edge?.dispose();
    dying?.close();
  });

  /** prod's active backend, by a server that ends with the first request of a visitor that it has read. */
  const start = async () => {
    edge = await startExampleEdge('veza', { states, change: withoutSitesAndHttps });
    await edge.untilUp(['veza-backend-blue', 'veza-backend-green']);
    await edge.stopInstance('veza-backend-blue');
    const { address, port } = edge.applied.addresses['veza-backend-blue'] ?? { address: '', port: 0 };
    taken = [];
    dying = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (data) => {
        const [line = ''] = data.toString().split('\r\n');
        if (line.includes('/health')) {
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
          return;
        }
        taken.push(line);
        dying.close();
        socket.destroy();
      });
    });
    await new Promise<void>((resolve) => dying.listen(port, address, resolve));
    await edge.untilUp(['veza-backend-blue']);
  };
  const requestLine = (method: string) => [
    `${method} /api/v1/x HTTP/1.1`,
    'Host: veza.fr',
    'Content-Length: 0',
    'Connection: close',
  ];

  it.each(['GET', 'HEAD', 'OPTIONS'])('costs the visitor of a %s nothing: it is repeated', async (method) => {
    await start();
    const answer = await send(requestLine(method));
    expect(answer).toMatchObject({ status: 200, headers: { 'x-app': 'veza-backend-green' } });
    expect(taken).toEqual([`${method} /api/v1/x HTTP/1.1`]);
  });

  it('gets a GET once that an app may take for a DELETE', async () => {
    await start();
    const [line = '', ...lines] = requestLine('GET');
    expect((await send([line, 'X-HTTP-Method-Override: DELETE', ...lines]))?.status).toBe(502);
    expect(taken).toHaveLength(1);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE'])(
    'gets a %s once, as it may have been carried out: 502',
    async (method) => {
      await start();
      expect((await send(requestLine(method)))?.status).toBe(502);
      expect(taken).toEqual([`${method} /api/v1/x HTTP/1.1`]);
      const standby = edge.apps.get('veza-backend-green')?.requests.filter(({ path }) => path === '/api/v1/x');
      expect(standby).toEqual([]);
    },
  );
});

describe('a server that refuses the connection', () => {
  beforeEach(async () => {
    // Nobody checks in between: the requests themselves find out.
    edge = await startExampleEdge('veza', { states, change: withoutSitesAndHttps, intervalMs: 60_000 });
    await edge.untilUp(['veza-web-blue', 'veza-web-green']);
    await edge.stopInstance('veza-web-blue');
  });
  afterEach(async () => await edge?.dispose());

  const visit = async (method: string) =>
    await send([`${method} / HTTP/1.1`, 'Host: veza.fr', 'Content-Length: 0', 'Connection: close']);
  const standby = { status: 200, headers: { 'x-app': 'veza-web-green' } };

  it('costs the visitor of a GET nothing: the standby answers', async () => {
    expect(await visit('GET')).toMatchObject(standby);
    // Two refused connections and the one to the other server. HAProxy waits 450 ms after each that was refused: a client
    // who comes alone has his answer within a second.
    const [header = '', ...rows] = (await new RuntimeApi(edge.haproxy.socket).command('show stat')).split('\n');
    const row = rows.find((line) => line.startsWith('prod_web_pool,BACKEND,'))?.split(',');
    expect(row?.[header.split(',').indexOf('wretr')]).toBe('3');
    expect(edge.text(states, 1)).toMatch(/^ {4}timeout connect +450ms$/m);
  });

  it('costs one POST at most, the one by which the server is marked down: all further ones reach the standby', async () => {
    const answers = [];
    for (let post = 0; post < 5; post += 1) answers.push(await visit('POST'));
    expect(answers.slice(1)).toMatchObject(Array(4).fill(standby));
  });
});

/** Both pools over http; and no external site, the first check of which may come after 5 s. */
const withoutSitesAndHttps = ({ edge: { https: _https, ...rest }, ...whole }: Configuration): Configuration => ({
  ...whole,
  edge: rest,
  external: [],
});
