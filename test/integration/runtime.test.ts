import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseInstalledConfiguration } from '../../src/haproxy/header.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { markServersDown, RuntimeApi, readRunning, readServers } from '../../src/haproxy/runtime.js';
import { waitUntilUp } from '../../src/haproxy/up.js';
import type { Destination } from '../../src/hosts/host.js';
import { component, environment, stateOf } from '../rig/applied.js';
import { type EdgeUnderTest, startEdgeUnderTest } from '../rig/edge-under-test.js';
import { ChangedHost } from '../rig/test-host.js';

const components = [
  component('web', { isDefault: true, health: { path: '/health', intervalMs: 50, fall: 2, rise: 3 } }),
];
const environments = [environment('prod', ['localhost'])];
const blue = [stateOf('prod', 'blue', { hasStandby: true })];
const green = [stateOf('prod', 'green', { hasStandby: true })];
const standingDown = [stateOf('prod', 'blue', { hasStandby: false })];

/** On which a connection takes longer than HAProxy may take to answer. */
class LateHost extends ChangedHost {
  override connect(to: Destination): Duplex {
    const reaching = sleep(2_500).then(() => super.connect(to));
    const late = new Duplex({
      write: (chunk: Buffer, encoding, done) => void reaching.then((inner) => inner.write(chunk, encoding, done)),
      final: (done) => void reaching.then((inner) => inner.end(done)),
      read: () => {},
    });
    reaching.then((inner) => {
      late.emit('ready');
      inner.on('data', (chunk: Buffer) => late.push(chunk)).on('end', () => late.push(null));
    });
    return late;
  }
}

describe('what HAProxy says about itself', () => {
  let edge: EdgeUnderTest;
  beforeAll(async () => {
    edge = await startEdgeUnderTest({ environments, components, states: blue });
  });
  afterAll(async () => await edge.dispose());

  const server = async (name: string) =>
    (await readServers(edge.haproxy.socket)).servers.find((each) => each.name === name);

  it('proves the configuration that runs, before and after a reload', async () => {
    const before = await readRunning(edge.haproxy.socket);
    expect(before).toMatchObject({ generation: 1, digest: digestOf(edge.text(blue, 1)) });
    await edge.reload(green, 2);
    const after = await readRunning(edge.haproxy.socket);
    expect(after).toMatchObject({ generation: 2, digest: digestOf(edge.text(green, 2)) });
    expect(after?.pid).not.toBe(before?.pid);
  });

  it('still proves the earlier configuration after a reload that failed', async () => {
    const before = await readRunning(edge.haproxy.socket);
    await writeFile(edge.haproxy.config, 'nonsense\n');
    expect((await readWorkers(edge.haproxy.masterSocket))?.failedReloads).toBe(0);
    process.kill(edge.haproxy.pid, 'SIGHUP');
    await expect.poll(async () => (await readWorkers(edge.haproxy.masterSocket))?.failedReloads).toBe(1);
    expect(await readRunning(edge.haproxy.socket)).toEqual(before);
    await edge.reload(green, 3);
  });

  it('loses no reload that comes right after another, once the master answers', async () => {
    for (let generation = 10; generation < 15; generation += 1) {
      await edge.reload(generation % 2 === 0 ? blue : green, generation);
      expect(await readRunning(edge.haproxy.socket)).toMatchObject({ generation });
    }
  });

  it('is asked as long as it takes to reach it, as through a busy Incus', async () => {
    const running = await readRunning(edge.haproxy.socket);
    expect(await readRunning({ host: new LateHost(), path: edge.haproxy.socket })).toEqual(running);
  });

  it('names the master and the worker that serves', async () => {
    const workers = await readWorkers(edge.haproxy.masterSocket);
    expect(workers?.master).toBe(edge.haproxy.pid);
    expect(workers?.current?.pid).toBe((await readRunning(edge.haproxy.socket))?.pid);
  });

  it('takes a server that was marked down for UP only after its own checks passed', async () => {
    const name = 'demo-prod-web-green';
    await edge.reload(standingDown, 4);
    await edge.untilUp([name]);
    await edge.stopInstance(name);
    const pid = await markServersDown(edge.haproxy.socket, [{ backend: 'prod_web_pool', server: name }]);
    expect(pid).toBe((await readRunning(edge.haproxy.socket))?.pid);
    expect(await server(name)).toMatchObject({ isUp: false, status: expect.stringMatching(/^DOWN/) });
    await expect.poll(async () => (await server(name))?.checkStatus).toBe('L4CON');
    await edge.startInstance(name);
    await edge.untilUp([name]);
    expect(edge.apps.get(name)?.requests.length).toBeGreaterThanOrEqual(3);
    expect(await server(name)).toMatchObject({ isUp: true, status: 'UP', checkStatus: 'L7OK' });
  });

  it('gives a server its whole deadline after each reload that is not its own, and names it after that', async () => {
    const name = 'demo-prod-web-green';
    await edge.reload(standingDown, 40);
    await edge.stopInstance(name);
    const deadlineMs = 1_500;
    const began = performance.now();
    const waiting = waitUntilUp(edge.haproxy.socket, [{ backend: 'prod_web_pool', server: name }], {
      ...{ environment: 'prod', markedDownIn: null, deadlineMs, signal: AbortSignal.timeout(60_000) },
    });
    const outcome = waiting.catch((error) => error);
    let generation = 41;
    while (performance.now() < began + deadlineMs + 500) {
      await edge.reload(standingDown, generation++);
      expect(await Promise.race([outcome.then(() => 'ended'), sleep(300, 'waits')])).toBe('waits');
    }
    expect(await outcome).toMatchObject({
      ...{ code: 'not-up-on-edge', message: expect.stringContaining(`${name}: DOWN`) },
    });
    await edge.startInstance(name);
  });

  it('counts the answers and the errors of each server', async () => {
    await edge.reload(green, 5);
    await edge.untilUp(['demo-prod-web-green']);
    for (const path of ['/', '/', '/fail']) await edge.ask('localhost', path);
    expect(await server('demo-prod-web-green')).toMatchObject({
      requests: 3,
      responses5xx: 1,
      backend: 'prod_web_pool',
    });
    expect(await server('demo-prod-web-blue')).toMatchObject({ requests: 0, responses5xx: 0 });
  });

  it.for([
    ['demo-prod-web-green', 'is active'],
    ['demo-prod-web-blue', 'is the standby'],
  ] as const)('takes no server for down that visitors may be given: %s, which %s', async ([name]) => {
    await edge.reload(green, 6);
    await edge.untilUp(['demo-prod-web-green', 'demo-prod-web-blue']);
    const late = markServersDown(edge.haproxy.socket, [{ backend: 'prod_web_pool', server: name }]);
    await expect(late).rejects.toMatchObject({ code: 'server-in-use', message: expect.stringContaining(name) });
    expect((await server(name))?.isUp).toBe(true);
  });

  it('refuses to mark a server down that it does not have', async () => {
    const unknown = markServersDown(edge.haproxy.socket, [{ backend: 'prod_web_pool', server: 'nobody' }]);
    await expect(unknown).rejects.toMatchObject({ code: 'server-not-on-edge' });
  });
});

describe('a server that HAProxy has not checked yet', () => {
  it('is not taken for UP, although HAProxy says so', async () => {
    const unanswered = component('web', {
      isDefault: true,
      health: { path: '/wait', intervalMs: 1_000, fall: 2, rise: 2 },
    });
    const edge = await startEdgeUnderTest({ environments, components: [unanswered], states: blue });
    try {
      const { servers } = await readServers(edge.haproxy.socket);
      expect(servers.map(({ status, isUp }) => ({ status, isUp }))).toEqual([
        { status: expect.stringMatching(/^UP/), isUp: false },
        { status: expect.stringMatching(/^UP/), isUp: false },
      ]);
    } finally {
      await edge.dispose();
    }
  });
});

describe('where HAProxy does not answer', () => {
  it('nothing runs, and a command says which socket it tried', async () => {
    const socket = '/nowhere/haproxy.sock';
    expect(await readRunning(socket, 0)).toBeNull();
    expect(await readWorkers(socket, 0)).toBeNull();
    await expect(new RuntimeApi(socket, 0).command('show info')).rejects.toMatchObject({
      code: 'haproxy-unreachable',
      message: expect.stringContaining(socket),
      isRetryable: true,
    });
  });

  it('waits for a socket that comes back in time', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
    const socket = join(folder, 's');
    const answer = new RuntimeApi(socket, 5_000).command('show info');
    const late = createServer({ allowHalfOpen: true }, (connection) => connection.resume().end('Pid: 1\n'));
    late.listen(socket);
    expect(await answer).toBe('Pid: 1\n');
    late.close();
    await once(late, 'close');
    await rm(folder, { recursive: true });
  });

  it('is asked once more where a reload replaces the worker that was about to carry out a command', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
    const socket = join(folder, 's');
    const fields = { pxname: 'prod_web_pool', svname: 'demo-web-green', bck: '1', weight: '0', status: 'UP' };
    const rows = Object.entries(fields).map(([field, value], index) => `S.1.2.${index}.${field}.1:MGP:str:${value}\n`);
    const replies = [['Proxy is disabled.'], ['']];
    const asked: string[] = [];
    const fake = createServer((connection) => {
      const [answer = ''] = replies.shift() ?? [];
      connection.setEncoding('utf8').on('data', (text) => {
        const command = String(text).trim();
        if (command.startsWith('set server')) asked.push(command);
        const said = command === 'show info' ? `Pid: ${8 - replies.length}\n` : '';
        const stat = command.startsWith('show stat') ? rows.join('') : '';
        connection.write(`${said}${stat}${command.startsWith('set server') ? answer : ''}\n> `);
      });
      connection.on('error', () => undefined);
    }).listen(socket);
    const pid = await markServersDown(socket, [{ backend: 'prod_web_pool', server: 'demo-web-green' }]);
    expect(pid).toBe(8);
    expect(asked).toEqual(Array(2).fill('set server prod_web_pool/demo-web-green health down'));
    fake.close();
    await rm(folder, { recursive: true });
  });
});

function digestOf(text: string): string | undefined {
  return parseInstalledConfiguration(text)?.headerDigest;
}
