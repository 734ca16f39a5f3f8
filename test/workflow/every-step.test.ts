import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCodeOfResult } from '../../src/cli/exit-codes.js';
import { changeEdge, withdrawEdgeChange } from '../../src/client/edge.js';
import type { ColorChange, EdgeChange, EdgeChangeResult } from '../../src/domain/edge-change.js';
import type { Accepted, OperationResult } from '../../src/domain/operation.js';
import { isWhole } from '../rig/tier.js';
import { edgeActivityNames } from './rig/edge-world.js';
import { failoverSteps } from './rig/failover-world.js';
import type { Fault } from './rig/faults.js';
import { Operator } from './rig/operator.js';
import { provisionActivities } from './rig/provision-world.js';
import { type Rig, startRig } from './rig/rig.js';
import { certificateRuns } from './rig/runs.js';
import {
  edgeSteps,
  forEachStep,
  holdStep,
  migrationLost,
  rollingSteps,
  rollingUndo,
  setFaults,
  togetherWith,
} from './rig/steps.js';
import { project, type World } from './rig/world.js';

// Each activity of each operation fails in each way, and each operation is aborted in each of its steps. The tables are
// compared with the activities that there are: an activity without a row fails. Rows run at the same time, each in a world
// of its own. Those of certificates, which are retried slowly, are in certificates.test.ts.

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

interface Operation {
  begin(operator: Operator): Promise<Accepted>;
  /** Each step, and what is left if the operation ends there. */
  readonly steps: Readonly<Record<string, Left>>;
}

interface Left {
  readonly lost: readonly string[];
  readonly standby: string | null;
  /** Releases that run or are prepared on green; what failed is marked as failed. */
  readonly green: readonly string[];
  /** What undoes it in an abort, in order. */
  readonly undo: readonly string[];
}

const nothing: Left = { lost: [], standby: 'aaaaaaa', green: ['aaaaaaa'], undo: [] };
const inStandDown: Left = { ...nothing, undo: ['withdrawEdgeChange stand-down'] };
const inSwitch: Left = { ...nothing, undo: ['withdrawEdgeChange switch'] };
const standbyLost: Left = { ...nothing, lost: ['the standby aaaaaaa on green'], standby: null };
const inRecreate: Left = { ...standbyLost, undo: ['markFailed'] };
const inStart: Left = { ...inRecreate, green: [] };
const removing: Left = { ...standbyLost, undo: ['disownInstances'] };
const alsoMigrated = (left: Left, component: string): Left => ({
  ...left,
  lost: [...left.lost, migrationLost(component)],
});
const oneMigration = alsoMigrated(inStart, 'backend');
const twoMigrations = alsoMigrated(oneMigration, 'web');

const operations: Readonly<Record<string, Operation>> = {
  deploy: {
    begin: (operator) => operator.deploy('ccccccc'),
    steps: {
      pinRelease: nothing,
      'fetchArtifact backend': nothing,
      'fetchArtifact web': nothing,
      'requestEdgeChange stand-down': inStandDown,
      drainColor: standbyLost,
      'recreateInstance backend': inRecreate,
      'recreateInstance web': inRecreate,
      'migrate backend': oneMigration,
      'migrate web': twoMigrations,
      'startInstance backend': twoMigrations,
      'startInstance web': twoMigrations,
      waitUntilUpOnEdge: twoMigrations,
      'requestEdgeChange switch': { ...twoMigrations, undo: ['withdrawEdgeChange switch', 'markFailed'] },
      watchSoak: {
        ...twoMigrations,
        undo: ['withdrawEdgeChange switch', 'requestEdgeChange switch-back', 'markFailed'],
      },
    },
  },
  'full rollback': {
    begin: (operator) => operator.rollback({ full: true }),
    steps: {
      planRollback: nothing,
      pinRelease: nothing,
      'fetchArtifact backend': nothing,
      'fetchArtifact web': nothing,
      'requestEdgeChange stand-down': inStandDown,
      drainColor: standbyLost,
      'recreateInstance backend': inStart,
      'recreateInstance web': inStart,
      'startInstance backend': inStart,
      'startInstance web': inStart,
      waitUntilUpOnEdge: inStart,
      'requestEdgeChange switch': { ...inStart, undo: ['withdrawEdgeChange switch', 'markFailed'] },
    },
  },
  'fast rollback': {
    begin: (operator) => operator.rollback(),
    steps: { planRollback: nothing, 'requestEdgeChange switch': inSwitch },
  },
  switch: {
    begin: (operator) => operator.switch({ color: 'green' }),
    steps: { planSwitch: nothing, 'requestEdgeChange switch': inSwitch },
  },
  cleanup: {
    begin: (operator) => operator.cleanup({ standby: true }),
    steps: {
      planCleanup: nothing,
      'requestEdgeChange stand-down': inStandDown,
      drainColor: standbyLost,
      'removeInstance backend': removing,
      'removeInstance web': removing,
    },
  },
};

/** All take the same steps; `make test` tries one of them. */
const edgeChanges: Readonly<Record<string, (world: World) => EdgeChange>> = {
  'a change of colors': ({ name }): ColorChange => ({
    ...{ kind: 'color', id: 'op/switch', operation: 'op', environment: name },
    ...{ from: 'blue', to: 'green', sha: 'aaaaaaa', history: 'back' },
  }),
  ...(isWhole && {
    'a stand-down': ({ name }) => ({ kind: 'stand-down', id: 'op/switch', operation: 'op', environment: name }),
    'an apply': (world) => {
      world.edge.configures('new');
      return { kind: 'apply', id: 'op/switch', operation: 'op' };
    },
  }),
};

type Faults = Readonly<Record<string, Fault>>;

const isEdgeStep = (call: string): boolean => edgeActivityNames.some((name) => name === call);
const activityOf = (step: string): string => step.split(' ')[0] ?? '';
const before = { color: 'blue', sha: 'bbbbbbb', standby: 'aaaaaaa' };

/** Runs an operation in a world of its own, with what goes wrong in it. */
async function runOperation({ begin, steps }: Operation, faults: Faults) {
  const world = newWorld({});
  const operator = new Operator(rig, world);
  const fail = setFaults(world, faults, (step) => step in steps);
  const accepted = await begin(operator);
  await fail();
  return { world, result: await operator.waitedFor(accepted) };
}

async function runChange(changeOf: (world: World) => EdgeChange, faults: Faults) {
  const world = newWorld(faults);
  const picture = world.edge.picture();
  const edge = { project, edge: world.name };
  const result = await changeEdge(rig.client, edge, changeOf(world), new AbortController().signal);
  return { world, picture, result };
}

/** blue serves bbbbbbb, green stands by with aaaaaaa. */
function newWorld(faults: Faults): World {
  const world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
  for (const [step, fault] of Object.entries(faults)) world.faults.set(step, fault);
  return world;
}

/** What was called, each once, without what the environment asks before an operation begins. */
const calledIn = ({ faults }: World): string[] => [
  ...new Set(faults.calls.filter((call) => call !== 'knownEnvironments')),
];

const callsOf = ({ faults }: World, wanted: string): number => faults.calls.filter((call) => call === wanted).length;

/** How an operation ended, and what is there then. */
function rowOf({ world, result }: { world: World; result: OperationResult }) {
  const { outcome, code, message, remedy, lost } = result;
  const { installed, running, staged, needsOperator } = world.edge;
  return {
    ended: { outcome, exitCode: exitCodeOfResult(result), code, message, remedy, lost: [...lost] },
    serves: world.serves,
    history: world.history,
    edge: { runsWhatIsInstalled: installed.digest === running.digest, staged, needsOperator },
    blue: world.instancesOf('blue'),
    green: [...new Set(world.instancesOf('green').flatMap((one) => /(?:running|prepared) (.*)/.exec(one)?.[1] ?? []))],
  };
}

function failedRow(
  ended: { code: string; message: string; remedy: string | null },
  { lost, standby, green }: Pick<Left, 'lost' | 'standby' | 'green'>,
) {
  return {
    ended: { outcome: 'failed', exitCode: 1, ...ended, lost: [...lost] },
    serves: { ...before, standby },
    history: ['blue bbbbbbb', 'green aaaaaaa'],
    edge: { runsWhatIsInstalled: true, staged: null, needsOperator: null },
    blue: ['backend: running bbbbbbb', 'web: running bbbbbbb'],
    green: [...green],
  };
}

const broken = (step: string) => ({ code: 'broken', message: `${step} is broken`, remedy: `fix ${step}` });

test('each activity is a step of something here, or undoes one', () => {
  const undo = [
    ...Object.values(edgeSteps).flat(),
    'withdrawEdgeChange',
    'markFailed',
    'disownInstances',
    'markNeedsOperator',
  ];
  const steps = [...Object.values(operations).flatMap(({ steps }) => Object.keys(steps)), ...Object.keys(edgeSteps)];
  const ofFailover = [...failoverSteps, 'runFailoverTest'];
  const ofRolling = [...Object.keys(rollingSteps), ...rollingUndo];
  const ofCertificates = [...Object.values(certificateRuns).flatMap(({ steps }) => steps), 'awaitCertificate'];
  const others = [...ofRolling, ...ofFailover, ...ofCertificates, ...provisionActivities];
  const covered = new Set([...steps, ...undo, ...others].map(activityOf));
  expect([...covered, 'knownEnvironments'].sort()).toEqual(Object.keys(rig.newWorld().activities()).sort());
});

describe.concurrent.each(Object.entries(operations))('a %s', (_, operation) => {
  const steps = Object.keys(operation.steps);

  test('takes the steps that are listed here, and succeeds where each of them fails once', async () => {
    const everyStep = [...steps, ...edgeActivityNames];
    const { world, result } = await runOperation(
      operation,
      Object.fromEntries(everyStep.map((step) => [step, 'fails once'])),
    );
    expect(result).toMatchObject({ outcome: 'succeeded', code: null, lost: [] });
    expect(
      calledIn(world)
        .filter((call) => !isEdgeStep(call))
        .sort(),
    ).toEqual([...steps].sort());
    expect(steps.filter((step) => callsOf(world, step) !== 2)).toEqual([]);
  });

  test('in which a step fails for good leaves visitors where they are, and says what is lost', async () => {
    const ended = await forEachStep(steps, async (step) => rowOf(await runOperation(operation, { [step]: 'fails' })));
    const documented = Object.entries(operation.steps).map(([step, loss]) => [step, failedRow(broken(step), loss)]);
    expect(ended).toEqual(Object.fromEntries(documented));
  });

  test('that is aborted in a step does the same, undoes it in order, and says who aborted it and why', async () => {
    const ended = await forEachStep(steps, async (step) => {
      const world = newWorld({});
      const operator = new Operator(rig, world);
      const held = holdStep(world, step, (other) => other in operation.steps);
      const accepted = await operation.begin(operator);
      await held.reached;
      await operator.abort({ by: 'alice', why: 'wrong release' });
      const result = await operator.waitedFor(accepted);
      const called = calledIn(world).filter((call) => !isEdgeStep(call));
      const last = Math.max(...togetherWith(step).map((other) => steps.indexOf(other)));
      return {
        ...rowOf({ world, result }),
        undo: called.filter((call) => !(call in operation.steps)),
        begunAfterwards: called.filter((call) => steps.indexOf(call) > last),
      };
    });
    const aborted = { code: 'aborted', message: 'aborted by alice: wrong release', remedy: null };
    const documented = Object.entries(operation.steps).map(([step, { undo, ...left }]) => {
      return [step, { ...failedRow(aborted, left), undo, begunAfterwards: [] }];
    });
    expect(ended).toEqual(Object.fromEntries(documented));
  });

  test('whose change of the edge can not be taken back ends with what the edge says, and what to type', async () => {
    const { world, result } = await runOperation(operation, { verifyTraffic: 'fails', reloadRestored: 'fails' });
    expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
    expect(exitCodeOfResult(result)).toBe(3);
    expect(result.message).toMatch(/^verifyTraffic is broken.*could not be taken back.*reloadRestored is broken/);
    expect(result.remedy).toContain('`bascule apply --repair`');
    expect(world.edge.needsOperator).toMatch(/reloadRestored is broken/);
  });

  test('that can neither ask the edge nor withdraw what it asked says that the change may come', async () => {
    const requests = steps.filter((step) => step.startsWith('requestEdgeChange'));
    const ended = await forEachStep(requests, (step) =>
      runOperation(operation, { [step]: 'fails', withdrawEdgeChange: 'fails' }),
    );
    for (const [step, { world, result }] of Object.entries(ended)) {
      expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
      expect(result.message).toMatch(
        new RegExp(`^${step} is broken; and it could not be withdrawn: withdrawEdgeChange .* is broken; the edge may`),
      );
      expect(result.remedy).toContain(`\`bascule status ${world.name}\``);
    }
  });
});

// The others are like it, and take five seconds each: `make test-all` has them.
const timedOut = Object.entries(operations).filter(([name]) => isWhole || name === 'cleanup');
describe.concurrent.each(timedOut)('a %s', (_, operation) => {
  test('in which a step times out does the same; the edge says what became of a change that nobody heard of', async () => {
    const isRequest = (step: string): boolean => step.startsWith('requestEdgeChange');
    const ended = await forEachStep(Object.keys(operation.steps), (step) =>
      runOperation(operation, { [step]: 'hangs after its effect' }),
    );
    for (const [step, left] of Object.entries(operation.steps)) {
      const run = ended[step];
      if (isRequest(step)) expect(run?.result.outcome).toBe('succeeded');
      else expect(run && rowOf(run)).toEqual(failedRow(broken(step), left));
    }
  });
});

describe.concurrent('a deploy that can not be undone', () => {
  const { deploy } = operations as { deploy: Operation };

  test.each(['requestEdgeChange switch-back', 'withdrawEdgeChange'])(
    'after the switch, in %s: says what visitors may have, and what to type',
    async (undo) => {
      const { world, result } = await runOperation(deploy, { watchSoak: 'fails', [undo]: 'fails' });
      expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator', lost: twoMigrations.lost });
      expect(exitCodeOfResult(result)).toBe(3);
      expect(result.message).toMatch(/^watchSoak is broken; and it could not be taken back: switch back to blue: /);
      expect(result.message).toContain(`visitors of ${world.name} may still get ccccccc (green)`);
      expect(result.remedy).toContain(`\`bascule status ${world.name}\``);
      expect(result.remedy).toContain(`\`bascule switch ${world.name} blue\` gives them bbbbbbb again`);
      expect(world.serves.sha).toBe('ccccccc');
    },
  );

  test('in marking the failed instances, has failed, for visitors notice nothing; it warns of them', async () => {
    const ended = await forEachStep(['recreateInstance web', 'waitUntilUpOnEdge', 'watchSoak'], (step) =>
      runOperation(deploy, { [step]: 'fails', markFailed: 'fails' }),
    );
    for (const [step, { world, result }] of Object.entries(ended)) {
      expect(result).toMatchObject({ outcome: 'failed', ...broken(step) });
      expect(exitCodeOfResult(result)).toBe(1);
      expect(result.warnings).toMatchObject([
        expect.stringMatching(/green are not marked as failed \(markFailed is broken/),
      ]);
      expect(result.warnings[0]).toContain(`\`bascule cleanup ${world.name}\``);
      expect(world.serves).toEqual({ ...before, standby: null });
    }
  });
});

test('a cleanup that can not disown what it has not removed has failed, and warns of it', async () => {
  const { cleanup } = operations as { cleanup: Operation };
  const { world, result } = await runOperation(cleanup, { 'removeInstance web': 'fails', disownInstances: 'fails' });
  expect(result).toMatchObject({ outcome: 'failed', ...broken('removeInstance web') });
  expect(exitCodeOfResult(result)).toBe(1);
  expect(result.warnings).toMatchObject([
    expect.stringMatching(/left on green still belongs to this cleanup \(disownInstances is broken/),
  ]);
  expect(result.warnings[0]).toContain(`\`bascule cleanup ${world.name}\``);
});

describe.concurrent.each(Object.entries(edgeChanges))('of the edge, %s', (_, changeOf) => {
  const steps = Object.keys(edgeSteps);
  const until = (step: string) => steps.slice(0, steps.indexOf(step) + 1);
  const undoOf = (step: string) => edgeSteps[step] ?? [];

  test('takes the steps that are listed here, and succeeds where each of them fails once', async () => {
    const { world, result } = await runChange(
      changeOf,
      Object.fromEntries(edgeActivityNames.map((step) => [step, 'fails once'])),
    );
    expect(result).toMatchObject({ outcome: 'succeeded', code: null, changed: true });
    expect(world.faults.calls).toEqual(steps.flatMap((step) => [step, step]));
  });

  test.each(['fails', 'fails after its effect', 'hangs after its effect'] as const)(
    'in which a step %s leaves the edge as before',
    async (fault) => {
      const ended = await forEachStep(steps, async (step) => {
        const { world, picture, result } = await runChange(changeOf, { [step]: fault });
        expect(world.edge.picture()).toEqual(picture);
        const { outcome, code, message, remedy, changed } = result;
        return { outcome, code, message, remedy, changed, calls: calledIn(world) };
      });
      const documented = steps.map((step) => {
        return [step, { outcome: 'failed', ...broken(step), changed: false, calls: [...until(step), ...undoOf(step)] }];
      });
      expect(ended).toEqual(Object.fromEntries(documented));
    },
  );

  // A change that is being recorded is too late to withdraw: switch-edge.test.ts.
  test('that is withdrawn in a step before the last leaves the edge as before', async () => {
    const ended = await forEachStep(steps.slice(0, -1), async (step) => {
      const world = newWorld({});
      const picture = world.edge.picture();
      const held = world.faults.hold(step);
      const edge = { project, edge: world.name };
      const asked = changeEdge(rig.client, edge, changeOf(world), new AbortController().signal);
      await held.reached;
      const result = await withdrawEdgeChange(rig.client, edge, 'op/switch');
      expect(await asked).toEqual(result);
      expect(world.edge.picture()).toEqual(picture);
      const { outcome, code, changed } = result;
      return { outcome, code, changed, calls: world.faults.calls };
    });
    const withdrawn = { outcome: 'withdrawn', code: 'withdrawn', changed: false };
    const documented = steps.slice(0, -1).map((step) => {
      return [step, { ...withdrawn, calls: [...until(step), ...undoOf(step)] }];
    });
    expect(ended).toEqual(Object.fromEntries(documented));
  });

  test('whose undoing fails once is undone all the same', async () => {
    const undo = Object.fromEntries(undoOf('recordColor').map((undo) => [undo, 'fails once'] as const));
    const { world, picture, result } = await runChange(changeOf, {
      ...undo,
      recordColor: 'fails after its effect',
    });
    expect(result).toMatchObject({ outcome: 'failed', ...broken('recordColor') });
    expect(world.edge.picture()).toEqual(picture);
  });

  test('of whose undoing one step fails runs the others, says what it could not undo, and marks the edge', async () => {
    const pairs = steps.flatMap((step) => undoOf(step).map((undo) => `${step} ${undo}`));
    const ended = await forEachStep(pairs, (pair) => {
      const [step = '', undo = ''] = pair.split(' ');
      return runChange(changeOf, { [step]: 'fails after its effect', [undo]: 'fails' });
    });
    for (const [pair, { world, result }] of Object.entries(ended)) {
      const [step = '', undo = ''] = pair.split(' ');
      expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
      expect(result.message).toMatch(
        new RegExp(`^${step} is broken; and it could not be taken back: .*: ${undo} is broken`),
      );
      expect(result.remedy).toMatch(/`bascule status`.*`bascule apply --repair`/);
      expect(world.faults.calls).toEqual([...until(step), ...undoOf(step), 'markNeedsOperator']);
      expect(world.edge.needsOperator).toBe(result.message);
    }
  });
});

test('an activity whose worker ends after its effect, in any step, is tried again by another one', async () => {
  const fault = 'hangs once after its effect';
  const { deploy, cleanup } = operations as { deploy: Operation; cleanup: Operation };
  const deploys = Object.keys(deploy.steps).map((step) => runOperation(deploy, { [step]: fault }));
  const cleanups = Object.keys(cleanup.steps).map((step) => runOperation(cleanup, { [step]: fault }));
  const changes = Object.values(edgeChanges).flatMap((changeOf) =>
    Object.keys(edgeSteps).map((step) => runChange(changeOf, { [step]: fault })),
  );
  const ended: readonly { result: OperationResult | EdgeChangeResult }[] = await Promise.all([
    ...deploys,
    ...cleanups,
    ...changes,
  ]);
  expect(ended.map(({ result }) => result.outcome)).toEqual(ended.map(() => 'succeeded'));
});

test('an environment that can not be looked up refuses what is asked of it, and nothing begins', async () => {
  const world = newWorld({ knownEnvironments: 'fails' });
  await expect(new Operator(rig, world).deploy('ccccccc')).rejects.toThrow();
  expect(calledIn(world)).toEqual([]);
  expect(world.serves).toEqual(before);
});
