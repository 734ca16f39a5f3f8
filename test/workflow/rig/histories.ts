import { expect } from 'vitest';
import { changeEdge } from '../../../src/client/edge.js';
import { edgeChangeWorkflowId, edgeWorkflowId } from '../../../src/domain/names.js';
import { Operator } from './operator.js';
import { type Rig, startRigThatContinuesAsNew } from './rig.js';
import { holdStep } from './story.js';
import { project, type World } from './world.js';

type Save = (name: string, history: string) => Promise<void>;

/** No need of these, which name folders of the machine and its processes. */
const leftOut: readonly string[] = ['stackTrace', 'identity', 'binaryChecksum'];

/**
 * Runs a workflow of each kind to each of its outcomes, and hands over their histories, named `<kind>.<outcome>`.
 * On the dev server: its histories are those of production.
 */
export async function recordHistories(saveText: Save): Promise<void> {
  const save: Save = (name, history) => saveText(name, withoutPlaces(history));
  const rig = await startRigThatContinuesAsNew(200);
  try {
    for (const [name, run] of Object.entries(stories)) {
      const world = rig.newWorld();
      world.holds('aaaaaaa', 'bbbbbbb');
      const operator = new Operator(rig, world);
      const workflowId = await run({ rig, world, operator });
      await save(name, await rig.historyOf(workflowId));
      if (name !== 'deploy.rolled-back') continue;
      await save('environment.rolled-back', await rig.historyOf(operator.environmentId));
      await save('edge.switched-and-back', await rig.historyOf(edgeWorkflowId(project, world.name)));
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

/** Each answers the id of the workflow whose history is kept. */
const stories: Readonly<Record<string, (scene: Scene) => Promise<string>>> = {
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

  'rollback.fast': async ({ operator }) => endedId(operator, await operator.rollback()),

  'rollback.full': async ({ operator }) => endedId(operator, await operator.rollback({ full: true })),

  'switch.succeeded': async ({ operator }) => endedId(operator, await operator.switch({ color: 'green' })),

  'cleanup.succeeded': async ({ operator }) => endedId(operator, await operator.cleanup({ standby: true })),

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

  'switchEdge.succeeded': async ({ rig, world }) => changed(rig, world, 'succeeded'),

  'switchEdge.failed': async ({ rig, world }) => {
    world.faults.set('verifyTraffic', 'fails');
    return changed(rig, world, 'failed');
  },

  'switchEdge.needs-operator': async ({ rig, world }) => {
    world.faults.set('recordColor', 'fails after its effect');
    world.faults.set('restoreConfig', 'fails');
    return changed(rig, world, 'needs-operator');
  },
};

function withoutPlaces(history: string): string {
  return JSON.stringify(JSON.parse(history, (key, value) => (leftOut.includes(key) ? undefined : value)));
}

async function endedId(operator: Operator, accepted: { operation: string }): Promise<string> {
  await operator.ended(accepted);
  return accepted.operation;
}

async function changed(rig: Rig, world: World, outcome: string): Promise<string> {
  const change = { kind: 'stand-down', id: 'op/stand-down', operation: 'op', environment: world.name } as const;
  const result = await changeEdge(rig.client, { project, edge: world.name }, change, new AbortController().signal);
  expect(result.outcome).toBe(outcome);
  return edgeChangeWorkflowId(project, world.name, 1);
}
