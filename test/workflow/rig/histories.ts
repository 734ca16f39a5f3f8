import { expect } from 'vitest';
import { changeEdge, withdrawEdgeChange } from '../../../src/client/edge.js';
import type { EdgeChange, EdgeChangeResult } from '../../../src/domain/edge-change.js';
import {
  certificatesWorkflowId,
  certificateWorkflowId,
  edgeChangeWorkflowId,
  edgeWorkflowId,
  operationId,
  provisionWorkflowId,
} from '../../../src/domain/names.js';
import type { Accepted } from '../../../src/domain/operation.js';
import type { ProvisionRequest } from '../../../src/domain/provision.js';
import type { Fault } from './faults.js';
import { Operator } from './operator.js';
import { type Rig, startRigThatContinuesAsNew } from './rig.js';
import { beginProvision, beginRun, certificateRuns } from './runs.js';
import { setFaults } from './steps.js';
import { project, type World } from './world.js';

type Save = (name: string, history: string) => Promise<void>;

/** No need of these, which name folders of the machine and its processes. */
const leftOut: readonly string[] = ['stackTrace', 'identity', 'binaryChecksum'];

/** So few that a workflow that lives forever continues as new in a short history. */
const suggestAfterEvents = 60;

/**
 * Runs workflows of each kind to each of their outcomes, by the shortest way that there is, and hands over their
 * histories, named `<workflow type>.<what it shows>`. On the dev server: its histories are those of production.
 *
 * @param isWanted leaves out what is not: histories that earlier versions wrote are worth keeping
 */
export async function recordHistories(isWanted: (name: string) => boolean, saveText: Save): Promise<void> {
  const save: Save = async (name, history) => {
    if (isWanted(name)) await saveText(name, withoutPlaces(history));
  };
  const rig = await startRigThatContinuesAsNew(suggestAfterEvents);
  try {
    for (const [name, run] of Object.entries(scenarios)) {
      const others = othersOf[name] ?? {};
      if (![name, ...Object.keys(others)].some(isWanted)) continue;
      const world = rig.newWorld();
      world.holds('aaaaaaa', 'bbbbbbb');
      const scene = { rig, world, operator: new Operator(rig, world) };
      const { workflowId, runId } = runOf(await run(scene));
      await save(name, await rig.historyOf(workflowId, runId));
      for (const [other, idOf] of Object.entries(others)) await save(other, await rig.historyOf(idOf(scene)));
    }
  } finally {
    await rig.stop();
  }
}

interface Scene {
  readonly rig: Rig;
  readonly world: World;
  readonly operator: Operator;
}

/** A workflow by its id, in its newest run or in one that is named. */
type Run = string | { readonly workflowId: string; readonly runId: string };

const runOf = (run: Run): { workflowId: string; runId?: string } =>
  typeof run === 'string' ? { workflowId: run } : run;

/** What else a scenario shows, by the names of the histories. */
const othersOf: Readonly<Record<string, Readonly<Record<string, (scene: Scene) => string>>>> = {
  'deploy.rolled-back': {
    'environment.rolled-back': ({ operator }) => operator.environmentId,
    'edge.switched-and-back': ({ world }) => edgeWorkflowId(project, world.name),
    'rollback.that-stopped-a-deploy': ({ world }) => operationId(project, world.name, 'rollback', 2),
  },
  'environment.continued-as-new': { 'environment.carried-on': ({ operator }) => operator.environmentId },
  'edge.continued-as-new': { 'edge.carried-on': ({ world }) => edgeWorkflowId(project, world.name) },
  'certificates.succeeded': { 'certificate.succeeded': certificateOf },
  'certificates.failed': { 'certificate.failed': certificateOf },
  'certificates.needs-operator': { 'certificate.needs-operator': certificateOf },
  'certificates.cancelled': { 'certificate.cancelled': certificateOf },
  'certificates.side-by-side': { 'edge.certificates-together': ({ world }) => edgeWorkflowId(project, world.name) },
};

function certificateOf({ world: { name } }: Scene): string {
  return certificateWorkflowId(project, `${name}.a`);
}

type Scenario = (scene: Scene) => Promise<Run>;
type Begin = (scene: Scene) => Promise<Accepted>;

interface Course {
  readonly faults?: Readonly<Record<string, Fault>>;
  /** Releases that rolling instances hold, oldest first. */
  readonly rolling?: readonly string[];
  /** A step in which something is done: it is aborted unless `act` says otherwise. */
  readonly at?: string;
  readonly act?: (scene: Scene, accepted: Accepted) => Promise<unknown>;
}

const rolling = ['aaaaaaa', 'bbbbbbb'];
const deploy: Begin = ({ operator }) => operator.deploy('ccccccc');
const rollback: Begin = ({ operator }) => operator.rollback();
const fullRollback: Begin = ({ operator }) => operator.rollback({ full: true });
const switchToGreen: Begin = ({ operator }) => operator.switch({ color: 'green' });
const cleanup: Begin = ({ operator }) => operator.cleanup({ standby: true });
const failoverTest: Begin = ({ operator }) => operator.failoverTest({ component: 'backend' });

/** The edge makes no change, and what was asked of it can't be withdrawn. */
const unanswered = (change: string): Readonly<Record<string, Fault>> => ({
  ...{ [`requestEdgeChange ${change}`]: 'fails', withdrawEdgeChange: 'fails' },
});

function operation(begin: Begin, { faults = {}, rolling, at, act }: Course = {}): Scenario {
  return async (scene) => {
    const { world, operator } = scene;
    if (rolling) world.holdsRolling(...rolling);
    // A cleanup drains as a deploy does, and fetches nothing.
    const fail = setFaults(world, faults, (step) => begin !== cleanup || !step.startsWith('fetch'));
    const held = at === undefined ? null : world.faults.hold(at);
    const accepted = await begin(scene);
    await fail();
    await held?.reached;
    if (held) await (act ?? (() => operator.abort()))(scene, accepted);
    return endedId(operator, accepted);
  };
}

/** Each answers the workflow whose history is kept. */
const scenarios: Readonly<Record<string, Scenario>> = {
  'deploy.succeeded': operation(deploy),
  'deploy.approved': async ({ operator }) => {
    const accepted = await operator.deploy('ccccccc', { waitForApproval: true });
    await operator.untilItWaitsForApproval(accepted);
    await operator.approve();
    return endedId(operator, accepted);
  },
  'deploy.failed-at-start': operation(deploy, { faults: { 'startInstance web': 'fails' } }),
  'deploy.failed-in-soak': operation(deploy, { faults: { watchSoak: 'fails' } }),
  'deploy.rolled-back': operation(deploy, {
    at: 'watchSoak',
    act: async ({ operator }, accepted) => {
      await operator.signal('rollback');
      await endedId(operator, accepted);
      await expect.poll(async () => (await operator.status()).last?.kind, { timeout: 10_000 }).toBe('rollback');
    },
  }),
  'deploy.aborted-in-switch': async ({ operator, world }) => {
    const asking = world.faults.hold('requestEdgeChange switch');
    const accepted = await operator.deploy('ccccccc');
    await asking.reached;
    const held = world.faults.hold('verifyTraffic');
    asking.release();
    await held.reached;
    await operator.abort();
    return endedId(operator, accepted);
  },
  'deploy.needs-operator': operation(deploy, {
    faults: { watchSoak: 'fails', 'requestEdgeChange switch-back': 'fails' },
  }),
  'deploy.failed-at-pin': operation(deploy, { faults: { pinRelease: 'fails' } }),
  'deploy.failed-on-the-edge': operation(deploy, { faults: { readEdge: 'fails' } }),
  'deploy.cancelled': operation(deploy, {
    at: 'pinRelease',
    act: ({ rig }, accepted) => rig.client.workflow.getHandle(accepted.operation).cancel(),
  }),

  'rollback.fast': operation(rollback),
  'rollback.fast-failed': operation(rollback, { faults: { 'requestEdgeChange switch': 'fails' } }),
  'rollback.fast-aborted': operation(rollback, { at: 'requestEdgeChange switch' }),
  'rollback.fast-needs-operator': operation(rollback, { faults: unanswered('switch') }),
  'rollback.full': operation(fullRollback),
  'rollback.full-failed': operation(fullRollback, { faults: { pinRelease: 'fails' } }),
  'rollback.full-aborted': operation(fullRollback, { at: 'pinRelease' }),
  'rollback.full-needs-operator': operation(fullRollback, { faults: unanswered('stand-down') }),

  'switch.succeeded': operation(switchToGreen),
  'switch.dry-run': operation(({ operator }) => operator.switch({ color: 'green', dryRun: true })),
  'switch.failed': operation(switchToGreen, { faults: { planSwitch: 'fails' } }),
  'switch.aborted': operation(switchToGreen, { at: 'requestEdgeChange switch' }),
  'switch.needs-operator': operation(switchToGreen, { faults: unanswered('switch') }),

  'cleanup.nothing-to-do': operation(({ operator }) => operator.cleanup()),
  'cleanup.succeeded': operation(cleanup),
  'cleanup.failed': operation(cleanup, { faults: { drainColor: 'fails' } }),
  'cleanup.failed-at-removal': operation(cleanup, { faults: { 'removeInstance web': 'fails' } }),
  'cleanup.aborted': operation(cleanup, { at: 'drainColor' }),
  'cleanup.aborted-at-removal': operation(cleanup, { at: 'removeInstance web' }),
  'cleanup.needs-operator': operation(cleanup, { faults: unanswered('stand-down') }),

  'deploy.rolling-succeeded': operation(deploy, { rolling }),
  'deploy.rolling-failed': operation(deploy, { rolling, faults: { 'startInstance backend-2': 'fails' } }),
  'deploy.rolling-first-failed': operation(deploy, { rolling: [], faults: { 'admitInstance backend-2': 'fails' } }),
  'deploy.rolling-needs-operator': operation(deploy, {
    rolling,
    faults: { 'recordReleases now': 'fails', 'startInstance backend-1 again': 'fails' },
  }),
  'deploy.rolling-aborted': operation(deploy, { rolling, at: 'admitInstance backend-2' }),
  'deploy.rolling-rolled-back': operation(deploy, {
    rolling,
    at: 'drainInstance backend-2',
    act: async ({ operator }) => endedId(operator, await operator.rollback()),
  }),
  'rollback.rolling-succeeded': operation(rollback, { rolling }),
  'rollback.rolling-failed': operation(rollback, { rolling, faults: { 'drainInstance web-1': 'fails' } }),
  'rollback.rolling-aborted': operation(rollback, { rolling, at: 'startInstance backend-1' }),
  'rollback.rolling-needs-operator': operation(rollback, {
    rolling,
    faults: { 'admitInstance backend-1': 'fails', 'admitInstance backend-1 again': 'fails' },
  }),
  'cleanup.side-by-side': async (scene) => {
    await operation(deploy, { rolling: [], faults: { 'startInstance backend-2': 'fails' } })(scene);
    return endedId(scene.operator, await scene.operator.cleanup());
  },

  'failoverTest.succeeded': operation(failoverTest),
  'failoverTest.failed': (scene) => {
    scene.world.failover.isServedMeanwhile = false;
    return operation(failoverTest)(scene);
  },
  'failoverTest.aborted': operation(failoverTest, { at: 'waitUntilDown' }),
  'failoverTest.needs-operator': operation(failoverTest, {
    faults: { waitUntilDown: 'fails', startAgain: 'fails' },
  }),
  'scheduledFailoverTest.succeeded': (scene) => scheduled(scene),
  'scheduledFailoverTest.failed': async (scene) => {
    scene.world.faults.set('planFailoverTest', 'fails');
    return scheduled(scene);
  },

  'environment.queue': async ({ operator, world }) => {
    const held = world.faults.hold('migrate backend');
    const first = await operator.deploy('ccccccc', { requestId: 'build-1' });
    await held.reached;
    await operator.deploy('ddddddd');
    const last = await operator.deploy('eeeeeee');
    await operator.signal('approve', { operation: 'nobody' });
    held.release();
    await endedId(operator, first);
    await endedId(operator, last);
    return operator.environmentId;
  },

  'environment.first-two-at-once': async ({ rig, operator }) => {
    const asked: Promise<Accepted>[] = [];
    await rig.withoutWorker(async () => {
      asked.push(operator.deploy('ccccccc'), operator.deploy('ddddddd'));
    });
    for (const one of asked) await endedId(operator, await one);
    return operator.environmentId;
  },
  'environment.unknown': async ({ rig, operator, world }) => {
    world.isKnown = false;
    await expect(operator.deploy('ccccccc')).rejects.toThrow();
    await expect.poll(() => rig.statusOf(operator.environmentId), { timeout: 10_000 }).toBe('COMPLETED');
    return operator.environmentId;
  },

  'environment.continued-as-new': async ({ rig, operator }) => {
    const ask = async () => endedId(operator, await operator.switch({ color: 'green', dryRun: true }));
    await ask();
    return untilItContinues(rig, operator.environmentId, ask);
  },

  'edge.continued-as-new': async ({ rig, world }) => {
    const edgeId = edgeWorkflowId(project, world.name);
    const ask = (id: string) => requestChange(rig, world, { ...standDown(world), id });
    await ask('first');
    return untilItContinues(rig, edgeId, (number) => ask(`more-${number}`));
  },

  'edge.withdrawn': async ({ rig, world }) => {
    await withdrawn(rig, world, standDown(world));
    return edgeWorkflowId(project, world.name);
  },

  'switchEdge.succeeded': async ({ rig, world }) => changed(rig, world, standDown(world), 'succeeded'),

  'switchEdge.failed': async ({ rig, world }) => {
    world.faults.set('verifyTraffic', 'fails');
    return changed(rig, world, standDown(world), 'failed');
  },

  'switchEdge.needs-operator': async ({ rig, world }) => {
    world.faults.set('recordColor', 'fails after its effect');
    world.faults.set('restoreConfig', 'fails');
    return changed(rig, world, standDown(world), 'needs-operator');
  },

  'switchEdge.withdrawn': async ({ rig, world }) => withdrawn(rig, world, standDown(world)),

  ...changesOf('colors', ({ name }) => ({
    ...{ kind: 'color', id: 'op/switch', operation: 'op', environment: name },
    ...{ from: 'blue', to: 'green', sha: 'aaaaaaa', history: 'back' },
  })),

  ...changesOf('apply', ({ edge }) => {
    edge.configures('new');
    return { kind: 'apply', id: 'op/apply', operation: 'op' };
  }),

  ...changesOf('certificates', ({ name }) => ({
    ...{ kind: 'certificates', id: 'op/install', operation: 'op' },
    certificates: [{ name: `${name}.a`, names: [`${name}.a`], key: 'ecdsa', serial: '1', sha256: 'of a' }],
  })),

  ...runsOf('certs issue', { step: 'finalizeOrder a', change: 'install' }),
  ...runsOf('an apply of a new host', { step: 'planCertificates', change: 'in-force' }),
  ...runsOf('certs revoke', { step: 'revokeCertificate', change: null }),
  ...runsOf('certs adopt', { step: 'adoptCertificates', change: 'challenges' }),

  'provision.succeeded': (scene) => provisioned(scene),

  'provision.nothing-to-do': async (scene) => {
    await provisioned(scene);
    return provisioned(scene);
  },

  'provision.dry-run': (scene) => provisioned(scene, { dryRun: true }),

  'provision.failed': (scene) => {
    scene.world.faults.set('installPackages', 'fails');
    return provisioned(scene);
  },

  'provision.needs-operator': (scene) => {
    scene.world.faults.set('recordColor of configuration', 'fails after its effect');
    scene.world.faults.set('restoreConfig', 'fails');
    return provisioned(scene);
  },

  'provision.cancelled': async (scene) => {
    const held = scene.world.faults.hold('launchEdge');
    const ended = provisioned(scene);
    await held.reached;
    await scene.rig.client.workflow.getHandle(provisionWorkflowId(project, scene.world.name)).cancel();
    return ended;
  },

  'certificates.nothing-due': async ({ rig, world }) => {
    world.missing('a');
    world.edge.holdsCertificates(`${world.name}.a`);
    return endedRun(rig, await beginRun(rig, world, certificateRuns['certs issue']));
  },

  'certificates.side-by-side': async ({ rig, world }) => {
    world.missing('a', 'b', 'c');
    world.faults.set('placeOrder b', 'fails');
    const held = world.faults.hold('verifyTraffic');
    const first = requestChange(rig, world, standDown(world));
    await held.reached;
    const run = await beginRun(rig, world, certificateRuns['certs issue']);
    const edge = rig.client.workflow.getHandle(edgeWorkflowId(project, world.name));
    await expect.poll(async () => (await edge.query<{ queue: unknown[] }>('status')).queue).toHaveLength(2);
    held.release();
    await first;
    return endedRun(rig, run);
  },

  'certificates.obtained-by-another': async ({ rig, world }) => {
    world.missing('a');
    const held = world.faults.hold('finalizeOrder a');
    await beginRun(rig, world, certificateRuns['certs issue']);
    await held.reached;
    const other = certificatesWorkflowId(project, 'renew', world.name);
    await rig.start('certificates', other, [{ kind: 'renew', keepGoing: true }]);
    await expect.poll(() => world.faults.calls).toContain('awaitCertificate');
    held.release();
    return endedRun(rig, other);
  },

  'apply.first': async ({ rig, world }) => {
    const run = certificateRuns['an apply of a new host'];
    run.prepare(world);
    world.isEdgeApplied = false;
    return endedRun(rig, await beginRun(rig, world, run));
  },

  'apply.not-obtained': async ({ rig, world }) => {
    const run = certificateRuns['an apply of a new host'];
    run.prepare(world);
    world.faults.set('checkNames a', 'fails');
    return endedRun(rig, await beginRun(rig, world, run));
  },
};

/**
 * Each outcome of a workflow about certificates: it fails or is cancelled in a step, and can't take back a change of the
 * edge where it asks for one.
 */
function runsOf(
  name: keyof typeof certificateRuns,
  { step, change }: { readonly step: string; readonly change: string | null },
): Readonly<Record<string, Scenario>> {
  const run = certificateRuns[name];
  const story =
    (happens: (world: World) => void) =>
    async ({ rig, world }: Scene): Promise<Run> => {
      run.prepare(world);
      happens(world);
      return endedRun(rig, await beginRun(rig, world, run));
    };
  return {
    [`${run.type}.succeeded`]: story(() => {}),
    [`${run.type}.failed`]: story(({ faults }) => faults.set(step, 'fails')),
    [`${run.type}.cancelled`]: async ({ rig, world }) => {
      run.prepare(world);
      const held = world.faults.hold(step);
      const id = await beginRun(rig, world, run);
      await held.reached;
      await rig.client.workflow.getHandle(id).cancel();
      return endedRun(rig, id);
    },
    ...(change !== null && {
      [`${run.type}.needs-operator`]: story(({ faults }) => {
        faults.set(`recordColor of ${change}`, 'fails after its effect');
        faults.set('restoreConfig', 'fails');
      }),
    }),
  };
}

async function provisioned({ rig, world }: Scene, request: ProvisionRequest = {}): Promise<Run> {
  return endedRun(rig, await beginProvision(rig, world, request));
}

async function endedRun(rig: Rig, id: string): Promise<string> {
  await rig.resultOf(id);
  return id;
}

/** Each outcome of a kind of edge change. */
function changesOf(kind: string, changeOf: (world: World) => EdgeChange): Readonly<Record<string, Scenario>> {
  return {
    [`switchEdge.${kind}-succeeded`]: ({ rig, world }) => changed(rig, world, changeOf(world), 'succeeded'),
    [`switchEdge.${kind}-failed`]: ({ rig, world }) => {
      world.faults.set('stageConfig', 'fails');
      return changed(rig, world, changeOf(world), 'failed');
    },
    [`switchEdge.${kind}-needs-operator`]: ({ rig, world }) => {
      world.faults.set('stageConfig', 'fails');
      world.faults.set('unstageConfig', 'fails');
      return changed(rig, world, changeOf(world), 'needs-operator');
    },
    [`switchEdge.${kind}-withdrawn`]: ({ rig, world }) => withdrawn(rig, world, changeOf(world)),
  };
}

function withoutPlaces(history: string): string {
  return JSON.stringify(JSON.parse(history, (key, value) => (leftOut.includes(key) ? undefined : value)));
}

async function endedId(operator: Operator, accepted: { operation: string }): Promise<string> {
  await operator.ended(accepted);
  return accepted.operation;
}

/** As a Schedule starts it. */
async function scheduled({ rig, world }: Scene): Promise<string> {
  const id = `${project}/apply/${world.name}`;
  await rig.start('scheduledFailoverTest', id, [{ environment: world.name, component: 'backend' }]);
  await rig.resultOf(id).catch(() => {});
  return id;
}

/** Asks again and again, and once more of the run that follows; answers the run that ended by it. */
async function untilItContinues(rig: Rig, workflowId: string, ask: (number: number) => Promise<unknown>): Promise<Run> {
  const runId = await rig.runOf(workflowId);
  let number = 1;
  for (; (await rig.runOf(workflowId)) === runId; number += 1) await ask(number);
  await ask(number);
  return { workflowId, runId };
}

const standDown = ({ name }: World): EdgeChange => ({
  ...{ kind: 'stand-down', id: 'op/stand-down', operation: 'op', environment: name },
});

function requestChange(rig: Rig, world: World, change: EdgeChange): Promise<EdgeChangeResult> {
  return changeEdge(rig.client, { project, edge: world.name }, change, new AbortController().signal);
}

async function changed(rig: Rig, world: World, change: EdgeChange, outcome: string): Promise<string> {
  expect((await requestChange(rig, world, change)).outcome).toBe(outcome);
  return edgeChangeWorkflowId(project, world.name, 1);
}

async function withdrawn(rig: Rig, world: World, change: EdgeChange): Promise<string> {
  const held = world.faults.hold('stageConfig');
  const asked = requestChange(rig, world, change);
  await held.reached;
  await withdrawEdgeChange(rig.client, { project, edge: world.name }, change.id);
  expect((await asked).outcome).toBe('withdrawn');
  return edgeChangeWorkflowId(project, world.name, 1);
}
