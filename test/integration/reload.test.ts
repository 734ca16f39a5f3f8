import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import type { Claim } from '../../src/domain/edge-change.js';
import { claimArguments, type Edge, edgeFiles, runAct } from '../../src/haproxy/edge.js';
import { claimEdge } from '../../src/haproxy/fence.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { stopManagedEdge } from '../../src/haproxy/managed.js';
import { readWorkers, type Workers } from '../../src/haproxy/old-workers.js';
import { reloadEdge } from '../../src/haproxy/reload.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { stageConfiguration } from '../../src/haproxy/stage.js';
import { ask } from '../rig/ask.js';
import { applyChange, createTestEdge, keepFiles, type Planned, planned, type TestEdge } from '../rig/edge.js';
import { ShimmedHost } from '../rig/faulty-host.js';
import { newerHaproxyFolder } from '../rig/haproxy.js';
import { freePort } from '../rig/ports.js';
import { BareHost } from '../rig/test-host.js';
import { isWhole } from '../rig/tier.js';

const timeoutMs = 8_000;
/** What the act to reload uses, beside a program that talks to a socket. */
const programs = ['sh', 'cat', 'sed', 'mkdir', 'flock', 'timeout', 'stat'];

let disposals: (() => Promise<unknown>)[];
beforeEach(() => {
  disposals = [];
});
afterEach(async () => {
  for (const dispose of disposals.reverse()) await dispose();
  vi.unstubAllEnvs();
});

async function newEdge(): Promise<TestEdge> {
  const test = await createTestEdge();
  disposals.push(() => test.dispose());
  return test;
}

/** By PATH: one for each HAProxy. */
const shared = new Map<string, TestEdge & { restore(): Promise<void> }>();
afterAll(async () => {
  for (const each of shared.values()) await each.dispose();
});

/** An edge whose HAProxy serves the first configuration. Its files are put back between tests. */
async function servingEdge(): Promise<TestEdge> {
  const before = shared.get(process.env.PATH ?? '');
  if (before) {
    await before.restore();
    await vi.waitFor(async () => expect(await visit(before)).toBe('demo-prod-web-blue'), timeoutMs);
    return before;
  }
  const test = await newServingEdge();
  const { restore, remove } = await keepFiles(test);
  const dispose = async () => void (await Promise.all([remove(), test.dispose()]));
  shared.set(process.env.PATH ?? '', { ...test, restore, dispose });
  return test;
}

async function newServingEdge(): Promise<TestEdge> {
  const test = await createTestEdge();
  await test.serve('prod', 'blue');
  const { edge } = test;
  const { claim, target } = await install(test, await planned(test, 'run-1', applyChange));
  await reloadEdge(edge, { claim, target, timeoutMs });
  await vi.waitFor(async () => expect(await visit(test)).toBe('demo-prod-web-blue'), timeoutMs);
  return test;
}

async function install({ edge }: TestEdge, step: Planned) {
  const claim = await stageConfiguration(edge, step);
  return { claim, target: await installConfiguration(edge, { claim, ...step }) };
}

/** Has another port configured, and not yet loaded. */
async function installPort(test: TestEdge, port: number) {
  const wanted = structuredClone(test.applied) as unknown as { configuration: { edge: { http: { port: number } } } };
  wanted.configuration.edge.http.port = port;
  const step = await planned(test, 'run-2', applyChange, wanted as unknown as AppliedConfiguration);
  return { ...(await install(test, step)), step };
}

/** Who answers a visitor. */
async function visit({ applied }: TestEdge, port = applied.configuration.edge.http.port): Promise<string> {
  return (await ask({ address: '127.0.0.1', port }, 'prod.localhost', '/')).body;
}

async function workersOf(edge: Edge): Promise<Workers> {
  const workers = await readWorkers(edge.configuration.files.masterSocket);
  if (!workers) throw new Error('no HAProxy master answers');
  return workers;
}

async function listen(server: Server, at: number | string): Promise<void> {
  if (typeof at === 'number') server.listen(at, '127.0.0.1');
  else server.listen(at);
  await once(server, 'listening');
  disposals.push(async () => void server.close());
}

async function useNewerHaproxy(): Promise<void> {
  vi.stubEnv('PATH', `${await newerHaproxyFolder()}${delimiter}${process.env.PATH}`);
}

const errorOf = (promise: Promise<unknown>): Promise<{ code: string; message: string }> =>
  promise.then(
    () => Promise.reject(new Error('nothing was thrown')),
    (error) => error as { code: string; message: string },
  );

describe.each([
  ["the system's HAProxy", async () => undefined],
  ['HAProxy 2.8', useNewerHaproxy],
])('a reload of %s', (name, choose) => {
  /** What does not depend on how a master answers. */
  const isShown = isWhole || name !== 'HAProxy 2.8';
  beforeEach(choose);

  if (isShown)
    it('is not done again by who comes late and saw the worker before', async () => {
      const test = await servingEdge();
      const { socket } = test.edge.configuration.files;
      const before = await readRunning(socket);
      const { claim, target } = await installPort(test, await freePort());
      await reloadEdge(test.edge, { claim, target, timeoutMs });
      // No process has this number: who would send it a signal says so.
      const nobody = 2 ** 22 + 1;
      expect(await runAct(test.edge, act(claim, nobody, 'none', [String(before?.pid), socket]))).toBe('');
      expect((await errorOf(runAct(test.edge, act(claim, nobody, 'none')))).code).toBe('edge-file-missing');
    });

  it('is proven by another worker that serves the new configuration', async () => {
    const test = await servingEdge();
    const before = await readRunning(test.edge.configuration.files.socket);
    const port = await freePort();
    const { claim, target } = await installPort(test, port);
    await reloadEdge(test.edge, { claim, target, timeoutMs });
    // For a moment more the worker before may take a connection to the socket that both have.
    const running = await vi.waitFor(async () => {
      const found = await readRunning(test.edge.configuration.files.socket);
      expect(found).toMatchObject({ generation: 2, digest: target.digest });
      return found;
    });
    expect(running?.pid).not.toBe(before?.pid);
    expect((await workersOf(test.edge)).failedReloads).toBe(0);
    expect(await visit(test, port)).toBe('demo-prod-web-blue');
  });

  it('that fails for a taken address says so in its words, and visitors keep the earlier configuration', async () => {
    const test = await servingEdge();
    const port = await freePort();
    const { claim, target } = await installPort(test, port);
    await listen(createServer(), port);
    const error = await errorOf(reloadEdge(test.edge, { claim, target, timeoutMs }));
    expect(error.code).toBe('reload-failed');
    expect(error.message).toContain('generation 2 does not run, generation 1 still serves');
    expect(error.message).toMatch(/^\[ALERT\].*cannot bind socket.*:\d+\]$/m);
    expect(await visit(test)).toBe('demo-prod-web-blue');
  });

  if (isShown)
    it('by a claim that is not in force does not happen', async () => {
      const test = await servingEdge();
      const { claim, target, step } = await installPort(test, await freePort());
      await restoreConfiguration(test.edge, step.takeBack);
      const look = async () => {
        const { master, reloads, failedReloads } = await workersOf(test.edge);
        return { running: await readRunning(test.edge.configuration.files.socket), master, reloads, failedReloads };
      };
      const before = await look();
      expect((await errorOf(reloadEdge(test.edge, { claim, target, timeoutMs }))).code).toBe('edge-claimed');
      expect(await look()).toEqual(before);
    });
});

describe('HAProxy 2.8, asked for a reload', () => {
  beforeEach(useNewerHaproxy);

  /** What the act prints on a host with these programs. */
  async function answerWith(test: TestEdge, more: readonly string[]): Promise<string> {
    const host = new BareHost([...programs, ...more]);
    disposals.push(() => host.dispose());
    const { claim } = await installPort(test, await freePort());
    const { master } = await workersOf(test.edge);
    return await runAct({ ...test.edge, host }, act(claim, master, test.edge.configuration.files.masterSocket));
  }

  it.each(isWhole ? ['socat', 'perl'] : ['socat'])('by %s, answers when it is done', async (program) => {
    const test = await servingEdge();
    expect(await answerWith(test, [program])).toMatch(/^Success=1\n--\n.*Loading success/s);
    // No moment later: its worker is there already.
    expect(await readRunning(test.edge.configuration.files.socket, 0)).toMatchObject({ generation: 2 });
  });

  it('is sent SIGHUP on a host without a program to ask it', async () => {
    const test = await servingEdge();
    expect(await answerWith(test, [])).toBe('');
    await vi.waitFor(async () => {
      expect(await readRunning(test.edge.configuration.files.socket)).toMatchObject({ generation: 2 });
    }, timeoutMs);
  });

  it('says why it failed also where its own output goes nowhere', async () => {
    const test = await newServingEdge();
    disposals.push(() => test.dispose());
    await stopManagedEdge(test.edge);
    const { config, masterSocket } = test.edge.configuration.files;
    const haproxy = execa('haproxy', ['-W', '-S', masterSocket, '-f', config], { stdio: 'ignore', reject: false });
    disposals.push(async () => {
      haproxy.kill('SIGTERM');
      await haproxy;
    });
    await vi.waitFor(async () => expect(await visit(test)).toBe('demo-prod-web-blue'), timeoutMs);
    const port = await freePort();
    const { claim, target } = await installPort(test, port);
    await listen(createServer(), port);
    const error = await errorOf(reloadEdge(test.edge, { claim, target, timeoutMs }));
    expect(error.message).toMatch(/^\[ALERT\].*cannot bind socket/m);
  });
});

describe('the act that reloads', () => {
  let master: ChildProcess;
  let test: TestEdge;
  let host: ShimmedHost;
  let step: Planned;
  let claim: Claim;
  let socket: string;
  beforeEach(async () => {
    test = await newEdge();
    host = new ShimmedHost();
    master = spawn('sleep', ['600'], { stdio: 'ignore' });
    disposals.push(async () => void master.kill('SIGKILL'));
    disposals.push(() => host.mend());
    step = await planned(test, 'run-1', applyChange);
    claim = await claimEdge(test.edge, step);
    socket = join(test.folder, 'fake.sock');
    // The real one waits for 8 s.
    await host.replace('timeout', 'shift; exec "$real" 0.5 "$@"');
  });
  const reload = () => runAct({ ...test.edge, host }, act(claim, master.pid ?? 0, socket));

  /** A master that reads what it is sent, and answers with this, or never. */
  async function startMaster(answer?: string): Promise<{ read: string }> {
    const heard = { read: '' };
    const server = createServer({ allowHalfOpen: true }, (connection) => {
      connection.on('data', (chunk) => {
        heard.read += chunk;
        if (answer !== undefined) connection.end(answer);
      });
      connection.on('error', () => undefined);
    });
    await listen(server, socket);
    return heard;
  }

  it('sends SIGHUP where nobody listens on the master’s socket', async () => {
    const ended = once(master, 'exit');
    expect(await reload()).toBe('');
    expect((await ended)[1]).toBe('SIGHUP');
  });

  it('sends SIGHUP to a master that may not be asked for a reload', async () => {
    await startMaster('Permission denied\n\n');
    const ended = once(master, 'exit');
    expect(await reload()).toBe('');
    expect((await ended)[1]).toBe('SIGHUP');
  });

  it('waits no longer than it may for a master that does not answer, and does not ask twice', async () => {
    const heard = await startMaster();
    expect(await reload()).toBe('');
    expect(heard.read).toBe('reload\n');
    expect(master.signalCode).toBeNull();
  });

  it('keeps others out until the master was asked, also where it is killed meanwhile', async () => {
    const asking = join(test.folder, 'asking');
    await host.replace('timeout', `echo $PPID >'${asking}'; shift; exec "$real" 1 "$@"`);
    const heard = await startMaster();
    const killed = errorOf(reload());
    await vi.waitFor(() => expect(heard.read).toBe('reload\n'), timeoutMs);
    process.kill(await shellOfAct(Number(await readFile(asking, 'utf8'))), 'SIGKILL');
    const lock = `${edgeFiles(test.edge).config}.lock`;
    expect(await test.edge.host.run(['flock', '-n', lock, 'true'], { timeoutMs })).toMatchObject({ exitCode: 1 });
    expect(await claimEdge(test.edge, step)).toEqual(claim);
    expect((await killed).code).toBe('command-ended');
  });
});

const act = (claim: Claim, master: number, socket: string, seen: readonly [string, string] = ['none', 'none']) => ({
  name: 'reload',
  args: [...claimArguments(claim), String(master), socket, ...seen],
  owner: claim.owner,
});

/** The shell that runs an act, from one that it has forked. */
async function shellOfAct(pid: number): Promise<number> {
  const parent = Number((await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ').at(-1)?.split(' ')[1]);
  const commandLine = await readFile(`/proc/${parent}/cmdline`, 'utf8');
  return commandLine.split('\0').includes('edge-host') ? await shellOfAct(parent) : pid;
}
