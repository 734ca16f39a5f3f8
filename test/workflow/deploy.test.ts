import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { edgeWorkflowId } from '../../src/domain/names.js';
import { operationCalls } from './rig/edge-world.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { deploySteps } from './rig/steps.js';
import { project, type World } from './rig/world.js';

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

const asBefore = { color: 'blue', sha: 'bbbbbbb', standby: 'aaaaaaa' };
const withoutStandby = { ...asBefore, standby: null };
const lostStandby = 'the standby aaaaaaa on green';

/** What the deploy asked for, without the steps of the edge's changes; steps that run together in a fixed order. */
function callsOfDeploy(): readonly string[] {
  const placeOf = (call: string): number => deploySteps.findIndex((steps) => steps.includes(call));
  const calls = operationCalls(world);
  return calls.toSorted((a, b) => {
    const isTogether = placeOf(a) >= 0 && placeOf(a) === placeOf(b);
    return isTogether ? a.localeCompare(b) : calls.indexOf(a) - calls.indexOf(b);
  });
}

describe('a deploy', () => {
  test('stands down, drains, recreates, migrates, starts, switches and soaks, in that order', async () => {
    const accepted = await operator.deploy('ccccccc');
    expect(accepted).toMatchObject({ joined: false, position: 0 });
    const result = await operator.ended(accepted);
    expect(callsOfDeploy()).toEqual(deploySteps.flat());
    expect(result).toMatchObject({
      operation: accepted.operation,
      environment: world.name,
      kind: 'deploy',
      sha: 'ccccccc',
      outcome: 'succeeded',
      code: null,
      from: { color: 'blue', sha: 'bbbbbbb' },
      to: { color: 'green', sha: 'ccccccc' },
      generation: world.edge.running.generation,
      lost: [],
    });
    expect(result.components.map(({ name, instance }) => [name, instance])).toEqual([
      ['backend', 'backend-green'],
      ['web', 'web-green'],
    ]);
    expect(world.serves).toEqual({ color: 'green', sha: 'ccccccc', standby: 'bbbbbbb' });
    expect(world.history).toEqual(['green ccccccc', 'blue bbbbbbb', 'green aaaaaaa']);
    // One component after the other.
    expect(world.migrations).toEqual(['backend begins', 'backend ends', 'web begins', 'web ends']);
  });

  test('leaves nobody a standby to fall back to while it recreates the instances', async () => {
    const held = world.faults.hold('recreateInstance web');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    expect(world.serves).toEqual(withoutStandby);
    held.release();
    await operator.ended(accepted);
  });

  test('the very first one goes to green, with no wait for a drain', async () => {
    const fresh = rig.newWorld();
    const firstTime = new Operator(rig, fresh);
    const result = await firstTime.ended(await firstTime.deploy('ccccccc'));
    expect(result).toMatchObject({ outcome: 'succeeded', from: { color: 'blue', sha: null }, to: { color: 'green' } });
    expect(fresh.faults.calls).not.toContain('drainColor');
    expect(result.steps.find((step) => step.name === 'drain')?.outcome).toBe('skipped');
    expect(fresh.serves).toEqual({ color: 'green', sha: 'ccccccc', standby: null });
  });

  test('the very first one that fails in its soak gives visitors the 503 of before', async () => {
    const fresh = rig.newWorld();
    const firstTime = new Operator(rig, fresh);
    fresh.faults.set('watchSoak', 'fails');
    const result = await firstTime.ended(await firstTime.deploy('ccccccc', { soakMs: 60_000 }));
    expect(result).toMatchObject({
      outcome: 'failed',
      code: 'broken',
      lost: expect.not.arrayContaining([lostStandby]),
    });
    expect(fresh.serves).toEqual({ color: 'blue', sha: null, standby: null });
    expect(fresh.history).toEqual([]);
  });

  test('the very first one has no soak but where it asks for one, since there is nothing to go back to', async () => {
    const fresh = rig.newWorld();
    const firstTime = new Operator(rig, fresh);
    const { steps } = await firstTime.ended(await firstTime.deploy('ccccccc'));
    expect(steps.find(({ name }) => name === 'soak')).toMatchObject({
      ...{ outcome: 'skipped', note: 'a first release has none to go back to' },
    });
    expect(fresh.faults.calls).not.toContain('watchSoak');
  });

  test('of a release that is active already changes nothing', async () => {
    world.isActiveAlready = true;
    const result = await operator.ended(await operator.deploy('bbbbbbb'));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false, to: asBefore.color && { color: 'blue' } });
    expect(callsOfDeploy()).toEqual(['pinRelease']);
    expect(world.serves).toEqual(asBefore);
  });

  test('of a release that is active already, asked for again, deploys it anew', async () => {
    world.isActiveAlready = true;
    const result = await operator.ended(await operator.deploy('bbbbbbb', { again: true }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.serves).toEqual({ color: 'green', sha: 'bbbbbbb', standby: 'bbbbbbb' });
  });

  test('does not migrate where that is to be skipped', async () => {
    const result = await operator.ended(await operator.deploy('ccccccc', { skipMigrate: true }));
    expect(result.outcome).toBe('succeeded');
    expect(world.migrations).toEqual([]);
  });

  test('does not soak for no time', async () => {
    const result = await operator.ended(await operator.deploy('ccccccc', { soakMs: 0 }));
    expect(result.outcome).toBe('succeeded');
    expect(callsOfDeploy()).not.toContain('watchSoak');
  });

  test('that is started by hand refuses, and says how it is started', async () => {
    const workflowId = `demo/${world.name}/deploy/1`;
    const request = { sha: 'ccccccc' };
    await rig.start('deploy', workflowId, [
      { project: 'demo', environment: world.name, operation: workflowId, request },
    ]);
    await expect(rig.resultOf(workflowId)).rejects.toMatchObject({
      cause: { type: 'started-by-hand', message: expect.stringContaining('bascule deploy') },
    });
    expect(world.faults.calls).toEqual([]);
  });
});

describe('a deploy that fails', () => {
  test('on the edge, in the switch: the edge takes it back, and its reason is the reason', async () => {
    const held = world.faults.hold('requestEdgeChange switch');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    world.faults.set('verifyTraffic', 'fails');
    held.release();
    const result = await operator.ended(accepted);
    expect(result).toMatchObject({ outcome: 'failed', code: 'broken', message: 'verifyTraffic is broken' });
    expect(world.serves).toEqual(withoutStandby);
  });

  test('in one of two components: the other one has stopped before anything is taken back', async () => {
    const held = world.faults.hold('startInstance backend', { ignoresCancellation: true });
    const failing = world.faults.hold('startInstance web');
    world.faults.set('startInstance web', 'fails');
    const accepted = await operator.deploy('ccccccc');
    await Promise.all([held.reached, failing.reached]);
    failing.release();
    await expect.poll(() => rig.eventsOf(accepted.operation)).toContain('activityTaskCancelRequestedEventAttributes');
    held.release();
    await operator.ended(accepted);
    expect(world.faults.calls.slice(-2)).toEqual(['startInstance backend goes on', 'markFailed']);
  });
});

describe('a deploy that is aborted', () => {
  test('while the edge switches: the edge has taken the switch back before anything else is', async () => {
    const { operation, held } = await deployUntilEdgeIsIn('verifyTraffic');
    await operator.abort({ operation });
    const result = await operator.ended({ operation });
    expect(result).toMatchObject({ outcome: 'failed', code: 'aborted' });
    const { calls } = world.faults;
    expect(calls.slice(calls.lastIndexOf('verifyTraffic'))).toEqual([
      'verifyTraffic',
      'withdrawEdgeChange switch',
      ...['restoreConfig', 'reloadRestored', 'unstageConfig'],
      'withdrawEdgeChange switch',
      'markFailed',
    ]);
    expect(world.serves).toEqual(withoutStandby);
    held.release();
  });

  test.each([0, 60_000])(
    'while the edge records the switch, with a soak of %i ms: is switched back',
    async (soakMs) => {
      const { operation, held } = await deployUntilEdgeIsIn('recordColor', soakMs);
      await operator.abort({ operation });
      await expect.poll(() => world.faults.calls).toContain('withdrawEdgeChange switch');
      held.release();
      const result = await operator.ended({ operation });
      expect(result).toMatchObject({ outcome: 'failed', code: 'aborted' });
      expect(callsOfDeploy()).toContain('requestEdgeChange switch-back');
      expect(callsOfDeploy()).not.toContain('watchSoak');
      expect(world.serves).toEqual(withoutStandby);
    },
  );

  test('in its soak, when the edge has forgotten the switch: is switched back all the same', async () => {
    const held = world.faults.hold('watchSoak');
    const { operation } = await operator.deploy('ccccccc');
    await held.reached;
    await rig.client.workflow.getHandle(edgeWorkflowId(project, world.name)).terminate();
    await operator.abort({ operation });
    expect(await operator.ended({ operation })).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect(callsOfDeploy()).toContain('requestEdgeChange switch-back');
    expect(world.serves).toEqual(withoutStandby);
    held.release();
  });

  test("by cancelling its workflow in Temporal's UI: is taken back too", async () => {
    const held = world.faults.hold('watchSoak');
    const { operation } = await operator.deploy('ccccccc');
    await held.reached;
    await rig.client.workflow.getHandle(operation).cancel();
    expect(await operator.ended({ operation })).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect(world.serves).toEqual(withoutStandby);
  });

  async function deployUntilEdgeIsIn(step: string, soakMs = 60_000) {
    const asking = world.faults.hold('requestEdgeChange switch');
    const { operation } = await operator.deploy('ccccccc', { soakMs });
    await asking.reached;
    const held = world.faults.hold(step);
    asking.release();
    await held.reached;
    return { operation, held };
  }
});

describe('approval', () => {
  test('is waited for where the environment asks for it, and then the switch is made', async () => {
    world.needsApproval = true;
    const { operation } = await operator.deploy('ccccccc');
    await operator.untilItWaitsForApproval({ operation });
    expect(world.serves.sha).toBe('bbbbbbb');
    await operator.approve({ operation, by: 'alice' });
    expect(await operator.ended({ operation })).toMatchObject({ outcome: 'succeeded' });
  });

  test.each([
    { asked: 'the flag', needsApproval: false, waitForApproval: true },
    { asked: 'the environment, whatever the flag says', needsApproval: true, waitForApproval: false },
  ])('is asked for by $asked', async ({ needsApproval, waitForApproval }) => {
    world.needsApproval = needsApproval;
    const { operation } = await operator.deploy('ccccccc', { waitForApproval });
    await operator.untilItWaitsForApproval({ operation });
    await operator.signal('approve');
    expect(await operator.ended({ operation })).toMatchObject({ outcome: 'succeeded' });
  });

  test('that is waited for can be aborted', async () => {
    const { operation } = await operator.deploy('ccccccc', { waitForApproval: true });
    await operator.untilItWaitsForApproval({ operation });
    await operator.abort({ operation });
    expect(await operator.ended({ operation })).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect(world.serves).toEqual(withoutStandby);
  });
});
