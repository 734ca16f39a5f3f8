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
import { Operator } from './operator.js';
import { type Rig, startRigThatContinuesAsNew } from './rig.js';
import { beginProvision, beginRun, certificateRuns } from './runs.js';
import { holdStep } from './steps.js';
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
    for (const [name, run] of Object.entries(stories)) {
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

/** What else a story shows, by the names of the histories. */
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

/** Each answers the workflow whose history is kept. */
const stories: Readonly<Record<string, (scene: Scene) => Promise<Run>>> = {
  'deploy.succeeded': async ({ operator }) => endedId(operator, await operator.deploy('ccccccc')),

  'deploy.approved': async ({ operator }) => {
    const accepted = await operator.deploy('ccccccc', { waitForApproval: true });
    await operator.untilItWaitsForApproval(accepted);
    await operator.approve();
    return endedId(operator, accepted);
  },

  'deploy.failed-at-start': async ({ operator, world }) => {
    world.faults.set('startInstance web', 'fails');
    const held = holdStep(world, 'startInstance web');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    held.releaseStep();
    return endedId(operator, accepted);
  },

  'deploy.failed-in-soak': async ({ operator, world }) => {
    world.faults.set('watchSoak', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.rolled-back': async ({ operator, world }) => {
    const held = world.faults.hold('watchSoak');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    await operator.signal('rollback');
    await endedId(operator, accepted);
    await expect.poll(async () => (await operator.status()).last?.kind, { timeout: 10_000 }).toBe('rollback');
    return accepted.operation;
  },

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

  'deploy.needs-operator': async ({ operator, world }) => {
    world.faults.set('watchSoak', 'fails');
    world.faults.set('requestEdgeChange switch-back', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.failed-at-pin': async ({ operator, world }) => {
    world.faults.set('pinRelease', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.failed-on-the-edge': async ({ operator, world }) => {
    world.faults.set('readEdge', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.cancelled': async ({ rig, operator, world }) => {
    const held = world.faults.hold('pinRelease');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    await rig.client.workflow.getHandle(accepted.operation).cancel();
    return endedId(operator, accepted);
  },

  'rollback.fast': async ({ operator }) => endedId(operator, await operator.rollback()),

  'rollback.full': async ({ operator }) => endedId(operator, await operator.rollback({ full: true })),

  'switch.succeeded': async ({ operator }) => endedId(operator, await operator.switch({ color: 'green' })),

  'rollback.fast-failed': async ({ operator, world }) => {
    world.faults.set('requestEdgeChange switch', 'fails');
    return endedId(operator, await operator.rollback());
  },

  'rollback.fast-aborted': (scene) => aborted(scene, 'requestEdgeChange switch', () => scene.operator.rollback()),

  'rollback.fast-needs-operator': (scene) => unheard(scene, 'switch', () => scene.operator.rollback()),

  'rollback.full-failed': async ({ operator, world }) => {
    world.faults.set('pinRelease', 'fails');
    return endedId(operator, await operator.rollback({ full: true }));
  },

  'rollback.full-aborted': (scene) => aborted(scene, 'pinRelease', () => scene.operator.rollback({ full: true })),

  'rollback.full-needs-operator': (scene) =>
    unheard(scene, 'stand-down', () => scene.operator.rollback({ full: true })),

  'switch.dry-run': async ({ operator }) => endedId(operator, await operator.switch({ color: 'green', dryRun: true })),

  'switch.failed': async ({ operator, world }) => {
    world.faults.set('planSwitch', 'fails');
    return endedId(operator, await operator.switch({ color: 'green' }));
  },

  'switch.aborted': (scene) =>
    aborted(scene, 'requestEdgeChange switch', () => scene.operator.switch({ color: 'green' })),

  'switch.needs-operator': (scene) => unheard(scene, 'switch', () => scene.operator.switch({ color: 'green' })),

  'cleanup.nothing-to-do': async ({ operator }) => endedId(operator, await operator.cleanup()),

  'cleanup.failed': async ({ operator, world }) => {
    world.faults.set('drainColor', 'fails');
    return endedId(operator, await operator.cleanup({ standby: true }));
  },

  'cleanup.failed-at-removal': async ({ operator, world }) => {
    world.faults.set('removeInstance web', 'fails');
    const held = holdStep(world, 'removeInstance web');
    const accepted = await operator.cleanup({ standby: true });
    await held.reached;
    held.releaseStep();
    return endedId(operator, accepted);
  },

  'cleanup.aborted': (scene) => aborted(scene, 'drainColor', () => scene.operator.cleanup({ standby: true })),

  'cleanup.aborted-at-removal': (scene) =>
    aborted(scene, 'removeInstance web', () => scene.operator.cleanup({ standby: true })),

  'cleanup.needs-operator': (scene) => unheard(scene, 'stand-down', () => scene.operator.cleanup({ standby: true })),

  'cleanup.succeeded': async ({ operator }) => endedId(operator, await operator.cleanup({ standby: true })),

  'deploy.rolling-succeeded': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.rolling-failed': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    world.faults.set('startInstance backend-2', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.rolling-first-failed': async ({ operator, world }) => {
    world.standSideBySide();
    world.faults.set('admitInstance backend-2', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.rolling-needs-operator': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    world.faults.set('recordReleases now', 'fails');
    world.faults.set('startInstance backend-1 again', 'fails');
    return endedId(operator, await operator.deploy('ccccccc'));
  },

  'deploy.rolling-aborted': async (scene) => {
    scene.world.standSideBySide('aaaaaaa', 'bbbbbbb');
    return aborted(scene, 'admitInstance backend-2', () => scene.operator.deploy('ccccccc'));
  },

  'deploy.rolling-rolled-back': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    const held = world.faults.hold('drainInstance backend-2');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    const rollback = await operator.rollback();
    await endedId(operator, rollback);
    return accepted.operation;
  },

  'rollback.rolling-succeeded': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    return endedId(operator, await operator.rollback());
  },

  'rollback.rolling-failed': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    world.faults.set('drainInstance web-1', 'fails');
    return endedId(operator, await operator.rollback());
  },

  'rollback.rolling-aborted': async (scene) => {
    scene.world.standSideBySide('aaaaaaa', 'bbbbbbb');
    return aborted(scene, 'startInstance backend-1', () => scene.operator.rollback());
  },

  'rollback.rolling-needs-operator': async ({ operator, world }) => {
    world.standSideBySide('aaaaaaa', 'bbbbbbb');
    world.faults.set('admitInstance backend-1', 'fails');
    world.faults.set('admitInstance backend-1 again', 'fails');
    return endedId(operator, await operator.rollback());
  },

  'cleanup.side-by-side': async ({ operator, world }) => {
    world.standSideBySide();
    world.faults.set('startInstance backend-2', 'fails');
    await endedId(operator, await operator.deploy('ccccccc'));
    return endedId(operator, await operator.cleanup());
  },

  'failoverTest.succeeded': async ({ operator }) =>
    endedId(operator, await operator.failoverTest({ component: 'backend' })),

  'failoverTest.failed': async ({ operator, world }) => {
    world.failover.isServedMeanwhile = false;
    return endedId(operator, await operator.failoverTest({ component: 'backend' }));
  },

  'failoverTest.aborted': (scene) =>
    aborted(scene, 'waitUntilDown', () => scene.operator.failoverTest({ component: 'backend' })),

  'failoverTest.needs-operator': async ({ operator, world }) => {
    world.faults.set('waitUntilDown', 'fails');
    world.faults.set('startAgain', 'fails');
    return endedId(operator, await operator.failoverTest({ component: 'backend' }));
  },

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

  ...storiesOf('colors', ({ name }) => ({
    ...{ kind: 'color', id: 'op/switch', operation: 'op', environment: name },
    ...{ from: 'blue', to: 'green', sha: 'aaaaaaa', history: 'back' },
  })),

  ...storiesOf('apply', ({ edge }) => {
    edge.configures('new');
    return { kind: 'apply', id: 'op/apply', operation: 'op' };
  }),

  ...storiesOf('certificates', ({ name }) => ({
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
): Readonly<Record<string, (scene: Scene) => Promise<Run>>> {
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
function storiesOf(
  kind: string,
  changeOf: (world: World) => EdgeChange,
): Readonly<Record<string, (scene: Scene) => Promise<Run>>> {
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

/** Stopped in the middle of a step. */
async function aborted({ operator, world }: Scene, step: string, begin: () => Promise<Accepted>): Promise<string> {
  const held = world.faults.hold(step);
  const accepted = await begin();
  await held.reached;
  await operator.abort();
  return endedId(operator, accepted);
}

/** As a Schedule starts it. */
async function scheduled({ rig, world }: Scene): Promise<string> {
  const id = `${project}/apply/${world.name}`;
  await rig.start('scheduledFailoverTest', id, [{ environment: world.name, component: 'backend' }]);
  await rig.resultOf(id).catch(() => {});
  return id;
}

/** What was asked of the edge can't be withdrawn. */
async function unheard({ operator, world }: Scene, change: string, begin: () => Promise<Accepted>): Promise<string> {
  world.faults.set(`requestEdgeChange ${change}`, 'fails');
  world.faults.set('withdrawEdgeChange', 'fails');
  return endedId(operator, await begin());
}

/** Asks again and again; answers the run that ended by it. */
async function untilItContinues(rig: Rig, workflowId: string, ask: (number: number) => Promise<unknown>): Promise<Run> {
  const runId = await rig.runOf(workflowId);
  for (let number = 1; (await rig.runOf(workflowId)) === runId; number += 1) await ask(number);
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
