import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { asRefusal } from '../../src/client/refusal.js';
import type { Accepted, OperationAnswer } from '../../src/domain/operation.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { holdStep } from './rig/steps.js';
import type { World } from './rig/world.js';

let rig: Rig;
let world: World;
let operator: Operator;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
beforeEach(() => {
  world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  operator = new Operator(rig, world);
});

/** An operation that is in the middle of its work, until `release` lets it go on. */
async function heldAt(step: string, begin: () => Promise<Accepted>) {
  const held = holdStep(world, step);
  const accepted = await begin();
  await held.reached;
  return { ...accepted, release: held.release };
}

const runningDeploy = (step = 'migrate backend') => heldAt(step, () => operator.deploy('ccccccc'));

/** A rollback to aaaaaaa, of which nothing is left: it is deployed again. */
function fullRollback() {
  world.instances.clear();
  return heldAt('startInstance web', () => operator.rollback());
}

const refused = (type: string, message?: RegExp) => ({
  cause: { type, ...(message ? { message: expect.stringMatching(message) } : {}) },
});

describe('the queue', () => {
  test('runs one operation at a time', async () => {
    const first = await runningDeploy();
    const second = await operator.deploy('ddddddd');
    expect(second).toMatchObject({ joined: false, position: 1 });
    expect(await operator.result(second.operation)).toEqual({ state: 'queued', position: 1 });
    const status = await operator.status();
    expect(status.operation).toMatchObject({ id: first.operation, kind: 'deploy', sha: 'ccccccc' });
    expect(status.queue).toEqual([{ id: second.operation, kind: 'deploy', sha: 'ddddddd' }]);
    first.release();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
    expect(await operator.ended(second)).toMatchObject({ outcome: 'succeeded' });
    expect(world.history.slice(0, 2)).toEqual(['blue ddddddd', 'green ccccccc']);
  });

  test('joins a deploy that runs when the same release is asked for with the same options', async () => {
    const first = await runningDeploy();
    expect(await operator.deploy('CCCCCCC', { by: 'bob', why: 'again' })).toEqual({
      operation: first.operation,
      joined: true,
      position: 0,
    });
    first.release();
    await operator.ended(first);
  });

  test('does not join a deploy that is being taken back because it was aborted, but the same one that waits behind it', async () => {
    const first = await runningDeploy('watchSoak');
    const takingBack = world.faults.hold('requestEdgeChange switch-back');
    await operator.abort({ operation: first.operation });
    await takingBack.reached;
    const second = await operator.deploy('ccccccc');
    expect(second).toMatchObject({ joined: false, position: 1 });
    expect(await operator.deploy('ccccccc')).toEqual({ operation: second.operation, joined: true, position: 1 });
    takingBack.release();
    first.release();
    expect(await operator.ended(second)).toMatchObject({ outcome: 'succeeded' });
  });

  test('does not join a deploy that is being taken back because it failed', async () => {
    world.faults.set('watchSoak', 'fails');
    const takingBack = world.faults.hold('requestEdgeChange switch-back');
    const first = await operator.deploy('ccccccc');
    await takingBack.reached;
    const second = await operator.deploy('ccccccc');
    expect(second).toMatchObject({ joined: false, position: 1 });
    world.faults.fix('watchSoak');
    takingBack.release();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'failed' });
    expect(await operator.ended(second)).toMatchObject({ outcome: 'succeeded' });
  });

  test('takes a request id for the same operation, running or ended, whatever else it says; one who joined has one too', async () => {
    const held = world.faults.hold('migrate backend');
    const first = await operator.deploy('ccccccc', { requestId: 'build-1' });
    await held.reached;
    const again = { operation: first.operation, joined: true, position: 0 };
    expect(await operator.deploy('ddddddd', { requestId: 'build-1' })).toEqual(again);
    expect(await operator.deploy('ccccccc', { requestId: 'build-2' })).toEqual(again);
    held.release();
    await operator.ended(first);
    expect(await operator.deploy('ccccccc', { requestId: 'build-1' })).toEqual(again);
    expect(await operator.deploy('eeeeeee', { requestId: 'build-2' })).toEqual(again);
  });

  test('takes the request id of a rollback that has ended for that one, and stops nothing', async () => {
    const rollback = await operator.rollback({ requestId: 'oops' });
    await operator.ended(rollback);
    const deploy = await runningDeploy();
    expect(await operator.rollback({ requestId: 'oops' })).toMatchObject({
      operation: rollback.operation,
      joined: true,
    });
    deploy.release();
    expect(await operator.ended(deploy)).toMatchObject({ outcome: 'succeeded' });
  });
});

describe('a switch', () => {
  test('goes to a color whose release stands in the history', async () => {
    const result = await operator.ended(await operator.switch({ color: 'green' }));
    expect(result).toMatchObject({ kind: 'switch', outcome: 'succeeded', changed: true, to: { sha: 'aaaaaaa' } });
    expect(world.serves).toEqual({ color: 'green', sha: 'aaaaaaa', standby: null });
  });

  test('is a dry run when that is asked for, and says the difference', async () => {
    const before = world.edge.picture();
    const result = await operator.ended(await operator.switch({ color: 'green', dryRun: true }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true, generation: null, diff: '-old\n+new\n' });
    expect(world.edge.picture()).toEqual(before);
  });

  test('is refused where the color holds a release that visitors were never given', async () => {
    world.faults.set('watchSoak', 'fails');
    await operator.ended(await operator.deploy('ccccccc'));
    const result = await operator.ended(await operator.switch({ color: 'green' }));
    expect(result).toMatchObject({ outcome: 'failed', code: 'switch-refused' });
    expect(world.serves.sha).toBe('bbbbbbb');
  });
});

describe('a rollback while a cleanup runs after a deploy that did not succeed', () => {
  /** blue serves bbbbbbb, and what is left of ccccccc on green is being removed. */
  async function cleaning() {
    world.faults.set('waitUntilUpOnEdge', 'fails');
    await operator.ended(await operator.deploy('ccccccc'));
    return await heldAt('removeInstance web', () => operator.cleanup());
  }

  test('has to name its release', async () => {
    const cleanup = await cleaning();
    await expect(operator.rollback()).rejects.toMatchObject(refused('rollback-refused', /serves bbbbbbb/));
    cleanup.release();
    await operator.ended(cleanup);
    expect(world.serves.sha).toBe('bbbbbbb');
  });

  test('is dropped as a signal', async () => {
    const cleanup = await cleaning();
    await operator.signal('rollback');
    expect(await operator.details()).toContain('signal rollback');
    cleanup.release();
    expect(await operator.ended(cleanup)).toMatchObject({ outcome: 'succeeded' });
    expect(world.serves.sha).toBe('bbbbbbb');
  });
});

describe('a rollback that is signalled', () => {
  /** Sends the signal, as often as asked, and waits until nothing runs any more. */
  async function rollBack(times = 1): Promise<void> {
    for (let time = 0; time < times; time += 1) await operator.signal('rollback');
  }

  async function untilIdle() {
    const runs = async () => {
      const { operation, queue, last } = await operator.status();
      return { operation, queue, last: last?.kind };
    };
    await expect
      .poll(runs, { interval: 20, timeout: 10_000 })
      .toEqual({ operation: null, queue: [], last: 'rollback' });
    return (await operator.status()).last;
  }

  test.each([
    { moment: 'while it drains', step: 'drainColor' },
    { moment: 'while instances start', step: 'startInstance web' },
    { moment: 'while the edge is asked for the switch', step: 'requestEdgeChange switch' },
    { moment: 'in its soak', step: 'watchSoak' },
  ])('takes a deploy back $moment', async ({ step }) => {
    const deploy = await runningDeploy(step);
    await rollBack();
    expect(await untilIdle()).toMatchObject({
      outcome: 'succeeded',
      changed: false,
      to: { color: 'blue', sha: 'bbbbbbb' },
    });
    expect(await operator.ended(deploy)).toMatchObject({ outcome: 'failed', code: 'rolled-back' });
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
  });

  test.each(['readEdge', 'verifyTraffic', 'recordColor'])(
    'takes a deploy back while the edge switches, in %s',
    async (step) => {
      const deploy = await runningDeploy('requestEdgeChange switch');
      const held = world.faults.hold(step);
      deploy.release();
      await held.reached;
      await rollBack();
      await expect.poll(() => world.faults.calls).toContain('withdrawEdgeChange switch');
      // The others stop by the withdrawal.
      if (step === 'recordColor') held.release();
      expect(await untilIdle()).toMatchObject({ outcome: 'succeeded', changed: false });
      expect(await operator.ended(deploy)).toMatchObject({ outcome: 'failed', code: 'rolled-back' });
      expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
    },
  );

  test('takes a deploy back that waits for approval', async () => {
    const deploy = await operator.deploy('ccccccc', { waitForApproval: true });
    await operator.untilItWaitsForApproval(deploy);
    await rollBack();
    await untilIdle();
    expect(await operator.ended(deploy)).toMatchObject({ outcome: 'failed', code: 'rolled-back' });
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
  });

  test('takes a deploy back and empties the queue, whose deploy ends superseded', async () => {
    const deploy = await runningDeploy();
    const waiting = await operator.deploy('ddddddd');
    await rollBack();
    const last = await untilIdle();
    const superseded = await operator.ended(waiting);
    expect(superseded).toMatchObject({ outcome: 'failed', code: 'superseded' });
    expect(superseded.message).toContain(last?.operation);
    expect(await operator.ended(deploy)).toMatchObject({ code: 'rolled-back' });
    expect(world.serves.sha).toBe('bbbbbbb');
  });

  test('leaves it at the release before where a deploy is being taken back already', async () => {
    world.faults.set('watchSoak', 'fails');
    const deploy = await runningDeploy('requestEdgeChange switch-back');
    await rollBack();
    deploy.release();
    await untilIdle();
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
  });

  test('while a switch changes nothing leaves the release that serves since a deploy did not succeed', async () => {
    world.faults.set('waitUntilUpOnEdge', 'fails');
    const deploy = await operator.ended(await operator.deploy('ccccccc'));
    const held = holdStep(world, 'planSwitch');
    await operator.switch({ color: 'blue' });
    await held.reached;
    await rollBack();
    held.release();
    const last = await untilIdle();
    expect(last).toMatchObject({ outcome: 'succeeded', changed: false, to: { color: 'blue', sha: 'bbbbbbb' } });
    expect(last?.message).toContain(deploy.operation);
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
    expect(await operator.status()).toMatchObject({ rollbackRefused: expect.stringContaining(deploy.operation) });
  });

  test('goes back to the release before when nothing runs', async () => {
    await operator.ended(await operator.deploy('ccccccc'));
    await rollBack();
    expect(await untilIdle()).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
    expect(world.history).toEqual(['blue bbbbbbb', 'green aaaaaaa']);
  });

  test('twice in a soak takes the deploy back, and goes no further', async () => {
    const deploy = await runningDeploy('watchSoak');
    await rollBack(2);
    await untilIdle();
    await operator.ended(deploy);
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
    expect(world.faults.calls).not.toContain('planRollback');
  });
});

describe('a rollback', () => {
  test('to a release that is named deploys it again where its instances are gone: no approval, soak or migration', async () => {
    world.needsApproval = true;
    world.instances.clear();
    const result = await operator.ended(await operator.rollback({ to: 'aaaaaaa' }));
    expect(result).toMatchObject({
      kind: 'rollback',
      outcome: 'succeeded',
      lost: [],
      to: { color: 'green', sha: 'aaaaaaa' },
    });
    expect(world.migrations).toEqual([]);
    expect(world.faults.calls).not.toContain('watchSoak');
    expect(world.faults.calls).toContain('startInstance web');
    expect(world.serves).toEqual({ color: 'green', sha: 'aaaaaaa', standby: null });
    expect(world.history).toEqual(['green aaaaaaa']);
  });

  test('from a release that was deployed anew goes back to how it was before', async () => {
    await operator.ended(await operator.deploy('bbbbbbb', { again: true }));
    expect(world.serves.color).toBe('green');
    const result = await operator.ended(await operator.rollback());
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.serves).toEqual({ color: 'blue', sha: 'bbbbbbb', standby: null });
  });

  test('to the release that is active changes nothing', async () => {
    const result = await operator.ended(await operator.rollback({ to: 'bbbbbbb' }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false });
    expect(world.edge.reloads).toBe(0);
  });

  test('fails where there is no release below the active one', async () => {
    await operator.ended(await operator.rollback());
    await operator.ended(await operator.deploy('ccccccc'));
    await operator.ended(await operator.rollback({ to: 'aaaaaaa' }));
    const result = await operator.ended(await operator.rollback({ full: true }));
    expect(result).toMatchObject({ outcome: 'failed', code: 'nothing-to-roll-back-to' });
  });

  test('is refused after a deploy that did not succeed, unless it names the release', async () => {
    world.faults.set('waitUntilUpOnEdge', 'fails');
    await operator.ended(await operator.deploy('ccccccc'));
    await expect(operator.rollback()).rejects.toMatchObject(refused('rollback-refused', /serves bbbbbbb.*--to/));
    expect((await operator.status()).rollbackRefused).toContain('bbbbbbb');
    await operator.signal('rollback');
    await expect.poll(() => operator.details()).toMatch(/signal rollback .* dropped: .*serves bbbbbbb/);
    expect(world.serves.sha).toBe('bbbbbbb');
    world.faults.fix('waitUntilUpOnEdge');
    expect(await operator.ended(await operator.rollback({ to: 'aaaaaaa' }))).toMatchObject({ outcome: 'succeeded' });
    expect(world.serves.sha).toBe('aaaaaaa');
  });
});

test('an operation that did not succeed fails its workflow, whose code Temporal shows', async () => {
  world.faults.set('waitUntilUpOnEdge', 'fails');
  const { operation } = await operator.deploy('ccccccc');
  const ended = await operator.ended({ operation });
  expect(ended).toMatchObject({ outcome: 'failed', code: 'broken' });
  expect(await rig.statusOf(operation)).toBe('FAILED');
  await expect(rig.client.workflow.getHandle(operation).result()).rejects.toMatchObject({
    cause: { type: 'broken', nonRetryable: true, details: [{ result: ended }] },
  });
});

describe('a second rollback', () => {
  test('after the first one has ended does nothing and says so, and what was refused in between changes nothing', async () => {
    const first = await operator.rollback();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded', changed: true });
    const { serves } = world;
    world.faults.set('pinRelease', 'fails');
    expect(await operator.ended(await operator.deploy('deadbee'))).toMatchObject({ outcome: 'failed', began: false });
    world.faults.fix('pinRelease');
    const second = await operator.rollback();
    expect(second).toMatchObject({ joined: false });
    expect(await operator.ended(second)).toMatchObject({
      ...{ outcome: 'succeeded', changed: false, began: false },
      message: expect.stringContaining(`already back: ${first.operation} has just given`),
    });
    expect(world.serves).toEqual(serves);
  });

  test('of a deploy that was refused goes back as if that had never been asked for', async () => {
    world.faults.set('pinRelease', 'fails');
    await operator.ended(await operator.deploy('deadbee'));
    expect((await operator.status()).rollbackRefused).toBe(null);
    expect(await operator.ended(await operator.rollback())).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.serves.sha).toBe('aaaaaaa');
  });

  test('does not join the first one while that is being taken back', async () => {
    const first = await fullRollback();
    const takingBack = world.faults.hold('markFailed');
    await operator.abort({ operation: first.operation });
    await takingBack.reached;
    const second = await operator.rollback();
    expect(second).toMatchObject({ joined: false, position: 1 });
    takingBack.release();
    first.release();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect(await operator.ended(second)).toMatchObject({ outcome: 'succeeded' });
    expect(world.serves.sha).toBe('aaaaaaa');
  });

  test('joins the first one where it is to do the same, and else goes before what waits', async () => {
    const first = await fullRollback();
    expect(await operator.rollback()).toMatchObject({ operation: first.operation, joined: true });
    const full = await operator.rollback({ full: true });
    expect(full).toMatchObject({ joined: false, position: 1 });
    first.release();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
    await operator.ended(full);
  });
});

describe('approve and abort', () => {
  test('typed twice say that nothing is done', async () => {
    const { operation } = await runningDeploy();
    expect(await operator.approve()).not.toHaveProperty('already');
    expect(await operator.approve()).toMatchObject({ operation, already: true });
    expect(await operator.abort()).not.toHaveProperty('already');
    expect(await operator.abort()).toMatchObject({ operation, already: true });
  });

  test('of an operation that waits removes it', async () => {
    const first = await runningDeploy();
    const second = await operator.deploy('ddddddd');
    expect(await operator.abort({ operation: second.operation })).toMatchObject({ operation: second.operation });
    expect(await operator.ended(second)).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect((await operator.status()).queue).toEqual([]);
    first.release();
    expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
  });

  test('without the name of an operation act on the one that runs', async () => {
    await runningDeploy();
    await operator.abort();
    await expect.poll(async () => (await operator.status()).last).toMatchObject({ code: 'aborted' });
  });

  test.each(['approve', 'abort'] as const)(
    '%s is refused when nothing runs, and when another operation runs',
    async (name) => {
      await operator.ended(await operator.switch({ color: 'blue' }));
      await expect(operator[name]()).rejects.toMatchObject(refused('nothing-to-steer', /nothing runs/));
      const first = await runningDeploy();
      const stale = { operation: `demo/${world.name}/deploy/99` };
      await expect(operator[name](stale)).rejects.toMatchObject(refused('nothing-to-steer', /deploy\/99 does not run/));
      first.release();
      expect(await operator.ended(first)).toMatchObject({ outcome: 'succeeded' });
    },
  );

  test.each(['approve', 'abort'] as const)(
    '%s as a signal that makes no sense is dropped, said, and kept for nobody',
    async (name) => {
      await operator.ended(await operator.switch({ color: 'blue' }));
      await operator.signal(name);
      await expect.poll(() => operator.details()).toMatch(new RegExp(`signal ${name} .* was dropped: nothing runs`));
      const { operation } = await operator.deploy('ccccccc', { waitForApproval: true });
      await operator.untilItWaitsForApproval({ operation });
      await operator.approve({ operation });
      expect(await operator.ended({ operation })).toMatchObject({ outcome: 'succeeded' });
    },
  );
});

describe('whoever asks', () => {
  test('about an environment that is not in bascule.yaml is refused, and its workflow ends', async () => {
    world.isKnown = false;
    await expect(operator.deploy('ccccccc')).rejects.toMatchObject({
      cause: { type: 'unknown-environment', details: [{ remedy: 'It has: prod, staging.' }] },
    });
    await expect.poll(() => rig.statusOf(operator.environmentId)).toBe('COMPLETED');
  });

  test('for what makes no sense is refused before that enters the history', async () => {
    await operator.ended(await operator.switch({ color: 'blue' }));
    const before = await accepted();
    const refusals: readonly (readonly [string, unknown, string])[] = [
      ['deploy', { sha: 'main' }, 'bad-sha'],
      ['deploy', { sha: '../../../etc' }, 'bad-sha'],
      ['deploy', { sha: 'a1a1a1a1/../..' }, 'bad-sha'],
      ['deploy', { sha: 'abc' }, 'bad-sha'],
      ['deploy', {}, 'bad-sha'],
      ['deploy', undefined, 'bad-sha'],
      ['deploy', null, 'bad-sha'],
      ['deploy', { sha: 'ccccccc', soakMs: -1 }, 'usage'],
      ['deploy', { sha: 'ccccccc', drainMs: '5m' }, 'usage'],
      ['switch', { color: 'red' }, 'usage'],
      ['switch', undefined, 'usage'],
      ['rollback', { to: 'main' }, 'bad-sha'],
      ['rollback', { to: 5 }, 'bad-sha'],
      ['rollback', null, 'usage'],
      ['rollback', 'x', 'usage'],
      ['approve', null, 'usage'],
      ['abort', 5, 'usage'],
      ['deploy', { sha: 'ccccccc', soka: 5 }, 'unknown-field'],
      ['switch', { color: 'blue', dry: true }, 'unknown-field'],
      ['rollback', { too: 'ccccccc' }, 'unknown-field'],
      ['cleanup', { all: true }, 'unknown-field'],
      ['cleanup', { standby: 'yes' }, 'usage'],
      ['cleanup', 'everything', 'usage'],
      ['wait', undefined, 'usage'],
      ['wait', null, 'usage'],
      ['wait', {}, 'usage'],
    ];
    for (const [name, argument, type] of refusals) {
      const asked = operator.update(name, argument);
      await expect(asked, `${name} ${JSON.stringify(argument)}`).rejects.toMatchObject(refused(type));
    }
    expect(await accepted()).toBe(before);
  });

  test('that this version does not know says that versions may differ', async () => {
    await operator.ended(await operator.switch({ color: 'blue' }));
    const error = asRefusal(await operator.update('failover', {}).catch((reason: unknown) => reason));
    expect(error).toMatchObject({ code: 'unknown-request', remedy: expect.stringContaining('different versions') });
  });

  test('with a signal of nonsense harms nothing', async () => {
    await operator.ended(await operator.switch({ color: 'blue' }));
    for (const name of ['rollback', 'approve', 'abort'] as const) {
      for (const nonsense of [null, 5, { to: 5, operation: 5 }]) await operator.signal(name, nonsense);
      await expect.poll(() => operator.details()).toContain(`signal ${name}`);
    }
    expect(await operator.ended(await operator.deploy('ccccccc'))).toMatchObject({ outcome: 'succeeded' });
  });

  test('waits, and is answered the result', async () => {
    const { operation, release } = await runningDeploy();
    const waiting = operator.update<OperationAnswer>('wait', { operation });
    release();
    expect(await waiting).toMatchObject({ state: 'ended', result: { operation, outcome: 'succeeded' } });
    expect(await operator.update('wait', { operation })).toEqual(await waiting);
    expect(await operator.result(operation)).toEqual(await waiting);
    // At once, if nobody knows the operation.
    expect(await operator.update('wait', { operation: 'demo/x/deploy/9' })).toEqual({ state: 'unknown' });
  });

  test('sees the steps in the details of the workflow, and the outcome of the last operation', async () => {
    const accepted = await operator.deploy('ccccccc');
    await operator.ended(accepted);
    expect(await operator.details()).toMatch(/^idle\s+last: .*deploy\/1 succeeded: .* serves ccccccc/);
  });

  const accepted = async () =>
    (await rig.eventsOf(operator.environmentId)).filter(
      (event) => event === 'workflowExecutionUpdateAcceptedEventAttributes',
    ).length;
});

test('an environment that was terminated and started anew gives old ids to new operations, which are made all the same', async () => {
  expect(await operator.ended(await operator.deploy('ccccccc'))).toMatchObject({ outcome: 'succeeded' });
  await rig.client.workflow.getHandle(operator.environmentId).terminate();
  const again = await operator.deploy('ddddddd');
  expect(again.operation).toMatch(/deploy\/1$/);
  expect(await operator.ended(again)).toMatchObject({ outcome: 'succeeded' });
  expect(world.serves.sha).toBe('ddddddd');
});
