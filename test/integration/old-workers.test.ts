import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { delimiter } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import { edgeFiles } from '../../src/haproxy/edge.js';
import { installConfiguration } from '../../src/haproxy/install.js';
import {
  blockingSessions,
  isBlocking,
  mayChoose,
  type OldWorker,
  readOldWorkers,
  readWorkers,
  type ServerName,
  shutSession,
} from '../../src/haproxy/old-workers.js';
import { readOldWorkersEndBy } from '../../src/haproxy/old-workers-end.js';
import { reloadEdge } from '../../src/haproxy/reload.js';
import { stageConfiguration } from '../../src/haproxy/stage.js';
import { LocalHost } from '../../src/hosts/local.js';
import { component, environment, stateOf } from '../rig/applied.js';
import { applyChange, createTestEdge, planned, type TestEdge } from '../rig/edge.js';
import { type EdgeUnderTest, startEdgeUnderTest } from '../rig/edge-under-test.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { newerHaproxyFolder } from '../rig/haproxy.js';
import { isWhole } from '../rig/tier.js';

const components = [component('api', { routes: [{ prefix: '/api/' }] }), component('web', { isDefault: true })];
const environments = [environment('prod', ['localhost'])];
const blue: readonly ServerName[] = ['prod_api_pool/demo-prod-api-blue', 'prod_web_pool/demo-prod-web-blue'];
const green: readonly ServerName[] = ['prod_api_pool/demo-prod-api-green', 'prod_web_pool/demo-prod-web-green'];

describe('an old worker', () => {
  let edge: EdgeUnderTest;
  let visitors: (Socket | WebSocket)[];
  beforeEach(async () => {
    visitors = [];
    edge = await startEdgeUnderTest({
      environments,
      components,
      states: [stateOf('prod', 'blue', { hasStandby: true })],
      httpKeepAliveMs: 60_000,
    });
  });
  afterEach(async () => {
    for (const visitor of visitors) visitor instanceof WebSocket ? visitor.terminate() : visitor.destroy();
    await edge.dispose();
  });

  const switchToGreen = async () => await edge.reload([stateOf('prod', 'green', { hasStandby: true })], 2);
  const oldWorkers = async () => await readOldWorkers(edge.haproxy.masterSocket);
  const onlyOldWorker = async (): Promise<OldWorker> => {
    const [worker, ...others] = await oldWorkers();
    expect(others).toEqual([]);
    if (!worker) throw new Error('no old worker');
    return worker;
  };
  const openWebSocket = async (path: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${path}`, { headers: { Host: 'localhost' } });
    visitors.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'open');
    return socket;
  };
  /** Sends a text over a new connection, and waits for the first bytes that come back where there are to be some. */
  const send = async (text: string, { isAnswered }: { isAnswered: boolean }) => {
    const socket = connect(edge.port, '127.0.0.1');
    visitors.push(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(text);
    if (isAnswered) await once(socket, 'data');
    return socket;
  };
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

  it('shows an established WebSocket as a tunnel, which blocks its own color alone', async () => {
    const socket = await openWebSocket('/api/');
    await switchToGreen();
    const worker = await onlyOldWorker();
    expect(worker).toMatchObject({
      generation: 1,
      idleConnections: 0,
      sessions: [{ frontend: 'edge', backend: 'prod_api_pool', server: 'demo-prod-api-blue', isTunnel: true }],
    });
    expect(isBlocking(worker, { servers: green })).toBe(false);
    expect(isBlocking(worker, { servers: blue })).toBe(true);
    socket.send('still there?');
    const [message] = await once(socket, 'message');
    expect(String(message)).toBe('demo-prod-api-blue');
  });

  it('blocks both colors while it holds a download: its connection may send another request', async () => {
    await send(get('/drip'), { isAnswered: true });
    await switchToGreen();
    const worker = await onlyOldWorker();
    expect(worker.sessions).toMatchObject([{ server: 'demo-prod-web-blue', isTunnel: false }]);
    expect(blockingSessions(worker, { servers: green })).toHaveLength(1);
    expect(isBlocking(worker, { servers: blue })).toBe(true);
  });

  it('blocks while it holds a request that is not answered yet', async () => {
    await send(get('/api/wait'), { isAnswered: false });
    await vi.waitFor(() => {
      expect(edge.apps.get('demo-prod-api-blue')?.requests.some(({ path }) => path === '/api/wait')).toBe(true);
    });
    await switchToGreen();
    expect(blockingSessions(await onlyOldWorker(), { servers: green })).toMatchObject([
      { backend: 'prod_api_pool', server: 'demo-prod-api-blue', isTunnel: false },
    ]);
  });

  it('blocks by an idle kept connection beside a tunnel, which HAProxy’s list of sessions does not show', async () => {
    await openWebSocket('/api/');
    const idle = await send(get('/'), { isAnswered: true });
    await switchToGreen();
    const worker = await onlyOldWorker();
    expect(worker).toMatchObject({ idleConnections: 1, sessions: [{ isTunnel: true }] });
    expect(isBlocking(worker, { servers: green })).toBe(true);

    // Why it has to: the earlier configuration answers its next request.
    idle.write(get('/'));
    const [answer] = await once(idle, 'data');
    expect(String(answer)).toContain('demo-prod-web-blue');
    await expect.poll(async () => isBlocking(await onlyOldWorker(), { servers: green })).toBe(false);
  });

  it('blocks by a connection on which half a request came', async () => {
    await openWebSocket('/api/');
    await send('GET / HTTP/1.1\r\nHost:', { isAnswered: false });
    await send('', { isAnswered: false });
    await switchToGreen();
    expect(await onlyOldWorker()).toMatchObject({ idleConnections: 2, sessions: [{ isTunnel: true }] });
  });

  it('ends when its last session is shut, and the tunnels to other servers are left alone', async () => {
    const socket = await openWebSocket('/api/');
    const download = await send(get('/drip'), { isAnswered: true });
    await switchToGreen();
    const worker = await onlyOldWorker();
    const [session, ...others] = blockingSessions(worker, { servers: green });
    expect(others).toEqual([]);
    const ended = once(download, 'close');
    await shutSession(edge.haproxy.masterSocket, worker.pid, session?.id ?? '');
    await ended;
    await expect.poll(async () => isBlocking(await onlyOldWorker(), { servers: green })).toBe(false);
    expect(socket.readyState).toBe(WebSocket.OPEN);

    // One that is gone already is done.
    await shutSession(edge.haproxy.masterSocket, worker.pid, session?.id ?? '');
    for (const { id } of (await onlyOldWorker()).sessions) await shutSession(edge.haproxy.masterSocket, worker.pid, id);
    await expect.poll(oldWorkers).toEqual([]);
    await expect.poll(async () => (await readWorkers(edge.haproxy.masterSocket))?.old).toEqual([]);
  });

  it('is one of several after several reloads, each with the generation it was loaded with', async () => {
    await openWebSocket('/api/');
    await switchToGreen();
    await openWebSocket('/');
    await edge.reload([stateOf('prod', 'blue', { hasStandby: true })], 3);
    const seen = (await oldWorkers()).map(({ generation, sessions }) => ({
      generation,
      servers: sessions.map((each) => each.server),
    }));
    expect(seen.sort((a, b) => a.generation - b.generation)).toEqual([
      { generation: 1, servers: ['demo-prod-api-blue'] },
      { generation: 2, servers: ['demo-prod-web-green'] },
    ]);
  });
});

describe('whether a configuration may choose a color', () => {
  it.each([
    ['the active color', stateOf('prod', 'blue', { hasStandby: false }), 'blue', true],
    ['a standby', stateOf('prod', 'green', { hasStandby: true }), 'blue', true],
    ['a color that was stood down', stateOf('prod', 'green', { hasStandby: false }), 'blue', false],
    [
      'the active color where nothing was ever deployed',
      { name: 'prod', color: 'blue', sha: null, standby: null },
      'blue',
      true,
    ],
    [
      'a color of an environment that it does not have',
      stateOf('staging', 'blue', { hasStandby: true }),
      'blue',
      false,
    ],
  ] as const)('%s', (_what, state, color, may) => {
    expect(mayChoose([state], 'prod', color)).toBe(may);
  });

  it('is assumed where its file is not kept any more', () => {
    expect(mayChoose(null, 'prod', 'blue')).toBe(true);
  });
});

describe('the life of an old worker', () => {
  const maxReloads = 50;
  const hardStopAfterMs = 1_500;
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

  if (isWhole)
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
});

describe('when old workers end', () => {
  const second = 1_000;
  const hour = 3_600 * second;
  const timeoutMs = 8 * second;
  /** Uptimes are whole seconds. */
  const exactMs = 2 * second;

  let edge: TestEdge;
  let disposals: (() => unknown)[];
  /** Of the instance, in the order of the visitors. */
  let answers: ServerResponse[];
  afterEach(async () => {
    for (const dispose of disposals) dispose();
    await edge.dispose();
    vi.unstubAllEnvs();
  });

  /** An edge whose web of prod begins each answer to a visitor, and does not end it by itself. */
  async function startEdge(): Promise<void> {
    disposals = [];
    answers = [];
    edge = await createTestEdge();
    const { address = '', port } = edge.applied.addresses['demo-prod-web-blue'] ?? {};
    const server = createServer((asked, answer) => {
      if (asked.url !== '/') return answer.end();
      answers.push(answer);
      return answer.write('the first of many');
    });
    await new Promise<void>((resolve) => server.listen(port, address, resolve));
    disposals.push(() => server.closeAllConnections());
    disposals.push(() => server.close());
  }

  /** Loads a configuration with this `hard-stop-after`; answers between which moments it was reloaded. */
  async function load(run: string, hardStopAfterMs: number): Promise<{ from: number; until: number }> {
    const { configuration, ...rest } = edge.applied;
    const wanted: AppliedConfiguration = {
      ...rest,
      configuration: { ...configuration, edge: { ...configuration.edge, hardStopAfterMs } },
    };
    const step = await planned(edge, run, applyChange, wanted);
    const claim = await stageConfiguration(edge.edge, step);
    const target = await installConfiguration(edge.edge, { claim, ...step });
    const from = Date.now();
    await reloadEdge(edge.edge, { claim, target, timeoutMs });
    return { from, until: Date.now() };
  }

  /** A visitor whose answer has begun. */
  async function download(): Promise<void> {
    const { address: host, port } = edge.applied.configuration.edge.http;
    await new Promise((resolve, reject) => {
      const asking = request({ host, port, agent: false, headers: { Host: 'prod.localhost' } });
      disposals.push(() => asking.destroy());
      asking.on('error', reject).on('response', (response) => response.on('error', () => undefined));
      asking.on('response', (response) => (response.statusCode === 200 ? resolve(null) : reject(response.statusCode)));
      asking.end();
    });
  }

  async function endBy(): Promise<number | null> {
    const workers = await readWorkers(edge.edge.configuration.files.masterSocket);
    const at = await readOldWorkersEndBy(edge.edge, workers);
    return at === null ? null : Date.parse(at);
  }

  async function countOld(): Promise<number | undefined> {
    return (await readWorkers(edge.edge.configuration.files.masterSocket))?.old.length;
  }

  function expectWithin(at: number | null, { from, until }: { from: number; until: number }, afterMs: number): void {
    expect(at).toBeGreaterThanOrEqual(from + afterMs - exactMs);
    expect(at).toBeLessThanOrEqual(until + afterMs + exactMs);
  }

  describe.each(["the system's HAProxy", ...(isWhole ? ['HAProxy 2.8'] : [])])('the old workers of %s', (haproxy) => {
    beforeEach(async () => {
      if (haproxy === 'HAProxy 2.8') vi.stubEnv('PATH', `${await newerHaproxyFolder()}${delimiter}${process.env.PATH}`);
      await startEdge();
    });

    test('end by the hard-stop-after that each was loaded with, from the reload that replaced it', async () => {
      await load('run-1', hour);
      expect(await endBy()).toBeNull();
      await download();
      const replaced = await load('run-2', 60 * second);
      expectWithin(await endBy(), replaced, hour);
      await download();
      const replacedNext = await load('run-3', 2 * hour);
      expect(await countOld()).toBe(2);
      expectWithin(await endBy(), replaced, hour);
      answers[0]?.end();
      await vi.waitFor(async () => expect(await countOld()).toBe(1), timeoutMs);
      expectWithin(await endBy(), replacedNext, 60 * second);
    });

    test('have ended by then', async () => {
      await load('run-1', 1.5 * second);
      await download();
      await load('run-2', hour);
      const at = await endBy();
      // A further reload gives no more time.
      await load('run-3', hour);
      await vi.waitFor(async () => expect(await countOld()).toBe(0), timeoutMs);
      expect(Date.now()).toBeLessThan((at ?? 0) + exactMs);
    });

    test('whose configuration is not kept any more are taken to end by the installed one', async () => {
      await load('run-1', hour);
      await download();
      const replaced = await load('run-2', 60 * second);
      await rm(edgeFiles(edge.edge).kept(1));
      expectWithin(await endBy(), replaced, 60 * second);
    });

    test('run from the start of the next younger worker that is there', async () => {
      await load('run-1', 48 * hour);
      await download();
      await load('run-2', hour);
      const workers = await readWorkers(edge.edge.configuration.files.masterSocket);
      const [old] = workers?.old ?? [];
      if (!workers?.current || !old) throw new Error('there are a worker and an old one');
      const before = Date.now();
      const current = { ...workers.current, uptime: '0d00h00m09s' };
      // One that has ended by the time it is asked: it has no end, and still says when the older one was replaced.
      const ended = { pid: 999_999_999, reloads: 1, uptime: '1d02h03m04s' };
      expect(await readOldWorkersEndBy(edge.edge, { ...workers, current, old: [ended] })).toBeNull();
      const at = await readOldWorkersEndBy(edge.edge, { ...workers, current, old: [{ ...old, reloads: 2 }, ended] });
      const uptimeMs = 26 * hour + 184 * second;
      const replaced = { from: before - uptimeMs, until: Date.now() - uptimeMs };
      expectWithin(Date.parse(at ?? ''), replaced, 48 * hour);
    });
  });
});
