import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { edgeWorkflowId } from '../../src/domain/names.js';
import { edgeActivityNames } from './rig/edge-world.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { holdStep, story } from './rig/steps.js';
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
const lostMigration = (component: string) => `the migration of ${component} ran and is not taken back`;

/** What the operations asked for, without the steps of the edge changes; in a fixed order where the story has none. */
function told(): readonly string[] {
  const places = story.flatMap((steps, place) => steps.map((step) => [step, place] as const));
  const placeOf = new Map<string, number>(places);
  const calls = world.faults.calls.filter((call) => !edgeActivityNames.some((name) => call.startsWith(name)));
  const steps = calls.filter((call) => call !== 'knownEnvironments');
  return steps
    .map((step, index) => ({ step, index }))
    .sort((a, b) => {
      const isTogether = placeOf.has(a.step) && placeOf.get(a.step) === placeOf.get(b.step);
      return isTogether ? a.step.localeCompare(b.step) : a.index - b.index;
    })
    .map(({ step }) => step);
}

describe('a deploy', () => {
  test('stands down, drains, recreates, migrates, starts, switches and soaks, in that order', async () => {
    const accepted = await operator.deploy('ccccccc');
    expect(accepted).toMatchObject({ joined: false, position: 0 });
    const result = await operator.ended(accepted);
    expect(told()).toEqual(story.flat());
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
    const result = await firstTime.ended(await firstTime.deploy('ccccccc'));
    expect(result).toMatchObject({
      outcome: 'failed',
      code: 'broken',
      lost: expect.not.arrayContaining([lostStandby]),
    });
    expect(fresh.serves).toEqual({ color: 'blue', sha: null, standby: null });
    expect(fresh.history).toEqual([]);
  });

  test('of a release that is active already changes nothing', async () => {
    world.isActiveAlready = true;
    const result = await operator.ended(await operator.deploy('bbbbbbb'));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false, to: asBefore.color && { color: 'blue' } });
    expect(told()).toEqual(['pinRelease']);
    expect(world.serves).toEqual(asBefore);
  });

  test('of a release that is active already, asked for again, deploys it anew', async () => {
    world.isActiveAlready = true;
    const result = await operator.ended(await operator.deploy('bbbbbbb', { again: true }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.serves).toEqual({ color: 'green', sha: 'bbbbbbb', standby: 'bbbbbbb' });
  });

  test('migrates one component after the other', async () => {
    await operator.ended(await operator.deploy('ccccccc'));
    expect(world.migrations).toEqual(['backend begins', 'backend ends', 'web begins', 'web ends']);
  });

  test('does not migrate where that is to be skipped', async () => {
    const result = await operator.ended(await operator.deploy('ccccccc', { skipMigrate: true }));
    expect(result.outcome).toBe('succeeded');
    expect(world.migrations).toEqual([]);
  });

  test('does not soak for no time', async () => {
    const result = await operator.ended(await operator.deploy('ccccccc', { soakMs: 0 }));
    expect(result.outcome).toBe('succeeded');
    expect(told()).not.toContain('watchSoak');
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

/** A step where a deploy can end, and what is left then. */
interface Stop {
  readonly step: string;
  readonly takenBackBy: readonly string[];
  readonly lost: readonly string[];
  readonly serves: typeof asBefore | typeof withoutStandby;
  /** State of the instances of green. */
  readonly green: 'running aaaaaaa' | 'failed ccccccc' | 'one of each';
}

const stops: readonly Stop[] = [
  { step: 'pinRelease', takenBackBy: [], lost: [], serves: asBefore, green: 'running aaaaaaa' },
  {
    step: 'requestEdgeChange stand-down',
    takenBackBy: ['withdrawEdgeChange stand-down'],
    lost: [],
    serves: asBefore,
    green: 'running aaaaaaa',
  },
  { step: 'drainColor', takenBackBy: [], lost: [lostStandby], serves: withoutStandby, green: 'running aaaaaaa' },
  { step: 'fetchArtifact web', takenBackBy: [], lost: [lostStandby], serves: withoutStandby, green: 'running aaaaaaa' },
  {
    step: 'recreateInstance web',
    takenBackBy: ['markFailed'],
    lost: [lostStandby],
    serves: withoutStandby,
    green: 'one of each',
  },
  {
    step: 'migrate backend',
    takenBackBy: ['markFailed'],
    lost: [lostStandby, lostMigration('backend')],
    serves: withoutStandby,
    green: 'failed ccccccc',
  },
  {
    step: 'migrate web',
    takenBackBy: ['markFailed'],
    lost: [lostStandby, lostMigration('backend'), lostMigration('web')],
    serves: withoutStandby,
    green: 'failed ccccccc',
  },
  ...['startInstance web', 'waitUntilUpOnEdge'].map((step) => ({
    step,
    takenBackBy: ['markFailed'],
    lost: [lostStandby, lostMigration('backend'), lostMigration('web')],
    serves: withoutStandby,
    green: 'failed ccccccc' as const,
  })),
  {
    step: 'requestEdgeChange switch',
    takenBackBy: ['withdrawEdgeChange switch', 'withdrawEdgeChange switch', 'markFailed'],
    lost: [lostStandby, lostMigration('backend'), lostMigration('web')],
    serves: withoutStandby,
    green: 'failed ccccccc',
  },
  {
    step: 'watchSoak',
    takenBackBy: ['withdrawEdgeChange switch', 'requestEdgeChange switch-back', 'markFailed'],
    lost: [lostStandby, lostMigration('backend'), lostMigration('web')],
    serves: withoutStandby,
    green: 'failed ccccccc',
  },
];

/** What is left where a deploy ended; visitors have the release that they had. */
function expectLeft({ step, takenBackBy, serves, green }: Stop): void {
  const last = story.findIndex((steps) => steps.includes(step));
  const begun = told().filter((call) => !takenBackBy.includes(call));
  expect(story.slice(0, last + 1).flat()).toEqual(expect.arrayContaining([...begun]));
  expect(begun).toContain(step);
  expect(told().slice(takenBackBy.length === 0 ? told().length : -takenBackBy.length)).toEqual(takenBackBy);
  expect(world.serves).toEqual(serves);
  expect(world.history).toEqual(['blue bbbbbbb', 'green aaaaaaa']);
  if (green === 'one of each') return;
  expect(world.instancesOf('green')).toEqual([`backend: ${green}`, `web: ${green}`]);
}

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

  test('on an edge that can not take the switch back: needs an operator', async () => {
    const held = world.faults.hold('requestEdgeChange switch');
    const accepted = await operator.deploy('ccccccc');
    await held.reached;
    world.faults.set('verifyTraffic', 'fails');
    world.faults.set('reloadRestored', 'fails');
    held.release();
    const result = await operator.ended(accepted);
    expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
    expect(result.message).toContain('reloadRestored is broken');
    expect(result.remedy).toContain('--repair');
  });

  test('in one of two components: the other one has stopped before anything is taken back', async () => {
    const held = world.faults.hold('startInstance backend', { isDeaf: true });
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
  test.each(stops)('in $step: visitors are served as before, and it says what was lost', async (stop) => {
    const held = holdStep(world, stop.step);
    const { operation } = await operator.deploy('ccccccc');
    await held.reached;
    await operator.abort({ operation, by: 'alice', why: 'wrong release' });
    const result = await operator.ended({ operation });
    expect(result).toMatchObject({ outcome: 'failed', code: 'aborted', message: 'aborted by alice: wrong release' });
    expect(result.lost).toEqual(stop.lost);
    expectLeft(stop);
  });

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
      expect(told()).toContain('requestEdgeChange switch-back');
      expect(told()).not.toContain('watchSoak');
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
    expect(told()).toContain('requestEdgeChange switch-back');
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
