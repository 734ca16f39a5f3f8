import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { drainOldWorkers, type Shut } from '../../src/haproxy/drain.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readServers } from '../../src/haproxy/runtime.js';
import { type App, startApp } from '../rig/app.js';
import { applyChange, change, createTestEdge, keepFiles, switchChange, type TestEdge } from '../rig/edge.js';
import { isWhole } from '../rig/tier.js';

let test: TestEdge;
let apps: App[];
let kept: Awaited<ReturnType<typeof keepFiles>>;
const open: { end(): void }[] = [];
beforeAll(async () => {
  test = await createTestEdge();
  apps = await Promise.all(
    Object.entries(test.applied.addresses).map(([name, { address, port }]) => startApp(address, port, name)),
  );
  await change(test, 'run-1', applyChange);
  kept = await keepFiles(test);
});
beforeEach(async () => {
  await kept.restore();
  await expect.poll(countOldWorkers, { timeout: 10_000 }).toBe(0);
  await expect.poll(countUp, { timeout: 10_000 }).toBe(8);
});
afterEach(() => {
  for (const each of open.splice(0)) each.end();
  for (const app of apps) app.endHalfOpen();
});
afterAll(async () => {
  await kept.remove();
  await Promise.all(apps.map((app) => app.stop()));
  await test.dispose();
});

async function countUp(): Promise<number> {
  return (await readServers(test.edge.configuration.files.socket)).servers.filter(({ isUp }) => isUp).length;
}

async function openWebSocket(environment: string): Promise<WebSocket> {
  const { address, port } = test.applied.configuration.edge.http;
  const socket = new WebSocket(`ws://${address}:${port}/`, { headers: { host: `${environment}.localhost` } });
  socket.on('error', () => undefined);
  open.push({ end: () => socket.terminate() });
  await once(socket, 'open', { signal: AbortSignal.timeout(10_000) });
  return socket;
}

/** A download that goes on for ever. */
async function download(environment: string): Promise<IncomingMessage> {
  const { address: host, port } = test.applied.configuration.edge.http;
  const asking = get({ host, port, path: '/drip', headers: { host: `${environment}.localhost` }, agent: false });
  asking.on('error', () => undefined);
  open.push({ end: () => asking.destroy() });
  const [response] = (await once(asking, 'response', { signal: AbortSignal.timeout(10_000) })) as [IncomingMessage];
  response.on('error', () => undefined).resume();
  return response;
}

/** A visitor that writes what it likes, and reads only what is asked for. */
async function openRaw(lines: readonly string[]): Promise<Socket> {
  const { address: host, port } = test.applied.configuration.edge.http;
  const socket = connect({ host, port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  open.push({ end: () => socket.destroy() });
  socket.write(`${lines.join('\r\n')}\r\nHost: prod.localhost\r\n\r\n`);
  await once(socket, 'readable', { signal: AbortSignal.timeout(10_000) });
  return socket;
}

const halfOpen = [
  'GET /half-open HTTP/1.1',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
];

/** `once` would take the error before it for its own. */
const closed = (connection: NodeJS.EventEmitter): Promise<void> =>
  new Promise((resolve) => connection.once('close', () => resolve()));

async function isAnswered(socket: WebSocket): Promise<string> {
  socket.send('still there?');
  const [message] = await once(socket, 'message', { signal: AbortSignal.timeout(5_000) });
  return String(message);
}

/** Until prod's blue can be replaced; `withinMs` is how long its visitors may finish, by a clock that was set back. */
const drain = (withinMs: number, setBackMs = 0, lastMs?: number): Promise<Shut> =>
  drainOldWorkers(test.edge, {
    environment: 'prod',
    color: 'blue',
    until: new Date(Date.now() + setBackMs + withinMs).toISOString(),
    atMostMs: withinMs,
    ...(lastMs !== undefined && { lastMs }),
    signal: AbortSignal.timeout(30_000),
  });

const countOldWorkers = async () => (await readWorkers(test.edge.configuration.files.masterSocket))?.old.length;

it('waits for nobody where no old worker is left', async () => {
  await change(test, 'run-2', switchChange('blue', 'green'));
  expect(await drain(60_000)).toEqual({ ofThisColor: 0, others: 0 });
});

it('at its end cuts what goes to this color, and a download that could still lead there; WebSockets of staging go on', async () => {
  const [ofProd, ofStaging] = [await openWebSocket('prod'), await openWebSocket('staging')];
  const [toProd, toStaging] = [await download('prod'), await download('staging')];
  const cut = [ofProd, toProd, toStaging].map(closed);
  await change(test, 'run-2', switchChange('blue', 'green'));

  expect(await drain(0, 3_600_000)).toEqual({ ofThisColor: 2, others: 1 });
  await Promise.all(cut);
  expect(await isAnswered(ofStaging)).toBe('demo-staging-web-blue');
  await expect.poll(countOldWorkers).toBe(1);
});

it('before that waits until the last visitor of this color has gone, and cuts nobody', async () => {
  const ofProd = await openWebSocket('prod');
  await change(test, 'run-2', switchChange('blue', 'green'));
  const draining = drain(25_000);
  expect(await Promise.race([draining, sleep(1_500, 'waits')])).toBe('waits');
  expect(await isAnswered(ofProd)).toBe('demo-prod-web-blue');
  ofProd.close();
  expect(await draining).toEqual({ ofThisColor: 0, others: 0 });
});

const leavings: readonly (readonly [string, (socket: Socket) => void])[] = [
  ['went away', (socket) => socket.destroy()],
  ['closed its side', (socket) => socket.end()],
  ['is still there', () => undefined],
];
it.each(isWhole ? leavings : leavings.slice(0, 1))(
  'at its end waits for no WebSocket that the app keeps open, whose visitor %s',
  async (_how, leave) => {
    leave(await openRaw(halfOpen));
    const ofStaging = await openWebSocket('staging');
    await change(test, 'run-2', switchChange('blue', 'green'));
    expect(await drain(0)).toEqual({ ofThisColor: 1, others: 0 });
    expect(await isAnswered(ofStaging)).toBe('demo-staging-web-blue');
  },
);

it('at its end ends the worker of a download that its visitor does not read, and no other', async () => {
  await openRaw(['GET /flood HTTP/1.1']);
  await change(test, 'run-2', switchChange('blue', 'green'));
  const ofStaging = await openWebSocket('staging');
  expect(await drain(0, 0, 1_000)).toEqual({ ofThisColor: 1, others: 0, workers: 1 });
  await expect.poll(countOldWorkers).toBe(0);
  expect(await isAnswered(ofStaging)).toBe('demo-staging-web-blue');
});

it('leaves an old worker alone that could send nobody to this color', async () => {
  await change(test, 'run-2', switchChange('blue', 'green'));
  const toStaging = await download('staging');
  await change(test, 'run-3', {
    id: 'switch-staging',
    operation: 'switch',
    kind: 'color',
    environment: 'staging',
    from: 'blue',
    to: 'green',
    sha: 'aaaaaaa',
    history: 'push',
  });
  expect(await drain(0)).toEqual({ ofThisColor: 0, others: 0 });
  expect(toStaging.closed).toBe(false);
  await expect.poll(countOldWorkers).toBe(1);
});

it('ends nobody where it comes late, when the color is active again', async () => {
  const toProd = await download('prod');
  await change(test, 'run-2', switchChange('blue', 'green'));
  await change(test, 'run-3', { ...switchChange('green', 'blue'), id: 'switch-back' });
  await expect(drain(0)).rejects.toMatchObject({ code: 'drain-too-late' });
  expect(toProd.closed).toBe(false);
});
