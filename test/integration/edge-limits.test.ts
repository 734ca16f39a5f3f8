import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readServers } from '../../src/haproxy/runtime.js';
import { component, environment, stateOf } from '../rig/applied.js';
import { applyChange, change, createTestEdge, switchChange, type TestEdge } from '../rig/edge.js';
import { startEdgeUnderTest } from '../rig/edge-under-test.js';
import { askRaw, openRaw, untilClosed } from '../rig/raw-visitor.js';

/** Connections of the edge under test, of which one client gets ten. */
const connections = 40;

let test: TestEdge;
let dispose: (() => Promise<void>) | undefined;
const attackers = new Set<Socket>();
let attack: NodeJS.Timeout | undefined;
const start = async (limits: { perClient?: number | null } = {}, trustedProxies?: readonly string[]) => {
  test = await createTestEdge({
    edge: { limits: { connections, ...limits }, ...(trustedProxies && { trustedProxies }) },
  });
  dispose = test.dispose;
  for (const color of ['blue', 'green'] as const) await test.serve('prod', color);
  await change(test, 'run-1', applyChange);
  await vi.waitFor(async () => {
    const { servers } = await readServers(test.edge.configuration.files.socket);
    expect(servers.filter(({ isUp }) => isUp)).toHaveLength(4);
  }, 10_000);
};
beforeEach(() => attackers.clear());
afterEach(async () => {
  clearInterval(attack);
  for (const socket of attackers) socket.destroy();
  await dispose?.();
  dispose = undefined;
});

const http = () => test.applied.configuration.edge.http;
const ask = async (lines: readonly string[] = []) =>
  await askRaw(
    http(),
    `${['GET / HTTP/1.1', 'Host: prod.localhost', ...lines, 'Connection: close'].join('\r\n')}\r\n\r\n`,
  );

/** A body that never comes to its end. */
function postSlowly(localAddress: string): void {
  const { address: host, port } = http();
  const socket = connect({ host, port, localAddress });
  attackers.add(socket);
  socket.on('error', () => undefined).on('close', () => attackers.delete(socket));
  socket.write('POST / HTTP/1.1\r\nHost: prod.localhost\r\nContent-Length: 1000000\r\n\r\nx');
}

const countConnections = async () => {
  const { servers } = await readServers(test.edge.configuration.files.socket);
  return servers.reduce((sum, { sessions }) => sum + sessions, 0);
};

describe('an edge of few connections', () => {
  it('serves the others where one client takes all that it can', async () => {
    await start();
    for (let count = 0; count < 45; count += 1) postSlowly('127.0.0.2');
    await expect.poll(countConnections).toBe(10);
    for (let count = 0; count < 3; count += 1) expect((await ask())?.status).toBe(200);
    expect(await countConnections()).toBe(10);
  });

  it('changes colors and goes back while clients hold every connection', async () => {
    await start();
    const hold = (): void => {
      for (let client = 2; client < 8; client += 1) if (attackers.size < 400) postSlowly(`127.0.0.${client}`);
    };
    attack = setInterval(hold, 5);
    await expect.poll(countConnections, { timeout: 20_000 }).toBeGreaterThanOrEqual(connections);
    await change(test, 'run-2', switchChange('blue', 'green'));
    await expect.poll(countConnections, { timeout: 20_000 }).toBeGreaterThanOrEqual(connections);
    await change(test, 'run-3', { ...switchChange('green', 'blue'), id: 'switch-back' });
  });

  it('lets one client have as many as it likes where it is told so', async () => {
    await start({ perClient: null });
    for (let count = 0; count < 20; count += 1) postSlowly('127.0.0.2');
    await expect.poll(countConnections).toBe(20);
  });
});

it('waits for an instance that says nothing as long as its component says, in an answer that has begun too', async () => {
  const edge = await startEdgeUnderTest({
    environments: [environment('prod', ['prod.localhost'])],
    components: [
      component('events', { routes: [{ prefix: '/events' }] }),
      component('web', { isDefault: true, timeouts: { serverMs: 300 } }),
    ],
    states: [stateOf('prod', 'blue', { hasStandby: true })],
  });
  dispose = edge.dispose;
  const get = (path: string) => {
    const socket = openRaw({ address: '127.0.0.1', port: edge.port });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: prod.localhost\r\nConnection: close\r\n\r\n`);
    attackers.add(socket);
    return socket;
  };
  const events = get('/events/drip').resume();
  expect(await untilClosed(get('/drip'))).toMatch(/^HTTP\/1\.1 200 /);
  expect(await untilClosed(get('/wait'))).toMatch(/^HTTP\/1\.1 504 /);
  expect(events.closed).toBe(false);
});

it('counts the requests of each client that comes by a proxy, not those of the proxy', async () => {
  await start({ perClient: 3 }, ['127.0.0.0/8']);
  const waiting = async (client: string) => {
    const socket = openRaw(http());
    attackers.add(socket);
    socket.write(`POST / HTTP/1.1\r\nHost: prod.localhost\r\nX-Forwarded-For: ${client}\r\nContent-Length: 9\r\n\r\nx`);
    return socket;
  };
  for (let count = 0; count < 3; count += 1) await waiting('198.51.100.7');
  await expect.poll(countConnections).toBe(3);
  expect(await untilClosed(await waiting('198.51.100.7'))).toMatch(/^HTTP\/1\.1 429 /);
  for (let count = 0; count < 3; count += 1) await waiting('198.51.100.8');
  await expect.poll(countConnections).toBe(6);
  expect((await ask(['X-Forwarded-For: 198.51.100.9']))?.status).toBe(200);
});
