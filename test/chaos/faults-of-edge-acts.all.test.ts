import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, vi } from 'vitest';
import type { Claim } from '../../src/domain/edge-change.js';
import type { BasculeError } from '../../src/errors.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { clearNeedsOperator, markNeedsOperator } from '../../src/haproxy/operator-mark.js';
import { readEdge } from '../../src/haproxy/read-edge.js';
import { recordColors, restoreColors } from '../../src/haproxy/record.js';
import { readServers } from '../../src/haproxy/runtime.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import { identityOf } from '../../src/hosts/process-identity.js';
import { processesOf } from '../../src/hosts/processes.js';
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
import { errorOf, type FaultErrors, type HostFault, type OneFault, testHostFaults } from '../rig/host-faults.js';

// The host fails under each act on an edge, before each of its writes. Needs root, to mount what can be filled.

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
  title: 'each act says so and everything is as before',
  acts: Object.keys(acts),
  begin: newEdge,
  breakAct,
});
