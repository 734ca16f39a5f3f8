import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { changeEdge, withdrawEdgeChange } from '../../src/client/edge.js';
import type { ColorChange, EdgeChange, EdgeChangeResult } from '../../src/domain/edge-change.js';
import { edgeChangeWorkflowId } from '../../src/domain/names.js';
import { type Rig, startRig } from './rig/rig.js';
import { edgeSteps } from './rig/steps.js';
import { project, type World } from './rig/world.js';

let rig: Rig;
let world: World;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const stepNames = Object.keys(edgeSteps);

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
function twoReleases(): World {
  world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  return world;
}

function switchToGreen(more: Partial<ColorChange> = {}): ColorChange {
  return {
    kind: 'color',
    id: 'op/switch',
    operation: 'op',
    environment: world.name,
    from: 'blue',
    to: 'green',
    sha: 'aaaaaaa',
    history: 'back',
    ...more,
  };
}

function ask(change: EdgeChange): Promise<EdgeChangeResult> {
  return changeEdge(rig.client, { project, edge: world.name }, change, new AbortController().signal);
}

const withdraw = (id: string) => withdrawEdgeChange(rig.client, { project, edge: world.name }, id);

const firstChange = () => edgeChangeWorkflowId(project, world.name, 1);

describe('a switch that goes well', () => {
  test('stages, installs, reloads, verifies and records, in that order', async () => {
    const { edge, faults } = twoReleases();
    const result = await ask(switchToGreen());
    expect(result).toMatchObject({ id: 'op/switch', outcome: 'succeeded', code: null, changed: true });
    expect(result.generation).toBe(edge.running.generation);
    expect(result.reloadedAt).not.toBeNull();
    expect(faults.calls).toEqual(stepNames);
    expect(result.steps.map((step) => step.outcome)).toEqual(stepNames.map(() => 'done'));
    expect(world.serves).toEqual({ color: 'green', sha: 'aaaaaaa', standby: null });
    expect(world.history).toEqual(['green aaaaaaa']);
  });

  test('reloads nothing when there is nothing to change', async () => {
    const { edge, faults } = twoReleases();
    const result = await ask({ kind: 'apply', id: 'op/apply', operation: 'op' });
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false, reloadedAt: null, generation: 3 });
    expect(faults.calls).toEqual(['readEdge', 'renderConfig']);
    expect(edge.reloads).toBe(0);
  });

  test('only says what would change when it is a dry run', async () => {
    const { edge, faults } = twoReleases();
    const before = edge.picture();
    const result = await ask(switchToGreen({ dryRun: true }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true, reloadedAt: null, diff: '-old\n+new\n' });
    expect(faults.calls).toEqual(['readEdge', 'renderConfig']);
    expect(edge.picture()).toEqual(before);
  });

  test('is refused when another color is active than it says', async () => {
    const { edge } = twoReleases();
    const before = edge.picture();
    const result = await ask(switchToGreen({ from: 'green', to: 'blue' }));
    expect(result).toMatchObject({ outcome: 'failed', code: 'active-color-changed', changed: false });
    expect(edge.picture()).toEqual(before);
  });

  test('a stand-down leaves the active color, and no standby', async () => {
    twoReleases();
    await ask({ kind: 'stand-down', id: 'op/stand-down', operation: 'op', environment: world.name });
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
    expect(world.history).toEqual(['blue bbbbbbb', 'green aaaaaaa']);
  });
});

describe('a take-back', () => {
  test('that fails: every change is refused from then on, until a repair', async () => {
    const { edge, faults } = twoReleases();
    faults.set('verifyTraffic', 'fails');
    faults.set('reloadRestored', 'fails');
    expect(await ask(switchToGreen())).toMatchObject({ outcome: 'needs-operator' });
    faults.fix('verifyTraffic');
    faults.fix('reloadRestored');
    const refused = await ask(switchToGreen({ id: 'op2/switch' }));
    expect(refused).toMatchObject({ outcome: 'failed', code: 'edge-needs-operator' });
    expect(await ask(switchToGreen({ id: 'op3/switch', repair: true }))).toMatchObject({ outcome: 'succeeded' });
    expect(edge.needsOperator).toBeNull();
  });

  test('that fails on an edge which can not be marked either: says both', async () => {
    const { faults } = twoReleases();
    faults.set('verifyTraffic', 'fails');
    faults.set('reloadRestored', 'fails');
    faults.set('markNeedsOperator', 'fails');
    const result = await ask(switchToGreen());
    expect(result.outcome).toBe('needs-operator');
    expect(result.message).toMatch(/reloadRestored is broken.*markNeedsOperator is broken/);
  });

  test('runs to its end when the change is withdrawn meanwhile', async () => {
    const { edge, faults } = twoReleases();
    const before = edge.picture();
    faults.set('verifyTraffic', 'fails');
    const takingBack = faults.hold('restoreConfig');
    const asked = ask(switchToGreen());
    await takingBack.reached;
    const withdrawn = withdraw('op/switch');
    await rig.client.workflow.getHandle(firstChange()).query('__temporal_workflow_metadata');
    takingBack.release();
    expect(await withdrawn).toEqual(await asked);
    expect(edge.picture()).toEqual(before);
  });
});

describe('a change that is withdrawn', () => {
  test('in the last step before it is recorded, which ends well all the same: is taken back', async () => {
    const { edge, faults } = twoReleases();
    const before = edge.picture();
    const held = faults.hold('verifyTraffic', { ignoresCancellation: true });
    const asked = ask(switchToGreen());
    await held.reached;
    const withdrawn = withdraw('op/switch');
    await untilCancelled('verifyTraffic');
    held.release();
    expect(await withdrawn).toMatchObject({ outcome: 'withdrawn' });
    expect(await asked).toEqual(await withdrawn);
    expect(faults.calls).toEqual([
      ...stepNames.slice(0, -1),
      'verifyTraffic goes on',
      ...(edgeSteps.verifyTraffic ?? []),
    ]);
    expect(edge.picture()).toEqual(before);
  });

  test('when it is being recorded: comes into force, and the answer says so', async () => {
    const { faults } = twoReleases();
    const held = faults.hold('recordColor');
    const asked = ask(switchToGreen());
    await held.reached;
    const withdrawn = withdraw('op/switch');
    await expect.poll(() => rig.eventsOf(firstChange())).toContain('workflowExecutionSignaledEventAttributes');
    held.release();
    expect(await withdrawn).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(await asked).toEqual(await withdrawn);
    expect(world.serves.color).toBe('green');
  });

  test('when the recording fails after that: has failed, and is taken back', async () => {
    const { edge, faults } = twoReleases();
    const before = edge.picture();
    const held = faults.hold('recordColor');
    faults.set('recordColor', 'fails after its effect');
    const asked = ask(switchToGreen());
    await held.reached;
    const withdrawn = withdraw('op/switch');
    await expect.poll(() => rig.eventsOf(firstChange())).toContain('workflowExecutionSignaledEventAttributes');
    held.release();
    expect(await withdrawn).toMatchObject({ outcome: 'failed', code: 'broken' });
    expect(await asked).toEqual(await withdrawn);
    expect(edge.picture()).toEqual(before);
  });

  test("by cancelling its workflow in Temporal's UI: is taken back", async () => {
    const { edge, faults } = twoReleases();
    const before = edge.picture();
    const held = faults.hold('verifyTraffic');
    const asked = ask(switchToGreen());
    await held.reached;
    await rig.client.workflow.getHandle(firstChange()).cancel();
    expect(await asked).toMatchObject({ outcome: 'withdrawn' });
    expect(edge.picture()).toEqual(before);
  });
});

test('a change that is started by hand refuses, and says how it is started', async () => {
  twoReleases();
  const workflowId = edgeChangeWorkflowId(project, world.name, 1);
  await rig.start('switchEdge', workflowId, [switchToGreen()]);
  await expect(rig.resultOf(workflowId)).rejects.toMatchObject({
    cause: { type: 'started-by-hand', message: expect.stringContaining('bascule switch') },
  });
  expect(world.faults.calls).toEqual([]);
});

async function untilCancelled(step: string): Promise<void> {
  await expect
    .poll(() => rig.eventsOf(firstChange()), { message: `${step} is cancelled` })
    .toContain('activityTaskCancelRequestedEventAttributes');
}
