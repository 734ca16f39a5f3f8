import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Claim } from '../../src/domain/edge-change.js';
import { type BasculeError, isBasculeError } from '../../src/errors.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { clearNeedsOperator, markNeedsOperator } from '../../src/haproxy/operator-mark.js';
import { readEdge } from '../../src/haproxy/read-edge.js';
import { recordColors, restoreColors } from '../../src/haproxy/record.js';
import { readServers } from '../../src/haproxy/runtime.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import { identityOf } from '../../src/hosts/process-identity.js';
import { processesOf } from '../../src/hosts/processes.js';
import { claimInstance, markFailed, markHealthy, pruneReleases } from '../../src/instances/claims.js';
import {
  deleteInstance,
  haltInstance,
  prepareRelease,
  startInstance,
  stopInstance,
} from '../../src/instances/process.js';
import { type Instance, type InstanceStatus, instanceFiles, readProcess } from '../../src/instances/record.js';
import { makeRelease } from '../rig/artifacts.js';
import { reportCells, until } from '../rig/chaos.js';
import {
  applyChange,
  change,
  createTestEdge,
  load,
  type Planned,
  planned,
  switchChange,
  type TestEdge,
  takeBackAll,
  version,
} from '../rig/edge.js';
import { type EdgeLook, lookAt } from '../rig/edge-look.js';
import { FaultyHost, mountSmallDisk } from '../rig/faulty-host.js';
import { freePort } from '../rig/ports.js';

// The host fails under each act on an edge or an instance, before each of its writes. Needs root, to mount what can be
// filled.

const hostFaults = ['disk full before', 'read-only before', 'hangs'] as const;

/** What happens to the host at a write. */
type HostFault = (typeof hostFaults)[number];

/** The error of an act under a fault: its code, the reason or the folder that it names, and what to type. */
type FaultErrors = Readonly<
  Record<HostFault, { readonly code: BasculeError['code']; readonly says: RegExp; readonly remedy: RegExp }>
>;

interface OneFault {
  readonly act: string;
  readonly fault: HostFault;
  /** Before which call of the act it comes. */
  readonly nth: number;
  /** Of this fault among all. */
  readonly number: number;
}

/** A test for each fault: the host fails before each write of each act, all on one place. */
function testHostFaults<Place>(broken: {
  readonly section: string;
  /** What a test of one fault is called, after the fault's name. */
  readonly title: string;
  readonly acts: readonly string[];
  begin(): Promise<Place>;
  /** Answers whether the act has so many calls. */
  breakAct(place: Place, one: OneFault): Promise<boolean>;
}): void {
  const rows: string[][] = [];
  let number = 0;
  afterAll(() =>
    reportCells(broken.section, {
      title: 'The host fails under an act',
      about:
        'Before each write of each act the disk became full or read-only, or the write never ended. Each said so with what to ' +
        'type, requests were served as before, and afterwards the act could be done again or its change undone.',
      columns: ['act', 'fault', 'before each of', 'outcome'],
      rows,
      operations: number,
      faults: number,
      violations: 0,
    }),
  );
  describe.concurrent('', () => {
    test.each(hostFaults)(`%s a write, ${broken.title}`, { timeout: 3_600_000 }, async (fault) => {
      const place = await broken.begin();
      for (const act of broken.acts) {
        let calls = 0;
        const breakNext = () => {
          number += 1;
          return broken.breakAct(place, { act, fault, nth: calls + 1, number });
        };
        while (await breakNext()) calls += 1;
        expect(calls, act).toBeGreaterThan(0);
        rows.push([act, fault.replace(' before', ''), String(calls), 'as before']);
      }
    });
  });
}

/** The error that an act ends with, null where it succeeds. */
async function errorOf(act: Promise<unknown>): Promise<BasculeError | null> {
  try {
    await act;
    return null;
  } catch (error) {
    if (isBasculeError(error)) return error;
    throw error;
  }
}

const errors: FaultErrors = {
  'disk full before': { code: 'edge-write-failed', says: /No space left/, remedy: /`df -h \S+\/edge/ },
  'read-only before': { code: 'edge-write-failed', says: /Read-only file system/, remedy: /`mount -o remount,rw`/ },
  hangs: { code: 'edge-act-timed-out', says: /did not end within/, remedy: /`timeout 5 sync \S+\/edge`/ },
};

interface Underway {
  readonly test: TestEdge;
  readonly step: Planned;
  readonly claim: Claim;
}

type Act = (underway: Underway) => Promise<unknown>;

const mark: Act = ({ test, step: { takeBack } }) => markNeedsOperator(test.edge, { text: 'look here', takeBack });

/** Each act: what has to be done before it, the act, and what has to be done after it for the change to be complete. */
const acts: Readonly<Record<string, { before?: Act; run: Act }>> = {
  stage: { run: ({ test, step }) => stageConfiguration(test.edge, step) },
  install: {
    before: ({ test, step }) => stageConfiguration(test.edge, step),
    run: ({ test, step, claim }) => installConfiguration(test.edge, { claim, ...step }),
  },
  record: { before: stageAndLoad, run: ({ test, step, claim }) => recordColors(test.edge, { claim, ...step }) },
  'restore the colors': { before: all, run: ({ test, step }) => restoreColors(test.edge, step.takeBack) },
  'restore the configuration': {
    before: all,
    run: ({ test, step }) => restoreConfiguration(test.edge, step.takeBack),
  },
  unstage: {
    before: ({ test, step }) => stageConfiguration(test.edge, step),
    run: ({ test, step }) => unstageConfiguration(test.edge, step.takeBack),
  },
  'mark that an operator is needed': { run: mark },
  'clear that mark': {
    before: async (underway) => {
      await stageConfiguration(underway.test.edge, underway.step);
      await mark(underway);
    },
    run: ({ test, claim }) => clearNeedsOperator(test.edge, claim),
  },
};

async function stageAndLoad({ test, step, claim }: Underway): Promise<void> {
  await stageConfiguration(test.edge, step);
  await load(test, step, claim);
}

async function all(underway: Underway): Promise<void> {
  await stageAndLoad(underway);
  await recordColors(underway.test.edge, { claim: underway.claim, ...underway.step });
}

interface Broken extends TestEdge {
  readonly host: FaultyHost;
  unmount(): Promise<void>;
}

const edges: Broken[] = [];

afterAll(async () => {
  for (const edge of edges) {
    await edge.host.mend();
    await edge.dispose();
    await edge.unmount();
    await rm(edge.folder, { recursive: true, force: true });
  }
});

/** An edge on a disk of its own, with both colors of prod running and blue active. */
async function newEdge(): Promise<Broken> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
  const disk = join(folder, 'edge');
  const { unmount } = await mountSmallDisk(disk);
  const host = new FaultyHost(disk);
  const edge = { ...(await createTestEdge({ host, folder })), host, unmount };
  edges.push(edge);
  await Promise.all([edge.serve('prod', 'blue'), edge.serve('prod', 'green')]);
  await change(edge, 'first', applyChange);
  await vi.waitFor(
    async () => {
      const { servers } = await readServers(edge.edge.configuration.files.socket);
      expect(servers.filter(({ isUp }) => isUp).length).toBe(4);
    },
    { timeout: 20_000, interval: 50 },
  );
  return edge;
}

/** What must not be otherwise afterwards: the generation is higher, and releases of it are kept. */
const lasting = ({ leftovers, needsOperator, ...look }: EdgeLook) => look;

/** Breaks the n-th call of an act; answers whether it has so many. */
async function breakAct(test: Broken, { act: name, fault, nth, number }: OneFault): Promise<boolean> {
  const act = acts[name];
  if (!act) throw new RangeError(name);
  const { edge, host } = test;
  const before = await lookAt(edge);
  const step = await planned(test, `run-${number}`, switchChange('blue', 'green'));
  const claim = { number: Number(step.record.claim?.split(' ')[0]) + 1, owner: step.owner };
  const underway = { test, step, claim };
  await act.before?.(underway);
  const { visitors } = await lookAt(edge);
  await host.breakCall(nth, fault);
  const error = await errorOf(act.run(underway));
  if (error) await expectErrorAndClean(test, error, fault);
  const isReached = await host.isReached();
  await host.mend();
  expect((await lookAt(edge)).visitors).toEqual(visitors);

  // It is tried again, as its activity would be, or given up on.
  if (nth % 2 === 0) await act.run(underway);
  await takeBackAll(edge, step);
  if (name.includes('mark')) await rm(join(edge.configuration.files.state, 'needs-operator'), { force: true });
  const after = await lookAt(edge);
  expect(lasting(after)).toEqual(lasting(before));
  expect(after).toMatchObject({ leftovers: [], needsOperator: null, runsInstalled: true });
  expect((await readEdge(edge, { probe: false, version })).drift).toEqual([]);
  return isReached;
}

async function expectErrorAndClean({ edge, host }: Broken, error: BasculeError, fault: HostFault): Promise<void> {
  const { code, says, remedy } = errors[fault];
  expect(error).toMatchObject({ code, message: expect.stringMatching(says), remedy: expect.stringMatching(remedy) });
  expect(error.message).toContain('localhost');
  const { config, state } = edge.configuration.files;
  // What cannot be written cannot be removed either.
  if (fault === 'disk full before') {
    const names = [...(await readdir(join(config, '..'))), ...(await readdir(state))];
    expect(names.filter((one) => one.endsWith('.tmp'))).toEqual([]);
  }
  if (fault === 'hangs') expect(await identityOf((await host.stoppedProcess()) ?? 0)).toBeNull();
  expect((await execa('flock', ['-n', `${config}.lock`, 'true'], { reject: false })).exitCode).toBe(0);
  const others = (await processesOf(edge.configuration.files.state)).filter((one) => one.name !== 'haproxy');
  expect(others).toEqual([]);
}

testHostFaults<Broken>({
  section: 'host-faults.edge',
  title: 'each act on an edge says so and everything is as before',
  acts: Object.keys(acts),
  begin: newEdge,
  breakAct,
});

const instanceErrors: FaultErrors = {
  'disk full before': { code: 'instance-write-failed', says: /No space left/, remedy: /`df -h \S+\/instances\// },
  'read-only before': { code: 'instance-write-failed', says: /Read-only file system/, remedy: /remount,rw/ },
  hangs: { code: 'instance-act-timed-out', says: /did not end within/, remedy: /`timeout 5 sync \S+\/instances\// },
};

const sha = 'aaaaaaa1';
const owner = 'demo/prod/deploy/1';

interface Disk {
  readonly folder: string;
  readonly host: FaultyHost;
  unmount(): Promise<void>;
}

let archive = '';
let sha256 = '';
let releases = '';
const disks: Disk[] = [];

beforeAll(async () => {
  releases = await mkdtemp(join(tmpdir(), 'bascule-'));
  ({ archive, sha256 } = await makeRelease({ directory: releases, component: 'api', sha }));
});
afterAll(async () => {
  for (const { host, folder, unmount } of disks) {
    await host.mend();
    await unmount();
    await rm(folder, { recursive: true, force: true });
  }
  await rm(releases, { recursive: true, force: true });
});

type InstanceAct = (instance: Instance) => Promise<unknown>;

const claim: InstanceAct = (instance) => claimInstance(instance, { expected: null, owner });
const prepare: InstanceAct = (instance) => prepareRelease(instance, { owner, sha, sha256, artifact: archive });
const start: InstanceAct = (instance) =>
  startInstance(instance, { owner, sha, sha256, run: [process.execPath, 'server.mjs'], env: {} });

/** Started, and its line is in its log: a program that finds the disk full as it writes that may end. */
const started: InstanceAct = async (instance) => {
  await start(instance);
  const { log } = instanceFiles(instance);
  await until(`${instance.name} listens`, async () => (await readFile(log, 'utf8')).includes('listening'));
};

/** Each act, and what comes before it. */
const instanceActs: Readonly<
  Record<string, { before: readonly InstanceAct[]; run: InstanceAct; state: InstanceStatus['state'] }>
> = {
  claim: { before: [], run: claim, state: 'empty' },
  'take a release': { before: [claim], run: prepare, state: 'stopped' },
  start: { before: [claim, prepare], run: start, state: 'starting' },
  'note that it is healthy': {
    before: [claim, prepare, started],
    run: async (instance) => markHealthy(instance, owner, await processOf(instance)),
    state: 'running',
  },
  stop: {
    before: [claim, prepare, started],
    run: (instance) => stopInstance(instance, { owner, stopGraceMs: 20_000 }),
    state: 'stopped',
  },
  'note that it failed': {
    before: [claim, prepare, started],
    run: (instance) => markFailed(instance, { expected: null, owner }),
    state: 'failed',
  },
  delete: { before: [claim, prepare], run: (instance) => deleteInstance(instance, owner), state: 'empty' },
};

async function processOf(instance: Instance) {
  const { process } = await readProcess(instance);
  if (!process) throw new Error('no process is on record');
  return process;
}

async function newDisk(): Promise<Disk> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
  const { unmount } = await mountSmallDisk(join(folder, 'instances'));
  const disk = { folder, host: new FaultyHost(join(folder, 'instances')), unmount };
  disks.push(disk);
  return disk;
}

async function newInstance({ folder, host }: Disk, number: number): Promise<Instance> {
  const place = { address: '127.0.0.1', port: await freePort(), directory: join(folder, 'instances') };
  const of = { environment: 'prod', component: 'api', color: 'green' } as const;
  return { host, name: `demo-api-${number}`, ...of, ...place, edgeConfig: join(folder, 'haproxy.cfg') };
}

/** Breaks the n-th call of an act; answers whether it has so many. */
async function breakInstanceAct(disk: Disk, { act: name, fault, nth, number }: OneFault): Promise<boolean> {
  const act = instanceActs[name];
  if (!act) throw new RangeError(name);
  const instance = await newInstance(disk, number);
  for (const before of act.before) await before(instance);
  await disk.host.breakCall(nth, fault);
  const error = await errorOf(act.run(instance));
  if (error) await expectInstanceErrorAndClean(disk, instance, error, fault);
  const isReached = await disk.host.isReached();
  await disk.host.mend();

  // As its activity is tried again.
  await act.run(instance);
  const status = await readProcess(instance);
  expect(status).toMatchObject({ state: act.state, owner: name === 'note that it failed' ? `${owner}/undo` : owner });
  const { folder } = instanceFiles(instance);
  // As a deploy does at its end: what was unpacked while the disk was read-only could not be removed then.
  await pruneReleases(instance, { owner: status.owner ?? '', kept: 5 });
  expect((await readdir(folder, { recursive: true })).filter(isHalfWritten)).toEqual([]);
  expect((await processesOf(folder)).length).toBe(status.isAlive ? 1 : 0);
  await haltInstance({ ...instance, edgeConfig: null }, { stopGraceMs: 0 });
  await rm(folder, { recursive: true, maxRetries: 5 });
  return isReached;
}

const isHalfWritten = (name: string): boolean => /\.tmp$|\.unpacked-|\.partial-/.test(name);

async function expectInstanceErrorAndClean(disk: Disk, instance: Instance, error: BasculeError, fault: HostFault) {
  const { code, says, remedy } = instanceErrors[fault];
  expect(error).toMatchObject({ code, message: expect.stringMatching(says), remedy: expect.stringMatching(remedy) });
  expect(error.message).toContain(instance.name);
  expect(error.isRetryable).toBe(true);
  const { folder } = instanceFiles(instance);
  // What cannot be written cannot be removed either.
  const left = (await readdir(folder, { recursive: true })).filter(isHalfWritten);
  if (fault === 'disk full before') expect(left).toEqual([]);
  if (fault === 'hangs') expect(await identityOf((await disk.host.stoppedProcess()) ?? 0)).toBeNull();
  expect((await execa('flock', ['-n', join(folder, 'lock'), 'true'], { reject: false })).exitCode).toBe(0);
  // The record is whole, and knows whatever runs.
  const { process } = await readProcess(instance);
  expect((await processesOf(folder)).map(({ pid }) => pid).filter((pid) => pid !== process?.pid)).toEqual([]);
}

testHostFaults<Disk>({
  section: 'host-faults.instance',
  title: 'each act on an instance says so and can be done again',
  acts: Object.keys(instanceActs),
  begin: newDisk,
  breakAct: breakInstanceAct,
});
