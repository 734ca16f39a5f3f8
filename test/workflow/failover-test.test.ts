import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { failoverSteps } from './rig/failover-world.js';
import type { Fault } from './rig/faults.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

function begin(faults: Readonly<Record<string, Fault>> = {}) {
  const world = rig.newWorld();
  for (const [step, fault] of Object.entries(faults)) world.faults.set(step, fault);
  return { world, operator: new Operator(rig, world) };
}

async function run(faults: Readonly<Record<string, Fault>> = {}) {
  const { world, operator } = begin(faults);
  const result = await operator.waitedFor(await operator.failoverTest({ component: 'backend' }));
  const calls = world.faults.calls.filter((call) => call !== 'knownEnvironments');
  return { world, result, calls };
}

const broken = (step: string) => ({ code: 'broken', message: `${step} is broken`, remedy: `fix ${step}` });
/** Those in which the instance may be down. */
const stopped = failoverSteps.slice(failoverSteps.indexOf('stopByForce'), failoverSteps.indexOf('startAgain'));

describe.concurrent('a failover test', () => {
  test('stops an instance, visits the others, starts it again, and says what it saw when', async () => {
    const { world, result, calls } = await run();
    expect(result).toMatchObject({
      kind: 'failover-test',
      outcome: 'succeeded',
      code: null,
      lost: [],
      generation: null,
    });
    expect(result.message).toBe(
      `backend of ${world.name} was served while backend-1 was down: DOWN after 1.5 s, UP 2.5 s after its start`,
    );
    expect(result.failover).toMatchObject({
      ...{ component: 'backend', instance: 'backend-1', others: ['backend-2'], expectedDownMs: 6_000 },
      ...{ downAfterMs: 1_500, upAfterMs: 2_500 },
    });
    expect([result.failover?.before.length, result.failover?.meanwhile.length]).toEqual([5, 5]);
    expect(calls).toEqual(failoverSteps);
  });

  test('succeeds where each of its steps fails once', async () => {
    const { world, result } = await run(Object.fromEntries(failoverSteps.map((step) => [step, 'fails once'])));
    expect(result.outcome).toBe('succeeded');
    expect(world.failover.state).toBe('UP');
  });

  test.each(failoverSteps)('in which %s fails says so, and leaves no instance stopped', async (step) => {
    const { world, result, calls } = await run({ [step]: step === 'startAgain' ? 'fails after its effect' : 'fails' });
    if (step === 'startAgain') {
      // It can't be started again either.
      expect(result).toMatchObject({ outcome: 'needs-operator' });
      return;
    }
    expect(result).toMatchObject({ outcome: 'failed', ...broken(step) });
    expect(['UP', 'started']).toContain(world.failover.state);
    const isStopped = failoverSteps.indexOf(step) >= failoverSteps.indexOf('stopByForce');
    expect(calls.includes('startAgain')).toBe(isStopped);
  });

  test('that is aborted while the instance is down starts it again', async () => {
    for (const step of stopped.slice(1)) {
      const { world, operator } = begin();
      const reached = new Promise<void>((resolve) => void world.faults.hold(step).reached.then(resolve));
      const accepted = await operator.failoverTest({ component: 'backend' });
      await reached;
      await operator.abort({ why: 'enough' });
      expect(await operator.waitedFor(accepted)).toMatchObject({ code: 'aborted', message: 'aborted: enough' });
      expect(world.failover.state).toBe('started');
    }
  });

  test('fails where visitors are not served meanwhile, and keeps what it saw', async () => {
    const { world, operator } = begin();
    world.failover.isServedMeanwhile = false;
    const result = await operator.waitedFor(await operator.failoverTest({ component: 'backend' }));
    expect(result).toMatchObject({ outcome: 'failed', code: 'failover-not-served' });
    expect(result.message).toBe(
      '5 of 5 requests to backend were not served while backend-1 was down: 503, 503, 503, 503, 503',
    );
    expect(result.failover?.meanwhile).toHaveLength(5);
    expect(world.failover.state).toBe('started');
  });

  test('gives way to a rollback', async () => {
    const { world, operator } = begin();
    world.holds('aaaaaaa', 'bbbbbbb');
    const held = world.faults.hold('waitUntilDown');
    const accepted = await operator.failoverTest({ component: 'backend' });
    await held.reached;
    const rollback = await operator.rollback();
    expect(await operator.waitedFor(accepted)).toMatchObject({ code: 'aborted', message: /a rollback goes first/ });
    expect(world.failover.state).toBe('started');
    expect(await operator.waitedFor(rollback)).toMatchObject({ outcome: 'succeeded' });
  });

  test('waits behind a deploy, and is refused where it makes no sense', async () => {
    const { world, operator } = begin();
    const held = world.faults.hold('pinRelease');
    const deploy = await operator.deploy('ccccccc');
    await held.reached;
    const accepted = await operator.failoverTest({ component: 'backend' });
    expect(accepted.position).toBe(1);
    held.release();
    await operator.waitedFor(deploy);
    expect(await operator.waitedFor(accepted)).toMatchObject({ outcome: 'succeeded' });
    for (const [request, type] of [
      [{}, 'usage'],
      [{ component: 'backend', instance: 1 }, 'usage'],
      [{ component: 'backend', yes: 'yes' }, 'usage'],
      [{ component: 'backend', force: true }, 'unknown-field'],
    ] as const) {
      await expect(operator.update('failover-test', request)).rejects.toMatchObject({ cause: { type } });
    }
  });
});

describe.concurrent('a failover test that a Schedule starts', () => {
  const start = async (faults: Readonly<Record<string, Fault>> = {}) => {
    const { world } = begin(faults);
    const id = `demo/apply/${world.name}`;
    await rig.start('scheduledFailoverTest', id, [{ environment: world.name, component: 'backend' }]);
    return rig.resultInRealTime<OperationResult>(id);
  };

  test('is one of the environment, and answers its result', async () => {
    expect(await start()).toMatchObject({ kind: 'failover-test', outcome: 'succeeded' });
  });

  test('has failed where the test has', async () => {
    await expect(start({ waitUntilDown: 'fails' })).rejects.toMatchObject({ cause: { type: 'broken' } });
  });
});
