import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect } from 'vitest';
import type { BasculeError } from '../../src/errors.js';
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
import { until } from '../rig/chaos.js';
import { FaultyHost, mountSmallDisk } from '../rig/faulty-host.js';
import { errorOf, type FaultErrors, type HostFault, type OneFault, testHostFaults } from '../rig/host-faults.js';
import { freePort } from '../rig/ports.js';

// The host fails under each act on an instance, before each of its writes. Needs root, to mount what can be filled.

const errors: FaultErrors = {
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

type Act = (instance: Instance) => Promise<unknown>;

const claim: Act = (instance) => claimInstance(instance, { expected: null, owner });
const prepare: Act = (instance) => prepareRelease(instance, { owner, sha, sha256, artifact: archive });
const start: Act = (instance) =>
  startInstance(instance, { owner, sha, sha256, run: [process.execPath, 'server.mjs'], env: {} });

/** Started, and its line is in its log: a program that finds the disk full as it writes that may end. */
const started: Act = async (instance) => {
  await start(instance);
  const { log } = instanceFiles(instance);
  await until(`${instance.name} listens`, async () => (await readFile(log, 'utf8')).includes('listening'));
};

/** Each act, and what comes before it. */
const acts: Readonly<Record<string, { before: readonly Act[]; run: Act; state: InstanceStatus['state'] }>> = {
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
async function breakAct(disk: Disk, { act: name, fault, nth, number }: OneFault): Promise<boolean> {
  const act = acts[name];
  if (!act) throw new RangeError(name);
  const instance = await newInstance(disk, number);
  for (const before of act.before) await before(instance);
  await disk.host.breakCall(nth, fault);
  const error = await errorOf(act.run(instance));
  if (error) await expectErrorAndClean(disk, instance, error, fault);
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

async function expectErrorAndClean(disk: Disk, instance: Instance, error: BasculeError, fault: HostFault) {
  const { code, says, remedy } = errors[fault];
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
  acts: Object.keys(acts),
  begin: newDisk,
  breakAct,
});
