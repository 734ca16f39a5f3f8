import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
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
import { component, environment, stateOf } from '../rig/applied.js';
import { type EdgeUnderTest, startEdgeUnderTest } from '../rig/edge-under-test.js';

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
