import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Accepted } from '../../src/domain/operation.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRigWithLimits } from './rig/rig.js';

const byNumber = (one: Accepted, other: Accepted): number => one.operation.localeCompare(other.operation);

// What meets while no worker runs. On the dev server: each of these is what a random schedule found.

let rig: Rig;
beforeAll(async () => {
  rig = await startRigWithLimits();
});
afterAll(() => rig.stop());

test('an approval that comes as the operation ends is taken, and changes nothing', async () => {
  const world = rig.newWorld();
  const operator = new Operator(rig, world);
  const { reached } = world.faults.hold('migrate backend');
  const { operation } = await operator.deploy('aaaaaaa');
  await reached;
  // Both reach the environment at once.
  const approvals: Promise<unknown>[] = [];
  await rig.withoutWorker(async () => {
    await rig.client.workflow.getHandle(operation).terminate();
    approvals.push(operator.approve().catch((error: unknown) => error));
  });
  expect(await Promise.all(approvals)).toMatchObject([{ operation, joined: true }]);
  expect(await operator.ended({ operation })).toMatchObject({ outcome: 'needs-operator' });
});

test('a worker that is told to end as an operation asks the edge for a change ends, and the next one goes on', async () => {
  const world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  const operator = new Operator(rig, world);
  const { reached, release } = world.faults.hold('requestEdgeChange stand-down', { ignoresCancellation: true });
  const accepted = await operator.deploy('ccccccc');
  await reached;
  // The edge's workflow runs on the same worker, which takes nothing new: nobody answers.
  const restarted = rig.restartWorker();
  release();
  await restarted;
  expect(await operator.ended(accepted)).toMatchObject({ outcome: 'succeeded' });
});

test('the first two requests of an environment come at once, and the worker after the next goes on with both', async () => {
  const world = rig.newWorld();
  const operator = new Operator(rig, world);
  const { release } = world.faults.hold('pinRelease');
  const asked: Promise<Accepted>[] = [];
  await rig.withoutWorker(async () => {
    asked.push(operator.deploy('aaaaaaa'), operator.deploy('bbbbbbb'));
  });
  const accepted = await Promise.all(asked);
  // It knows the environment by its history alone.
  await rig.restartWorker();
  release();
  const [first, last] = await Promise.all(accepted.toSorted(byNumber).map(operator.ended));
  expect(last).toMatchObject({ outcome: 'succeeded' });
  // Told of both at once it has not begun the first as the second replaces it.
  expect([null, 'superseded']).toContain(first?.code);
});

test('a deploy that is aborted as its worker ends says that it was aborted', async () => {
  const world = rig.newWorld();
  const operator = new Operator(rig, world);
  // It sends no heartbeat, and so hears of no abort.
  world.faults.set('migrate backend', 'hangs once after its effect');
  const accepted = await operator.deploy('aaaaaaa');
  await expect.poll(() => world.faults.calls).toContain('migrate backend');
  await operator.abort();
  await expect.poll(() => rig.eventsOf(accepted.operation)).toContain('activityTaskCancelRequestedEventAttributes');
  await rig.restartWorker();
  expect(await operator.ended(accepted)).toMatchObject({ outcome: 'failed', code: 'aborted', message: 'aborted' });
});
