import { afterEach, beforeEach, expect, test } from 'vitest';
import { changeEdge } from '../../src/client/edge.js';
import type { EdgeChangeResult } from '../../src/domain/edge-change.js';
import { edgeChangeWorkflowId } from '../../src/domain/names.js';
import type { OperationAnswer } from '../../src/domain/operation.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { project, type World } from './rig/world.js';

// What ends by itself after some time. Each has a server of its own: the time of a server stands still for good after
// some cancelled activities, which it goes on counting as running.

let rig: Rig;
let world: World;
let operator: Operator;

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
beforeEach(async () => {
  rig = await startRig();
  world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  operator = new Operator(rig, world);
});
afterEach(() => rig.stop());

const minute = 60_000;
const hour = 60 * minute;
const firstChange = () => edgeChangeWorkflowId(project, world.name, 1);

function switchToGreen(id = 'op/switch'): Promise<EdgeChangeResult> {
  const to = { from: 'blue', to: 'green', sha: 'aaaaaaa', history: 'back' } as const;
  const change = { kind: 'color', id, operation: 'op', environment: world.name, ...to } as const;
  return changeEdge(rig.client, { project, edge: world.name }, change, new AbortController().signal);
}

test('an edge change whose step hangs after its effect is taken back', async () => {
  const { edge, faults } = world;
  const before = edge.picture();
  faults.set('reloadEdge', 'hangs after its effect');
  const asked = switchToGreen();
  await expect.poll(() => edge.reloads).toBe(1);
  const ended = rig.resultOf(firstChange());
  await rig.skip(4_900);
  await ended;
  expect(await asked).toMatchObject({ outcome: 'failed', code: 'broken' });
  expect(edge.reloads).toBe(2);
  expect(edge.picture()).toEqual(before);
});

test('an edge change that takes more than two minutes is taken back', async () => {
  const { edge, faults } = world;
  const before = edge.picture();
  // Waiting between nine tries takes 26.2 s, between six 11.2 s.
  for (const step of ['readEdge', 'renderConfig', 'stageConfig', 'installConfig']) faults.set(step, 'fails 9 times');
  faults.set('reloadEdge', 'fails 6 times');
  const held = faults.hold('reloadEdge');
  const beganAt = await rig.now();
  const asked = switchToGreen();
  await expect.poll(() => faults.calls.length).toBeGreaterThan(0);
  const ended = rig.resultOf(firstChange());
  await held.reached;
  await rig.skip(beganAt + 119_900 - (await rig.now()));
  await ended;
  expect(await asked).toMatchObject({ outcome: 'failed', code: 'edge-change-timed-out' });
  expect(faults.calls).not.toContain('verifyTraffic');
  expect(edge.picture()).toEqual(before);
});

test('an edge remembers for a day what became of a change', async () => {
  const first = await switchToGreen('op1/switch');
  await rig.skip(23 * hour);
  expect(await switchToGreen('op1/switch')).toEqual(first);
  await rig.skip(2 * hour);
  // Looked through when the next change begins.
  await switchToGreen('op2/switch');
  expect(await switchToGreen('op1/switch')).toMatchObject({ outcome: 'failed', code: 'active-color-changed' });
});

test('an approval that nobody gives within 24 hours ends the deploy', async () => {
  const { operation } = await operator.deploy('ccccccc', { waitForApproval: true });
  await operator.untilItWaitsForApproval({ operation });
  const { until } = await operator.progress(operation);
  expect(Date.parse(until ?? '') - (await rig.now())).toBeGreaterThan(23.9 * hour);
  await rig.resultOf(operation);
  const result = await operator.ended({ operation });
  expect(result).toMatchObject({
    outcome: 'failed',
    code: 'approval-timed-out',
    message: 'nobody approved within 24 hours',
  });
  expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
  expect(world.instancesOf('green')).toEqual(['backend: failed ccccccc', 'web: failed ccccccc']);
});

test('whoever waits for an operation is answered after 20 s that it still runs', async () => {
  const { operation } = await operator.deploy('ccccccc', { waitForApproval: true });
  await operator.untilItWaitsForApproval({ operation });
  const beganAt = await rig.now();
  const waiting = operator.update<OperationAnswer>('wait', { operation });
  await rig.skip(30_000);
  expect(await waiting).toEqual({ state: 'running' });
  expect((await rig.now()) - beganAt).toBeGreaterThanOrEqual(20_000);
});

test('a second rollback does nothing for a minute, and then goes further back', async () => {
  for (const sha of ['ccccccc', 'ddddddd']) await operator.ended(await operator.deploy(sha));
  const first = await operator.rollback();
  expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
  expect(world.serves.sha).toBe('ccccccc');

  await rig.skip(50_000);
  const repeated = await operator.ended(await operator.rollback());
  expect(repeated).toMatchObject({ outcome: 'succeeded', changed: false });
  expect(world.serves.sha).toBe('ccccccc');
  await rig.skip(11_000);
  const second = await operator.rollback();
  expect(second.joined).toBe(false);
  expect(await operator.ended(second)).toMatchObject({ outcome: 'succeeded' });
  expect(world.serves.sha).toBe('bbbbbbb');
});

test('a request id is the same operation for a day', async () => {
  const first = await operator.deploy('ccccccc', { requestId: 'build-1' });
  await operator.ended(first);
  await rig.skip(23 * hour);
  expect(await operator.deploy('ccccccc', { requestId: 'build-1' })).toEqual({ ...first, joined: true });
  await rig.skip(2 * hour);
  // Looked through when an operation ends.
  await operator.ended(await operator.deploy('ddddddd'));
  expect(await operator.deploy('ccccccc', { requestId: 'build-1' })).toMatchObject({ joined: false });
});
