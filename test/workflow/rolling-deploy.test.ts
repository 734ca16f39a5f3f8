import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCodeOfResult } from '../../src/cli/exit-codes.js';
import type { Accepted, OperationResult } from '../../src/domain/operation.js';
import { isWhole } from '../rig/tier.js';
import type { Fault } from './rig/faults.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { forEachStep, rollingSteps, setFaults } from './rig/steps.js';
import type { World } from './rig/world.js';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const steps = Object.keys(rollingSteps);
/** The last one only tidies up. */
const decisive = steps.slice(0, -1);
const serving = (sha: string) => ['backend-1', 'backend-2', 'web-1'].map((name) => `${name}: running ${sha}`);
const asBefore = { instances: serving('bbbbbbb'), history: ['bbbbbbb', 'aaaaaaa'] };

type Begin = (operator: Operator) => Promise<Accepted>;
const deploy: Begin = (operator) => operator.deploy('ccccccc');

/** Instances side by side that hold bbbbbbb, with aaaaaaa before it. */
function begin(faults: Readonly<Record<string, Fault>> = {}, ...shas: readonly string[]) {
  const world = rig.newWorld();
  const rolling = world.holdsRolling(...(shas.length > 0 ? shas : ['aaaaaaa', 'bbbbbbb']));
  for (const [step, fault] of Object.entries(faults)) world.faults.set(step, fault);
  return { world, rolling, operator: new Operator(rig, world) };
}

async function run(asked: Begin, faults: Readonly<Record<string, Fault>> = {}) {
  const { world, rolling, operator } = begin();
  const fail = setFaults(world, faults, (step) => step in rollingSteps);
  const accepted = await asked(operator);
  await fail();
  return { world, rolling, result: await operator.waitedFor(accepted) };
}

const broken = (step: string) => ({ code: 'broken', message: `${step} is broken`, remedy: `fix ${step}` });

function rowOf({ rolling, result }: { rolling: World['rolling']; result: OperationResult }) {
  const { outcome, code, message, remedy, lost } = result;
  return {
    ended: { outcome, code, message, remedy, lost: [...lost] },
    instances: rolling?.picture,
    history: rolling?.history,
  };
}

/** What was called, in order; artifacts are fetched at the same time. */
const callsOf = ({ faults }: World) => {
  const calls = faults.calls.filter((call) => call !== 'knownEnvironments');
  const isFetching = (call: string): boolean => call.startsWith('fetchArtifact');
  return [
    ...calls.slice(0, 1),
    ...calls.filter(isFetching).toSorted(),
    ...calls.slice(1).filter((call) => !isFetching(call)),
  ];
};

describe.concurrent('a rolling deploy', () => {
  test('replaces one instance after the other, and never the last one that serves', async () => {
    const { world, rolling, result } = await run(deploy);
    expect(result).toMatchObject({
      ...{ outcome: 'succeeded', code: null, lost: [], message: `${world.name} serves ccccccc` },
      ...{ from: { color: null, sha: 'bbbbbbb' }, to: { color: null, sha: 'ccccccc' }, generation: null },
    });
    expect(callsOf(world)).toEqual(steps);
    expect(rolling.picture).toEqual(serving('ccccccc'));
    expect(rolling.history).toEqual(['ccccccc', 'bbbbbbb', 'aaaaaaa']);
    expect(rolling.fewestServing).toBe(1);
  });

  test('says of a component with one instance that its visitors were without it', async () => {
    const { result } = await run(deploy);
    expect(result.warnings).toEqual([
      expect.stringMatching(/no other instance of web was up while web-1 was replaced: .* with 503/),
    ]);
  });

  test('succeeds where each of its steps fails once', async () => {
    const { world, rolling, result } = await run(deploy, Object.fromEntries(steps.map((step) => [step, 'fails once'])));
    expect(result.outcome).toBe('succeeded');
    expect(callsOf(world).toSorted()).toEqual(steps.flatMap((step) => [step, step]).toSorted());
    expect(rolling.picture).toEqual(serving('ccccccc'));
  });

  test.each<Fault>(isWhole ? ['fails', 'fails after its effect'] : ['fails after its effect'])(
    'in which a step %s takes back the instances that were done, and says what is lost',
    async (fault) => {
      const ended = await forEachStep(decisive, async (step) => rowOf(await run(deploy, { [step]: fault })));
      const documented = decisive.map((step) => [
        step,
        { ended: { outcome: 'failed', ...broken(step), lost: rollingSteps[step] }, ...asBefore },
      ]);
      expect(ended).toEqual(Object.fromEntries(documented));
    },
  );

  test('in which a step says nothing more after its effect does the same', async () => {
    const some = isWhole ? decisive : ['replaceRelease backend-2', 'recordReleases now'];
    const ended = await forEachStep(some, async (step) =>
      rowOf(await run(deploy, { [step]: 'hangs after its effect' })),
    );
    for (const { ended: end, instances, history } of Object.values(ended)) {
      expect(end.outcome).toBe('failed');
      expect({ instances, history }).toEqual(asBefore);
    }
  });

  test('whose worker ends after the effect of any step is carried on by another one', async () => {
    const ended = await forEachStep(steps, (step) => run(deploy, { [step]: 'hangs once after its effect' }));
    for (const { rolling, result } of Object.values(ended)) {
      expect(result.outcome).toBe('succeeded');
      expect(rolling.picture).toEqual(serving('ccccccc'));
    }
  });

  test('takes back in reverse order, drained as on the way there', async () => {
    const { world } = await run(deploy, { 'admitInstance backend-2': 'fails' });
    const calls = callsOf(world);
    expect(calls.slice(calls.indexOf('admitInstance backend-2') + 1)).toEqual(
      ['backend-2', 'backend-1'].flatMap((instance) =>
        ['retakeInstance', 'replaceRelease', 'startInstance', 'admitInstance'].map((act) => `${act} ${instance} again`),
      ),
    );
  });

  test('leaves an instance that it had yet to come to as it is', async () => {
    const { world, rolling } = await run(deploy, { 'drainInstance backend-2': 'fails' });
    expect(callsOf(world)).toContain('retakeInstance backend-2 again');
    expect(callsOf(world)).not.toContain('replaceRelease backend-2 again');
    expect(rolling.picture).toEqual(asBefore.instances);
  });

  test('of whose take-backs one fails runs the others, and needs an operator', async () => {
    const takeBacks = ['retakeInstance', 'replaceRelease', 'startInstance', 'admitInstance'];
    const ended = await forEachStep(takeBacks, (act) =>
      run(deploy, { 'admitInstance backend-2': 'fails', [`${act} backend-2 again`]: 'fails' }),
    );
    for (const [act, { world, rolling, result }] of Object.entries(ended)) {
      expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
      expect(exitCodeOfResult(result)).toBe(3);
      expect(result.message).toMatch(
        new RegExp(
          `admitInstance backend-2 is broken; and .*${act} backend-2 again is broken; backend-2 may be without`,
        ),
      );
      expect(result.remedy).toContain(`\`bascule deploy ${world.name} bbbbbbb --again\``);
      expect(rolling.picture[0]).toBe('backend-1: running bbbbbbb');
    }
  });

  test('that was recorded and then stopped is taken back from the record as well', async () => {
    const { world, rolling, operator } = begin();
    const held = world.faults.hold('recordReleases now', { ignoresCancellation: true });
    const accepted = await deploy(operator);
    await held.reached;
    await operator.abort({ why: 'not today' });
    held.release();
    expect(await operator.waitedFor(accepted)).toMatchObject({ code: 'aborted', message: 'aborted: not today' });
    expect({ instances: rolling.picture, history: rolling.history }).toEqual(asBefore);
  });

  test('that cannot remove what is too old is in force all the same, and warns of it', async () => {
    const { rolling, result } = await run(deploy, { pruneInstances: 'fails' });
    expect(result).toMatchObject({ outcome: 'succeeded', to: { sha: 'ccccccc' } });
    expect(result.warnings.at(-1)).toMatch(/^old releases are not removed \(pruneInstances is broken\)/);
    expect(rolling.picture).toEqual(serving('ccccccc'));
  });

  test('is done where all of it serves the release already', async () => {
    const { world, rolling, operator } = begin();
    rolling.isActiveAlready = true;
    const result = await operator.waitedFor(await operator.deploy('bbbbbbb'));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false });
    expect(callsOf(world)).toEqual(['pinRelease']);
  });

  test('waits for approval before it touches anything', async () => {
    const { world, rolling, operator } = begin();
    const accepted = await operator.deploy('ccccccc', { waitForApproval: true });
    await operator.untilItWaitsForApproval(accepted);
    expect(callsOf(world)).toEqual(['pinRelease', 'fetchArtifact backend', 'fetchArtifact web']);
    await operator.approve();
    expect(await operator.waitedFor(accepted)).toMatchObject({ outcome: 'succeeded' });
    expect(rolling.picture).toEqual(serving('ccccccc'));
  });

  test('migrates nothing where that is to be skipped', async () => {
    const { world } = await run((operator) => operator.deploy('ccccccc', { skipMigrate: true }));
    expect(callsOf(world).filter((call) => call.startsWith('migrate'))).toEqual([]);
  });

  test('of the very first release keeps what fails for a look, without visitors, and cleanup removes it', async () => {
    const { world, rolling, operator } = begin({ 'startInstance backend-2': 'fails' }, 'none');
    rolling.recorded = { owner: null, lines: [] };
    for (const name of [...rolling.instances.keys()]) rolling.remove(name);
    const result = await operator.waitedFor(await deploy(operator));
    expect(result).toMatchObject({ outcome: 'failed', from: { sha: null } });
    const failed = ['backend-1', 'backend-2'].map((name) => `${name}: drained failed ccccccc`);
    expect(rolling.picture).toEqual([...failed, 'web-1: empty']);
    expect(callsOf(world)).toContain('leaveFailed backend-1 again');
    const cleaned = await operator.waitedFor(await operator.cleanup());
    expect(cleaned).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(rolling.picture).toEqual(['backend-1: empty', 'backend-2: empty', 'web-1: empty']);
  });
});

describe.concurrent('a rollback of instances side by side', () => {
  test('gives them the release before, without a migration, and a second one has nowhere to go', async () => {
    const { world, rolling, result } = await run((operator) => operator.rollback());
    expect(result).toMatchObject({
      outcome: 'succeeded',
      from: { sha: 'bbbbbbb' },
      to: { color: null, sha: 'aaaaaaa' },
    });
    expect(rolling.picture).toEqual(serving('aaaaaaa'));
    expect(rolling.history).toEqual(['aaaaaaa']);
    expect(callsOf(world).filter((call) => call.startsWith('migrate'))).toEqual([]);
    const again = await new Operator(rig, world).rollback({ full: true });
    expect(await new Operator(rig, world).waitedFor(again)).toMatchObject({ code: 'nothing-to-roll-back-to' });
  });

  test('stops a deploy in any of its steps, and takes it back', async () => {
    const all = steps.slice(3, -2);
    const at = isWhole ? all : all.filter((step) => /backend-1$|^drain/.test(step));
    const ended = await forEachStep(at, async (step) => {
      const { world, rolling, operator } = begin();
      const held = world.faults.hold(step);
      const accepted = await deploy(operator);
      await held.reached;
      const rollback = await operator.rollback();
      const [deployed, back] = [await operator.waitedFor(accepted), await operator.waitedFor(rollback)];
      return { deployed, back, instances: rolling.picture, history: rolling.history };
    });
    for (const { deployed, back, ...left } of Object.values(ended)) {
      expect(deployed).toMatchObject({ outcome: 'failed', code: 'rolled-back' });
      expect(back).toMatchObject({ outcome: 'succeeded', changed: false, to: { sha: 'bbbbbbb' } });
      expect(left).toEqual(asBefore);
    }
  });
});

test('instances side by side have no color to switch to', async () => {
  const { result } = await run((operator) => operator.switch({ color: 'green' }));
  expect(result).toMatchObject({ outcome: 'failed', code: 'switch-refused' });
});

test('a cleanup finds nothing where all instances serve', async () => {
  const { world, result } = await run((operator) => operator.cleanup());
  expect(result).toMatchObject({ outcome: 'succeeded', changed: false });
  expect(callsOf(world)).toEqual(['planCleanup']);
});
