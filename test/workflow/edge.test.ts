import { randomUUID } from 'node:crypto';
import { WithStartWorkflowOperation, WorkflowIdConflictPolicy } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { changeEdge, withdrawEdgeChange } from '../../src/client/edge.js';
import type {
  EdgeChange,
  EdgeChangeAnswer,
  EdgeChangeResult,
  ObtainedCertificate,
} from '../../src/domain/edge-change.js';
import { edgeChangeWorkflowId, edgeWorkflowId, taskQueue } from '../../src/domain/names.js';
import type { EdgeState, edge } from '../../src/workflows/edge.js';
import { type Rig, startRig } from './rig/rig.js';
import { project, type World } from './rig/world.js';

let rig: Rig;
let world: World;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
beforeEach(() => {
  world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
});

const edgeId = () => edgeWorkflowId(project, world.name);
const standDown = (id: string, more: Partial<EdgeChange> = {}): EdgeChange =>
  ({ kind: 'stand-down', id, operation: id, environment: world.name, ...more }) as EdgeChange;
const ask = (change: EdgeChange): Promise<EdgeChangeResult> =>
  changeEdge(rig.client, { project, edge: world.name }, change, new AbortController().signal);
const withdraw = (id: string) => withdrawEdgeChange(rig.client, { project, edge: world.name }, id);
const query = <T>(name: string, ...args: unknown[]): Promise<T> =>
  rig.client.workflow.getHandle(edgeId()).query<T, unknown[]>(name, ...args);
const stateOf = (id: string) => query<EdgeChangeAnswer>('change', { id });

async function queued(): Promise<readonly string[]> {
  const { queue } = await query<{ queue: readonly EdgeChange[] }>('status');
  return queue.map(({ id }) => id);
}

/** A first change that is in the middle of its work. */
async function runningChange() {
  const held = world.faults.hold('verifyTraffic');
  const result = ask(standDown('first'));
  await held.reached;
  return { result, release: held.release };
}

describe('an edge', () => {
  test('makes one change at a time, in the order in which they came', async () => {
    const first = await runningChange();
    const second = ask(standDown('second'));
    await expect.poll(() => stateOf('second')).toEqual({ state: 'queued', position: 1 });
    const third = ask(standDown('third'));
    await expect.poll(() => stateOf('third')).toEqual({ state: 'queued', position: 2 });
    expect(await stateOf('first')).toEqual({ state: 'running' });
    expect(world.faults.calls.filter((call) => call === 'readEdge')).toHaveLength(1);
    first.release();
    const results = await Promise.all([first.result, second, third]);
    expect(results.map(({ outcome, changed }) => [outcome, changed])).toEqual([
      ['succeeded', true],
      ['succeeded', false],
      ['succeeded', false],
    ]);
  });

  test('makes take-backs and rollbacks first', async () => {
    const first = await runningChange();
    const others = [];
    for (const [id, urgent] of [
      ['a', false],
      ['b', false],
      ['c', true],
      ['d', true],
    ] as const) {
      others.push(ask(standDown(id, { urgent })));
      await expect.poll(queued).toContain(id);
    }
    expect(await queued()).toEqual(['c', 'd', 'a', 'b']);
    first.release();
    await Promise.all(others);
  });

  test('says in its details what it does and what waits', async () => {
    const first = await runningChange();
    const second = ask(standDown('second'));
    await expect.poll(queued).toEqual(['second']);
    const { currentDetails } = await query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(currentDetails).toMatch(/running: .*\(first\)\s+1\. .*\(second\)/);
    first.release();
    await second;
  });

  test('answers a change that it knows with the same result, and changes nothing', async () => {
    const first = await ask(standDown('first'));
    const calls = [...world.faults.calls];
    expect(await ask(standDown('first'))).toEqual(first);
    expect(world.faults.calls).toEqual(calls);
  });

  test('makes one change of two that ask for the same at the same time', async () => {
    const first = await runningChange();
    const again = ask(standDown('first'));
    first.release();
    expect(await again).toEqual(await first.result);
    expect(world.edge.reloads).toBe(1);
  });

  test('refuses an id that is not one of an edge', async () => {
    const workflowId = `${project}-edge-${world.name}`;
    await rig.start('edge', workflowId, []);
    await expect(rig.resultOf(workflowId)).rejects.toMatchObject({
      cause: { message: expect.stringContaining(workflowId) },
    });
  });
});

describe('certificates', () => {
  const certificate = (name: string): ObtainedCertificate => ({
    ...{ name, names: [name], key: 'ecdsa', serial: '1', sha256: `of ${name}` },
  });
  const brings = (...names: readonly string[]): EdgeChange => ({
    ...{ kind: 'certificates', id: names.join('+'), operation: 'renew', certificates: names.map(certificate) },
  });
  const installed = { a: 'of a', b: 'of b', c: 'of c' };

  test('that wait are installed together, with one reload', async () => {
    const first = await runningChange();
    const others = ['a', 'b', 'c'].map((name) => ask(brings(name)));
    await expect.poll(async () => (await queued()).toSorted()).toEqual(['a', 'b', 'c']);
    const { reloads } = world.edge;
    first.release();
    const results = await Promise.all(others);
    expect(results.map(({ id, outcome }) => [id, outcome])).toEqual(['a', 'b', 'c'].map((id) => [id, 'succeeded']));
    expect(world.edge.certificates).toEqual(installed);
    expect(world.edge.reloads).toBe(reloads + 1);
  });

  test('are installed one by one where one of them keeps all from being', async () => {
    const first = await runningChange();
    const others = ['a', 'bad', 'b', 'c'].map((name) => ask(brings(name)));
    await expect.poll(queued).toHaveLength(4);
    world.edge.refusedCertificates.add('bad');
    first.release();
    const results = await Promise.all(others);
    expect(results.map(({ outcome }) => outcome)).toEqual(['succeeded', 'failed', 'succeeded', 'succeeded']);
    expect(world.edge.certificates).toEqual(installed);
  });

  test('of which one is withdrawn while all are installed are installed without it', async () => {
    const first = await runningChange();
    const held = world.faults.hold('reloadEdge');
    const others = ['a', 'b', 'c', 'd'].map((name) => ask(brings(name)));
    await expect.poll(queued).toHaveLength(4);
    first.release();
    await held.reached;
    expect((await withdraw('d')).outcome).toBe('withdrawn');
    held.release();
    const results = await Promise.all(others);
    expect(results.map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded', 'succeeded', 'withdrawn']);
    expect(world.edge.certificates).toEqual(installed);
  });
});

describe('a withdrawal', () => {
  test('of a change that waits removes it', async () => {
    const first = await runningChange();
    const second = ask(standDown('second'));
    await expect.poll(queued).toEqual(['second']);
    expect(await withdraw('second')).toMatchObject({ outcome: 'withdrawn', changed: false });
    expect(await second).toMatchObject({ outcome: 'withdrawn' });
    first.release();
    await first.result;
    expect(world.faults.calls.filter((call) => call === 'readEdge')).toHaveLength(1);
  });

  test('of a change that runs answers when it is taken back', async () => {
    const before = world.edge.picture();
    const first = await runningChange();
    const takingBack = world.faults.hold('unstageConfig');
    let answered = false;
    const withdrawal = withdraw('first').finally(() => {
      answered = true;
    });
    await takingBack.reached;
    expect(answered).toBe(false);
    takingBack.release();
    expect(await withdrawal).toMatchObject({ outcome: 'withdrawn' });
    expect(await first.result).toEqual(await withdrawal);
    expect(world.edge.picture()).toEqual(before);
  });

  test('of a change that has ended answers how it ended', async () => {
    const result = await ask(standDown('first'));
    expect(await withdraw('first')).toEqual(result);
    expect(world.serves.standby).toBeNull();
  });

  test('of a change that nobody asked for yet is remembered: it is not made when it is asked for late', async () => {
    expect(await withdraw('late')).toMatchObject({ outcome: 'withdrawn' });
    expect(await ask(standDown('late'))).toMatchObject({ outcome: 'withdrawn', changed: false });
    expect(world.faults.calls).toEqual([]);
  });
});

describe('what makes no sense', () => {
  test('is refused before it enters the history', async () => {
    await ask(standDown('first'));
    const before = await accepted();
    const nonsense = [undefined, null, 5, 'x', {}];
    for (const argument of [...nonsense, { id: 'x' }, { id: 'x', operation: 'x', kind: 'explode' }]) {
      await expect(update('change', argument)).rejects.toMatchObject({
        cause: { message: expect.stringContaining('a change is') },
      });
    }
    for (const argument of nonsense) {
      await expect(update('withdraw', argument)).rejects.toMatchObject({
        cause: { message: expect.stringContaining('{ id }') },
      });
    }
    expect(await accepted()).toBe(before);
    expect(await ask(standDown('second'))).toMatchObject({ outcome: 'succeeded' });
  });

  const accepted = async () =>
    (await rig.eventsOf(edgeId())).filter((event) => event === 'workflowExecutionUpdateAcceptedEventAttributes').length;

  function update(name: string, argument: unknown): Promise<unknown> {
    return rig.client.workflow.executeUpdateWithStart<typeof edge, unknown, unknown[]>(name, {
      args: argument === undefined ? [] : [argument],
      updateId: randomUUID(),
      startWorkflowOperation: new WithStartWorkflowOperation<typeof edge>('edge', {
        workflowId: edgeId(),
        taskQueue: taskQueue(project),
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        args: [],
      }),
    });
  }
});

test('an edge that continues with what an earlier run handed over knows its answers, makes what waited, and numbers on', async () => {
  const ended = await ask(standDown('first'));
  await rig.client.workflow.getHandle(edgeId()).terminate();
  const carried: EdgeState = {
    number: 7,
    queue: [standDown('waited')],
    ended: { first: { result: ended, at: await rig.now() } },
  };
  await rig.start('edge', edgeId(), [carried]);
  expect(await ask(standDown('waited'))).toMatchObject({ outcome: 'succeeded' });
  expect(await ask(standDown('first'))).toEqual(ended);
  expect(await rig.eventsOf(edgeChangeWorkflowId(project, world.name, 8))).not.toEqual([]);
});
