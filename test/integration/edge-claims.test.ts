import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acceptance } from '../rig/app.js';
import { component, environment, stateOf } from '../rig/applied.js';
import { type EdgeUnderTest, startEdgeUnderTest } from '../rig/edge-under-test.js';
import { askRaw, openRaw, untilClosed } from '../rig/raw-visitor.js';

const app = 'demo-prod-web-blue';
const start = async (trustedProxies?: readonly string[]) => {
  const edge = await startEdgeUnderTest({
    environments: [environment('prod', ['www.test'])],
    components: [component('web', { isDefault: true })],
    states: [stateOf('prod', 'blue', { hasStandby: true })],
    ...(trustedProxies && { edge: { trustedProxies } }),
  });
  await edge.untilUp([app]);
  return edge;
};

let edge: EdgeUnderTest;
let asked = 0;
/** The headers of one request as the app gets them; `lines` are header lines as they are sent. */
async function passedOn(lines: readonly string[], method = 'GET') {
  asked += 1;
  const path = `/asked-${asked}`;
  const head = [`${method} ${path} HTTP/1.1`, 'Host: www.test', ...lines];
  const connection = lines.some((line) => /^connection:/i.test(line)) ? [] : ['Connection: close'];
  const answer = await askRaw(target(), `${[...head, ...connection].join('\r\n')}\r\n\r\n`);
  expect(answer?.status).toBe(200);
  const request = edge.apps.get(app)?.requests.find((one) => one.path === path);
  if (!request) throw new Error('the app was not asked');
  return request.headers;
}
const target = () => ({ address: '127.0.0.1', port: edge.port });

const forged = '203.0.113.9';
/** What no visitor may say of himself, whoever reads it. */
const claims = [
  ...['Forwarded', 'X-Forwarded', 'X-Forwarded-Port', 'X-Forwarded-Server', 'X-Forwarded-Ssl', 'X-Forwarded-Prefix'],
  ...['X-Forwarded-Scheme', 'X-Forwarded-By', 'X-Forwarded-Path', 'X-Forwarded-Client-IP'],
  ...['True-Client-IP', 'CF-Connecting-IP', 'CF-Connecting-IPv6', 'CF-Pseudo-IPv4', 'Fastly-Client-IP', 'X-Client-IP'],
  ...['Client-IP', 'X-Cluster-Client-IP', 'X-ProxyUser-Ip', 'X-Originating-IP', 'X-Remote-IP', 'X-Remote-Addr'],
  ...['Remote-Addr', 'X-Azure-ClientIP', 'X-Azure-SocketIP', 'Fly-Client-IP', 'DO-Connecting-IP', 'WL-Proxy-Client-IP'],
  ...['X-AppEngine-User-IP', 'X-Envoy-External-Address', 'CloudFront-Viewer-Address', 'X-Original-URL'],
  ...['X-Original-Host', 'X-Original-Method', 'X-Original-URI', 'X-Original-Forwarded-For', 'X-Rewrite-URL', 'X-Host'],
  ...['X-HTTP-Host-Override', 'X-Scheme', 'X-Url-Scheme', 'Front-End-Https', 'CF-Visitor', 'Fastly-SSL', 'Proxy'],
];
/** What a proxy before the edge may say as well. */
const claimsOfProxies = [
  ...['X-Forwarded-User', 'X-Forwarded-Email', 'X-Forwarded-Groups', 'X-Forwarded-Access-Token', 'Remote-User'],
  ...['X-Remote-User', 'Remote-Groups', 'X-WebAuth-User', 'X-Auth-Request-Email', 'X-Authentik-Username'],
  ...['X-SSL-Client-Verify', 'SSL-Client-Cert', 'Client-Cert', 'X-Client-Verify', 'X-ARR-ClientCert', 'CF-IPCountry'],
];

describe('an edge that visitors reach themselves', () => {
  beforeAll(async () => {
    edge = await start();
  });
  afterAll(async () => await edge.dispose());

  it('passes on none of the headers by which an app would take a visitor for somebody else', async () => {
    const all = [
      ...claims,
      ...claimsOfProxies,
      'X-Forwarded-For',
      'X-Forwarded-Proto',
      'X-Forwarded-Host',
      'X-Real-IP',
    ];
    const odd = (name: string) => name.replaceAll('-', '_');
    for (const named of [all, all.map(odd), all.map((name) => name.toUpperCase())]) {
      const headers = await passedOn(named.map((name) => `${name}: ${forged}`));
      expect(Object.entries(headers).filter(([, value]) => String(value).includes(forged))).toEqual([]);
      expect(headers).toMatchObject({
        'x-forwarded-for': '127.0.0.1',
        'x-real-ip': '127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': 'www.test',
      });
    }
  });

  it('passes on what says nothing of the kind', async () => {
    const names = [
      ...['Authorization', 'Cookie', 'Origin', 'Referer', 'User-Agent', 'Via', 'X-Requested-With', 'X-CSRF-Token'],
      ...['X-Original-Filename', 'X-User-Agent', 'X-Client-Version', 'X-Client-Id', 'Traceparent', 'X-Api-Key', 'From'],
      ...['X-Shipping-Address', 'X-HTTP-Method-Override', 'Range', 'If-None-Match', 'X-Ship', 'Sec-Fetch-User'],
    ];
    const headers = await passedOn(names.map((name) => `${name}: kept`));
    for (const name of names) expect(headers[name.toLowerCase()], name).toBe('kept');
  });

  it.each([
    'X-Forwarded-For',
    'close, X-Real-IP, X-Forwarded-Proto',
    'keep-alive, X-Forwarded-For, close',
    'Upgrade, X-Forwarded-For, close',
  ])('has an app drop no header of its own by `Connection: %s`', async (value) => {
    const socket = openRaw(target());
    asked += 1;
    socket.end(`GET /asked-${asked} HTTP/1.1\r\nHost: www.test\r\nConnection: ${value}\r\n\r\n`);
    await untilClosed(socket);
    const { headers } = edge.apps.get(app)?.requests.find(({ path }) => path === `/asked-${asked}`) ?? {};
    expect(headers).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' });
    expect(headers?.connection ?? '').not.toMatch(/x-/i);
  });

  it('closes after its answer where the visitor asked for that, and not before', async () => {
    expect(await askRaw(target(), 'GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n')).toMatchObject({
      status: 200,
    });
    const kept = openRaw(target());
    const two = 'GET / HTTP/1.1\r\nHost: www.test\r\n\r\nGET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n';
    kept.write(two);
    expect((await untilClosed(kept)).match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  });
});

describe('an edge behind proxies that it trusts', () => {
  beforeAll(async () => {
    edge = await start(['127.0.0.0/8', '10.0.0.0/8', '2001:db8:1::/48']);
  });
  afterAll(async () => await edge.dispose());

  it.each([
    ['the last one', ['198.51.100.7'], '198.51.100.7'],
    ['the last one, whatever is before it', ['203.0.113.9, 198.51.100.7'], '198.51.100.7'],
    ['the last one that is none of them', ['203.0.113.9, 198.51.100.7, 10.1.2.3, 10.0.0.1'], '198.51.100.7'],
    ['the last one of several headers', ['203.0.113.9', '198.51.100.7', '10.1.2.3'], '198.51.100.7'],
    ['an IPv6 address', ['2001:db8:2::7, 2001:db8:1::1'], '2001:db8:2::7'],
    ['the one after what is no address', ['203.0.113.9, unknown, 10.1.2.3'], '10.1.2.3'],
    ['the proxy, where it names nobody', [], '127.0.0.1'],
    ['the proxy, where it names what is no address', ['203.0.113.9, nobody'], '127.0.0.1'],
    ['the farthest proxy, where there is nobody else', ['10.1.2.3, 10.0.0.1'], '10.1.2.3'],
  ])('takes for the visitor %s', async (_what, values, visitor) => {
    const headers = await passedOn(values.map((value) => `X-Forwarded-For: ${value}`));
    expect(headers).toMatchObject({ 'x-forwarded-for': visitor, 'x-real-ip': visitor });
  });

  it.each([
    ['https', 'https'],
    ['HTTPS', 'https'],
    ['http', 'http'],
    ['gopher', 'http'],
  ])('takes %s for the scheme %s', async (said, scheme) => {
    const headers = await passedOn([`X-Forwarded-Proto: ${said}`, 'X-Forwarded-For: 198.51.100.7']);
    expect(headers['x-forwarded-proto']).toBe(scheme);
  });

  it('passes on what a proxy alone may say, and none of the rest', async () => {
    const headers = await passedOn([...claims, ...claimsOfProxies].map((name) => `${name}: ${forged}`));
    const passed = Object.keys(headers).filter((name) => headers[name] === forged);
    expect(passed.toSorted()).toEqual(claimsOfProxies.map((name) => name.toLowerCase()).toSorted());
  });
});

describe('an edge behind other proxies', () => {
  beforeAll(async () => {
    edge = await start(['10.0.0.0/8']);
  });
  afterAll(async () => await edge.dispose());

  it('believes a visitor who comes by himself nothing', async () => {
    const said = [...claims, ...claimsOfProxies, 'X-Forwarded-For', 'X-Forwarded-Proto', 'X-Real-IP'];
    const headers = await passedOn(said.map((name) => `${name}: ${forged}`));
    expect(Object.values(headers)).not.toContain(forged);
    expect(headers).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http' });
  });
});

describe('a connection that is to become something else', () => {
  let tunneling: Server;
  const sockets = new Set<Socket>();
  let heads: string[];
  beforeAll(async () => {
    edge = await start();
    await edge.stopInstance(app);
    const { address = '', port } = edge.applied.addresses[app] ?? {};
    heads = [];
    // Agrees to everything, and reads on as a tunnel.
    tunneling = createServer((socket) => {
      sockets.add(socket);
      socket
        .on('error', () => undefined)
        .once('data', (data) => {
          const head = data.toString();
          if (head.includes(' /health ')) return socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
          heads.push(head.toLowerCase());
          const upgrade = /^upgrade: (.*)\r$/im.exec(head)?.[1];
          if (upgrade === undefined)
            return socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain');
          const [, key] = /^sec-websocket-key: (.*)\r$/im.exec(head) ?? [];
          const other = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`;
          socket.write(key === undefined ? other : acceptance(key));
          socket.on('data', () => socket.end('tunneled'));
        });
    });
    await new Promise<void>((resolve) => tunneling.listen(port, address, resolve));
    await edge.untilUp([app]);
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    tunneling.close();
    await edge.dispose();
  });

  const websocketLines = ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'];
  const say = async (lines: readonly string[], after = '', method = 'GET') => {
    const socket = openRaw(target());
    socket.write(`${[`${method} / HTTP/1.1`, 'Host: www.test', ...lines].join('\r\n')}\r\n\r\n`);
    await once(socket, 'readable', { signal: AbortSignal.timeout(10_000) });
    const text = untilClosed(socket);
    socket.write(after === '' ? 'GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n' : after);
    return await text;
  };

  it.each(['websocket', 'WebSocket', 'WEBSOCKET'])('becomes a WebSocket where it asks for %s', async (token) => {
    const text = await say([`Upgrade: ${token}`, 'Connection: keep-alive, UpGrade', ...websocketLines], 'hello');
    expect(text).toMatch(/^HTTP\/1\.1 101 /);
    expect(text).toContain('tunneled');
    expect(heads.at(-1)).toContain('\r\nconnection: upgrade\r\n');
  });

  it.each([
    ['h2c', ['Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA', 'Connection: Upgrade, HTTP2-Settings']],
    ['H2C', ['Upgrade: H2C', 'Connection: upgrade']],
    ['TLS', ['Upgrade: TLS/1.2', 'Connection: Upgrade']],
    ['another program', ['Upgrade: docker-exec', 'Connection: Upgrade']],
    ['a version of it', ['Upgrade: websocket/13', 'Connection: Upgrade', ...websocketLines]],
  ])('stays what it is where it asks for %s', async (_what, lines) => {
    const text = await say(lines);
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text).not.toContain('tunneled');
    expect(heads.at(-1)).not.toMatch(/^(upgrade|http2-settings|connection):/m);
  });

  it.each([
    ['in one header', ['Upgrade: websocket, h2c', 'Connection: Upgrade', ...websocketLines]],
    ['in several', ['Upgrade: h2c', 'Upgrade: websocket', 'Connection: Upgrade', ...websocketLines]],
  ])('becomes nothing but a WebSocket where it asks for several %s', async (_what, lines) => {
    // HAProxy 2.8 takes `h2c` out of them by itself.
    expect(await say(lines)).not.toContain('h2c');
    expect(heads.at(-1)).not.toContain('h2c');
  });

  it('stays what it is by POST', async () => {
    const text = await say(
      ['Upgrade: websocket', 'Connection: Upgrade', 'Content-Length: 0', ...websocketLines],
      '',
      'POST',
    );
    expect(text).not.toContain('tunneled');
  });

  it('is routed request by request where it begins as HTTP/2 without being asked', async () => {
    const session = connectHttp2(`http://127.0.0.1:${edge.port}`);
    const ask = async (headers: Readonly<Record<string, string>>) => {
      const stream = session.request({ ':authority': 'www.test', ':path': '/h2', ...headers });
      const [answer] = (await once(stream, 'response')) as [Readonly<Record<string, unknown>>];
      stream.resume();
      return answer[':status'];
    };
    expect(await ask({ 'x-real-ip': forged, 'x-forwarded-for': forged })).toBe(200);
    expect(heads.at(-1)).toContain('\r\nx-real-ip: 127.0.0.1\r\n');
    expect(heads.at(-1)).not.toContain(forged);
    expect(await ask({ ':authority': 'other.test' })).toBe(503);
    session.close();
  });

  it('becomes a WebSocket by HTTP/2 too', async () => {
    const session = connectHttp2(`http://127.0.0.1:${edge.port}`);
    await once(session, 'remoteSettings');
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':authority': 'www.test',
      ':path': '/',
      'sec-websocket-version': '13',
    });
    const [answer] = (await once(stream, 'response')) as [Readonly<Record<string, unknown>>];
    expect(answer[':status']).toBe(200);
    stream.write('hello');
    const [said] = await once(stream, 'data');
    expect(String(said)).toBe('tunneled');
    session.destroy();
  });

  it('is refused by CONNECT', async () => {
    const answer = await askRaw(target(), 'CONNECT www.test:80 HTTP/1.1\r\nHost: www.test:80\r\n\r\n');
    expect(answer?.status).toBe(405);
  });
});
