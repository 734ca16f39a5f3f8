import { afterAll, beforeAll, expect, test } from 'vitest';
import { changeEdge, withdrawEdgeChange } from '../../src/client/edge.js';
import type { EdgeChange } from '../../src/domain/edge-change.js';
import { edgeChangeWorkflowId, edgeWorkflowId } from '../../src/domain/names.js';
import type { OperationAnswer } from '../../src/domain/operation.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRigThatContinuesAsNew } from './rig/rig.js';
import { project, type World } from './rig/world.js';

// On Temporal's dev server, which suggests continue-as-new early: the time-skipping server never does.

let rig: Rig;
beforeAll(async () => {
  rig = await startRigThatContinuesAsNew(30);
});
afterAll(() => rig.stop());

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
function twoReleases(): World {
  const world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  return world;
}

const standDown = (world: World, id: string): EdgeChange => ({
  kind: 'stand-down',
  id,
  operation: id,
  environment: world.name,
});
const ask = (world: World, id: string) =>
  changeEdge(rig.client, { project, edge: world.name }, standDown(world, id), new AbortController().signal);

test('an edge that continued as new still knows what became of its changes', async () => {
  const world = twoReleases();
  const edgeId = edgeWorkflowId(project, world.name);
  const first = await ask(world, 'first');
  await withdrawEdgeChange(rig.client, { project, edge: world.name }, 'late');
  const runId = await rig.runOf(edgeId);
  for (let number = 0; (await rig.runOf(edgeId)) === runId; number += 1) {
    expect(number).toBeLessThan(20);
    expect(await ask(world, `more-${number}`)).toMatchObject({ outcome: 'succeeded' });
  }
  expect(await ask(world, 'first')).toEqual(first);
  expect(await ask(world, 'late')).toMatchObject({ outcome: 'withdrawn' });
  expect(await ask(world, 'more-0')).toMatchObject({ outcome: 'succeeded' });
});

test('an environment that continued as new still knows requests and results, and numbers on', async () => {
  const world = twoReleases();
  const operator = new Operator(rig, world);
  const first = await operator.deploy('ccccccc', { requestId: 'build-1' });
  const result = await operator.ended(first);
  const runId = await rig.runOf(operator.environmentId);
  const operations = [first.operation];
  while ((await rig.runOf(operator.environmentId)) === runId) {
    expect(operations.length).toBeLessThan(20);
    const { operation } = await operator.switch({ color: 'green' });
    await operator.ended({ operation });
    operations.push(operation);
  }
  expect(await operator.deploy('ccccccc', { requestId: 'build-1' })).toEqual({ ...first, joined: true });
  expect(await operator.result(first.operation)).toEqual({ state: 'ended', result });
  expect(operations.map((id) => Number(id.split('/').at(-1)))).toEqual(operations.map((_, index) => index + 1));
  expect(await operator.ended(await operator.rollback())).toMatchObject({ outcome: 'succeeded' });
  expect(world.serves.sha).toBe('bbbbbbb');
});

test('an environment continues as new, and runs what waits, although others wait for that without end', async () => {
  const world = twoReleases();
  const operator = new Operator(rig, world);
  const held = world.faults.hold('migrate backend');
  const first = await operator.deploy('ccccccc');
  await held.reached;
  const second = await operator.deploy('ddddddd', { soakMs: 0 });
  // Each of these is in the history, which makes it long enough.
  for (let times = 0; times < 8; times += 1) await operator.deploy('ddddddd', { soakMs: 0 });
  const runId = await rig.runOf(operator.environmentId);
  const waiting = [waitFor(operator, second.operation), waitFor(operator, second.operation)];
  held.release();
  expect((await operator.ended(first)).outcome).toBe('succeeded');
  for (const answer of await Promise.all(waiting)) {
    expect(answer).toMatchObject({ state: 'ended', result: { outcome: 'succeeded', sha: 'ddddddd' } });
  }
  expect(await rig.runOf(operator.environmentId)).not.toBe(runId);
});

/** Asks again whenever it is answered that the operation has not ended, as the command line does. */
async function waitFor(operator: Operator, operation: string): Promise<OperationAnswer> {
  for (;;) {
    const answer = await operator.update<OperationAnswer>('wait', { operation });
    if (answer.state === 'ended') return answer;
  }
}

test('an edge goes on after a change that was terminated, and says that nobody knows how it ended', async () => {
  const world = twoReleases();
  const held = world.faults.hold('verifyTraffic');
  const first = ask(world, 'first');
  await held.reached;
  await rig.client.workflow.getHandle(edgeChangeWorkflowId(project, world.name, 1)).terminate();
  expect(await first).toMatchObject({ outcome: 'needs-operator', code: 'terminated' });
  expect(await ask(world, 'second')).toMatchObject({ outcome: 'succeeded' });
});
