import { afterAll, beforeAll, expect, test } from 'vitest';
import { followOperation } from '../../src/client/follow.js';
import type { Accepted, OperationAnswer } from '../../src/domain/operation.js';
import { isWhole } from '../rig/tier.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRigWithLimits } from './rig/rig.js';
import { project, type World } from './rig/world.js';

// On Temporal's dev server, which has the limits of a real one: ten Updates at a time, 2000 in one run.

let rig: Rig;
beforeAll(async () => {
  rig = await startRigWithLimits();
});
afterAll(() => rig.stop());

/** An environment whose first deploy stands still in the middle, and who asks it. */
async function startBusy(): Promise<{ world: World; operator: Operator; first: Accepted; release(): void }> {
  const world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  const operator = new Operator(rig, world);
  const held = world.faults.hold('migrate backend');
  const first = await operator.deploy('ccccccc');
  await held.reached;
  return { world, operator, first, release: () => held.release() };
}

/** Asks for all, ten at a time: more of them Temporal refuses, and clients ask again a second later. */
async function tenAtATime<T, Answer>(all: readonly T[], ask: (one: T) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let begin = 0; begin < all.length; begin += 10) {
    answers.push(...(await Promise.all(all.slice(begin, begin + 10).map(ask))));
  }
  return answers;
}

const historyLength = async ({ environmentId }: Operator): Promise<number> =>
  (await rig.client.workflow.getHandle(environmentId).describe()).historyLength;

const many = isWhole ? 200 : 60;

test(`of ${many} deploys the newest follows the one that runs; each other one ends naming what took its place`, async () => {
  const { world, operator, first, release } = await startBusy();
  const shas = Array.from({ length: many }, (_, index) => `ddd${String(index).padStart(5, '0')}`);
  const ask = (sha: string) => operator.deploy(sha, { requestId: `build ${sha}`, soakMs: 0 });
  const accepted = await tenAtATime(shas, ask);
  expect(new Set(accepted.map(({ operation }) => operation)).size).toBe(many);
  const numberOf = ({ operation }: Accepted) => Number(operation.split('/').at(-1));
  const inOrder = accepted.toSorted((a, b) => numberOf(a) - numberOf(b));
  const last = inOrder.at(-1);
  expect((await operator.status()).queue.map(({ id }) => id)).toEqual([last?.operation]);

  const again = await tenAtATime(shas.slice(0, 20), ask);
  expect(again.map(({ operation }) => operation)).toEqual(accepted.slice(0, 20).map(({ operation }) => operation));

  release();
  expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
  const results = await tenAtATime(inOrder, operator.ended);
  for (const [index, result] of results.slice(0, -1).entries()) {
    expect(result).toMatchObject({ outcome: 'failed', code: 'superseded' });
    expect(result.message).toContain(`${inOrder[index + 1]?.operation} took its place`);
  }
  expect(results.at(-1)).toMatchObject({ outcome: 'succeeded', operation: last?.operation });
  expect(world.serves.sha).toBe(results.at(-1)?.sha);
  expect(world.history[0]).toContain(results.at(-1)?.sha);
  // Five events a request and less: Temporal warns at 10240, and ends a workflow with 51200.
  expect(await historyLength(operator)).toBeLessThan(many * 7.5);
});

test('twenty who follow a deploy to its end leave nothing in the history of its environment', async () => {
  const { world, operator, first, release } = await startBusy();
  const before = await historyLength(operator);
  const seen = new Set<number>();
  const results = Array.from({ length: 20 }, (_, index) =>
    followOperation(rig.client, { project, environment: world.name }, first.operation, {
      onSight: () => void seen.add(index),
      signal: AbortSignal.timeout(50_000),
    }),
  );
  await expect.poll(() => seen.size, { timeout: 20_000 }).toBe(20);
  expect(await historyLength(operator)).toBe(before);
  release();
  for (const result of await Promise.all(results)) {
    expect(result).toMatchObject({ operation: first.operation, outcome: 'succeeded' });
  }
});

test('however many wait by an Update, an abort is taken', async () => {
  const { operator, first, release } = await startBusy();
  const refusals: unknown[] = [];
  const waiting = Array.from({ length: 12 }, async () => {
    try {
      return await operator.update<OperationAnswer>('wait', first);
    } catch (error) {
      refusals.push(error);
      return null;
    }
  });
  await expect.poll(() => refusals.length, { timeout: 15_000 }).toBe(7);
  expect(refusals[0]).toMatchObject({ cause: { type: 'too-many-wait' } });
  await operator.abort({ why: 'enough' });
  release();
  expect(await operator.ended(first)).toMatchObject({ code: 'aborted' });
  // None was answered before, that it still runs: nobody had to make room.
  const answers = (await Promise.all(waiting)).filter((answer) => answer !== null);
  expect(answers.map(({ state }) => state)).toEqual(Array.from({ length: 5 }, () => 'ended'));
});

test('a deploy that is asked for without end is refused before Temporal takes no abort any more', async () => {
  const { operator, first, release } = await startBusy();
  const asked = await tenAtATime(
    Array.from({ length: 510 }, () => 'ccccccc'),
    async (sha) => {
      try {
        return await operator.deploy(sha);
      } catch (error) {
        return error;
      }
    },
  );
  const refusals = asked.filter((one) => one instanceof Error);
  // The one that runs was the first of 500.
  expect(asked.length - refusals.length).toBe(499);
  for (const refusal of refusals) expect(refusal).toMatchObject({ cause: { type: 'too-many-requests' } });
  expect(await operator.abort()).toMatchObject({ operation: first.operation });
  release();
  expect(await operator.ended(first)).toMatchObject({ code: 'aborted' });
  expect(await historyLength(operator)).toBeLessThan(3_000);
});
