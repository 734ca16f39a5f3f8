import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readOldWorkersEndBy } from '../../src/haproxy/old-workers-end.js';
import { LocalHost } from '../../src/hosts/local.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';

const maxReloads = 50;
const hardStopAfterMs = 3_000;
/** HAProxy says uptimes in whole seconds. */
const exactMs = 2_000;

let edge: ExampleEdge;
let sockets: WebSocket[];
afterEach(async () => {
  for (const socket of sockets) socket.terminate();
  await edge.dispose();
});

async function startLab(hardStopMs?: number): Promise<void> {
  sockets = [];
  edge = await startExampleEdge('lab', {
    change: ({ edge: configured, ...rest }) => ({
      ...rest,
      edge: { ...configured, hardStopAfterMs: hardStopMs ?? configured.hardStopAfterMs },
    }),
  });
}

async function openWebSocket(): Promise<WebSocket> {
  const { address, port } = edge.applied.configuration.edge.http;
  const socket = new WebSocket(`ws://${address}:${port}/socket`);
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'open');
  return socket;
}

const oldWorkers = async () => (await readWorkers(edge.haproxy.masterSocket))?.old;

/** Whether the instance at its other end answers. */
async function isAnswered(socket: WebSocket): Promise<boolean> {
  if (socket.readyState !== WebSocket.OPEN) return false;
  socket.send('still there?');
  const [message] = await once(socket, 'message', { signal: AbortSignal.timeout(5_000) });
  return /^backend-api-[12]$/.test(String(message));
}

it('A WebSocket on an old worker is cut by hard-stop-after, by the time that was told before', async () => {
  await startLab(hardStopAfterMs);
  const socket = await openWebSocket();
  const reloadedAt = Date.now();
  await edge.reload([], 2);
  const workers = await readWorkers(edge.haproxy.masterSocket);
  expect(workers?.old).toHaveLength(1);
  const { edge: configuration, project } = edge.applied.configuration;
  const endBy = await readOldWorkersEndBy({ host: new LocalHost(), project, configuration }, workers);
  expect(await isAnswered(socket)).toBe(true);
  await once(socket, 'close', { signal: AbortSignal.timeout(20_000) });
  const cutAt = Date.now();
  expect(cutAt).toBeGreaterThanOrEqual(reloadedAt + hardStopAfterMs);
  expect(cutAt).toBeLessThanOrEqual(Date.parse(endBy ?? '') + exactMs);
  await expect.poll(oldWorkers).toEqual([]);
});

it(`A WebSocket outlives ${maxReloads} reloads and is cut by the next, so that old workers stay few`, async () => {
  await startLab();
  const first = await openWebSocket();
  await edge.reload([], 2);
  const second = await openWebSocket();
  for (let reloads = 2; reloads <= maxReloads; reloads += 1) await edge.reload([], reloads + 1);
  expect(await isAnswered(first)).toBe(true);
  const cut = once(first, 'close', { signal: AbortSignal.timeout(10_000) });
  await edge.reload([], maxReloads + 2);
  await cut;
  expect(await isAnswered(second)).toBe(true);
  // The master learns of a worker's end a moment after the visitor does.
  await expect.poll(oldWorkers).toHaveLength(1);
}, 60_000);
