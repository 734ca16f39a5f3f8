import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCodeOfResult } from '../../src/cli/exit-codes.js';
import { changeEdge } from '../../src/client/edge.js';
import type { ColorChange, EdgeChange, EdgeChangeResult } from '../../src/domain/edge-change.js';
import type { Accepted, OperationResult } from '../../src/domain/operation.js';
import { certificateRuns } from './rig/certificate-runs.js';
import { edgeActivityNames } from './rig/edge-world.js';
import { failoverSteps } from './rig/failover-world.js';
import type { Fault } from './rig/faults.js';
import { Operator } from './rig/operator.js';
import { provisionActivities } from './rig/provision-world.js';
import { type Rig, startRig } from './rig/rig.js';
import { rollingSteps, rollingUndo } from './rig/steps.js';
import { holdStep } from './rig/steps.js';
import { project, type World } from './rig/world.js';

// Each activity of each operation goes wrong in each way. The tables are compared with what the activities turn out to
// be: an activity without a row fails. Rows run at the same time, each in a world of its own. Those of certificates, which
// leave much time between two tries, are in certificates.test.ts.

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

interface Operation {
  begin(operator: Operator): Promise<Accepted>;
  /** Each step, and what is lost where the operation ends there. */
  readonly steps: Readonly<Record<string, Loss>>;
}

interface Loss {
  readonly lost: readonly string[];
  readonly standby: string | null;
}

const nothing: Loss = { lost: [], standby: 'aaaaaaa' };
const theStandby: Loss = { lost: ['the standby aaaaaaa on green'], standby: null };
const alsoMigrated = ({ lost }: Loss, component: string): Loss => ({
  lost: [...lost, `the migration of ${component} ran and is not taken back`],
  standby: null,
});
const oneMigration = alsoMigrated(theStandby, 'backend');
const twoMigrations = alsoMigrated(oneMigration, 'web');

const operations: Readonly<Record<string, Operation>> = {
  deploy: {
    begin: (operator) => operator.deploy('ccccccc'),
    steps: {
      pinRelease: nothing,
      'requestEdgeChange stand-down': nothing,
      drainColor: theStandby,
      'fetchArtifact backend': theStandby,
      'fetchArtifact web': theStandby,
      'recreateInstance backend': theStandby,
      'recreateInstance web': theStandby,
      'migrate backend': oneMigration,
      'migrate web': twoMigrations,
      'startInstance backend': twoMigrations,
      'startInstance web': twoMigrations,
      waitUntilUpOnEdge: twoMigrations,
      'requestEdgeChange switch': twoMigrations,
      watchSoak: twoMigrations,
    },
  },
  'full rollback': {
    begin: (operator) => operator.rollback({ full: true }),
    steps: {
      planRollback: nothing,
      pinRelease: nothing,
      'requestEdgeChange stand-down': nothing,
      drainColor: theStandby,
      'fetchArtifact backend': theStandby,
      'fetchArtifact web': theStandby,
      'recreateInstance backend': theStandby,
      'recreateInstance web': theStandby,
      'startInstance backend': theStandby,
      'startInstance web': theStandby,
      waitUntilUpOnEdge: theStandby,
      'requestEdgeChange switch': theStandby,
    },
  },
  'fast rollback': {
    begin: (operator) => operator.rollback(),
    steps: { planRollback: nothing, 'requestEdgeChange switch': nothing },
  },
  switch: {
    begin: (operator) => operator.switch({ color: 'green' }),
    steps: { planSwitch: nothing, 'requestEdgeChange switch': nothing },
  },
  cleanup: {
    begin: (operator) => operator.cleanup({ standby: true }),
    steps: {
      planCleanup: nothing,
      'requestEdgeChange stand-down': nothing,
      drainColor: theStandby,
      'removeInstance backend': theStandby,
      'removeInstance web': theStandby,
    },
  },
};

/** Each step of an edge change, and what takes it back. */
const edgeSteps: Readonly<Record<string, readonly string[]>> = {
  readEdge: [],
  renderConfig: [],
  stageConfig: ['unstageConfig'],
  installConfig: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  reloadEdge: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  verifyTraffic: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  recordColor: ['restoreColors', 'restoreConfig', 'reloadRestored', 'unstageConfig'],
};

const edgeChanges: Readonly<Record<string, (world: World) => EdgeChange>> = {
  'a change of colors': ({ name }): ColorChange => ({
    ...{ kind: 'color', id: 'op/switch', operation: 'op', environment: name },
    ...{ from: 'blue', to: 'green', sha: 'aaaaaaa', history: 'back' },
  }),
  'a stand-down': ({ name }) => ({ kind: 'stand-down', id: 'op/stand-down', operation: 'op', environment: name }),
  'an apply': (world) => {
    world.edge.configures('new');
    return { kind: 'apply', id: 'op/apply', operation: 'op' };
  },
};

type Faults = Readonly<Record<string, Fault>>;

const isEdgeStep = (call: string): boolean => edgeActivityNames.some((name) => name === call);
const activityOf = (step: string): string => step.split(' ')[0] ?? '';
const before = { color: 'blue', sha: 'bbbbbbb', standby: 'aaaaaaa' };

/** Runs an operation in a world of its own, with what goes wrong in it. */
async function runOperation({ begin, steps }: Operation, faults: Faults) {
  const world = newWorld(faults);
  const operator = new Operator(rig, world);
  // What fails for good stops those that run at the same time, which have to stand still for that.
  const failing = Object.keys(faults).find((step) => !faults[step]?.includes('once') && !isEdgeStep(step));
  const held = failing === undefined ? null : holdStep(world, failing, (step) => step in steps);
  const accepted = await begin(operator);
  if (held) {
    await held.reached;
    held.releaseStep();
  }
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

/** Runs something for each of them at the same time. */
async function forEach<T>(steps: readonly string[], run: (step: string) => Promise<T>): Promise<Record<string, T>> {
  return Object.fromEntries(await Promise.all(steps.map(async (step) => [step, await run(step)] as const)));
}

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
    /** Failed ones stay for a look, and are marked as what they are. */
    notMarked: world.instancesOf('green').filter((one) => /(running|prepared) ccccccc/.test(one)),
  };
}

function failedRow(ended: { code: string; message: string; remedy: string }, { lost, standby }: Loss) {
  return {
    ended: { outcome: 'failed', exitCode: 1, ...ended, lost: [...lost] },
    serves: { ...before, standby },
    history: ['blue bbbbbbb', 'green aaaaaaa'],
    edge: { runsWhatIsInstalled: true, staged: null, needsOperator: null },
    blue: ['backend: running bbbbbbb', 'web: running bbbbbbb'],
    notMarked: [],
  };
}

const broken = (step: string) => ({ code: 'broken', message: `${step} is broken`, remedy: `mend ${step}` });

test('each activity is a step of something here, or takes one back', () => {
  const takeBacks = [
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
  const covered = new Set([...steps, ...takeBacks, ...others].map(activityOf));
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
    const ended = await forEach(steps, async (step) => rowOf(await runOperation(operation, { [step]: 'fails' })));
    const documented = Object.entries(operation.steps).map(([step, loss]) => [step, failedRow(broken(step), loss)]);
    expect(ended).toEqual(Object.fromEntries(documented));
  });

  test('in which a step times out does the same; the edge says what became of a change that nobody heard of', async () => {
    const isRequest = (step: string): boolean => step.startsWith('requestEdgeChange');
    const ended = await forEach(steps, (step) => runOperation(operation, { [step]: 'falls silent after its effect' }));
    const [heardOf, others] = [true, false].map((is) =>
      Object.entries(ended).filter(([step]) => isRequest(step) === is),
    );
    expect(heardOf?.map(([, { result }]) => result.outcome)).toEqual(steps.filter(isRequest).map(() => 'succeeded'));
    const documented = Object.entries(operation.steps).map(([step, loss]) => [step, failedRow(broken(step), loss)]);
    expect(Object.fromEntries(others?.map(([step, run]) => [step, rowOf(run)]) ?? [])).toEqual(
      Object.fromEntries(documented.filter(([step]) => !isRequest(String(step)))),
    );
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
    const ended = await forEach(requests, (step) =>
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

describe.concurrent('a deploy whose take-back fails too', () => {
  const { deploy } = operations as { deploy: Operation };

  test.each(['requestEdgeChange switch-back', 'withdrawEdgeChange'])(
    'after the switch, in %s: says what visitors may have, and what to type',
    async (takeBack) => {
      const { world, result } = await runOperation(deploy, { watchSoak: 'fails', [takeBack]: 'fails' });
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
    const ended = await forEach(['recreateInstance web', 'waitUntilUpOnEdge', 'watchSoak'], (step) =>
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
  const takeBacksOf = (step: string) => edgeSteps[step] ?? [];

  test('takes the steps that are listed here, and succeeds where each of them fails once', async () => {
    const { world, result } = await runChange(
      changeOf,
      Object.fromEntries(edgeActivityNames.map((step) => [step, 'fails once'])),
    );
    expect(result).toMatchObject({ outcome: 'succeeded', code: null, changed: true });
    expect(world.faults.calls).toEqual(steps.flatMap((step) => [step, step]));
  });

  test.each(['fails', 'fails after its effect', 'falls silent after its effect'] as const)(
    'in which a step %s leaves the edge as before',
    async (fault) => {
      const ended = await forEach(steps, async (step) => {
        const { world, picture, result } = await runChange(changeOf, { [step]: fault });
        expect(world.edge.picture()).toEqual(picture);
        const { outcome, code, message, remedy, changed } = result;
        return { outcome, code, message, remedy, changed, calls: calledIn(world) };
      });
      const documented = steps.map((step) => {
        return [
          step,
          { outcome: 'failed', ...broken(step), changed: false, calls: [...until(step), ...takeBacksOf(step)] },
        ];
      });
      expect(ended).toEqual(Object.fromEntries(documented));
    },
  );

  test('whose take-backs fail once is taken back all the same', async () => {
    const takeBacks = Object.fromEntries(
      takeBacksOf('recordColor').map((takeBack) => [takeBack, 'fails once'] as const),
    );
    const { world, picture, result } = await runChange(changeOf, {
      ...takeBacks,
      recordColor: 'fails after its effect',
    });
    expect(result).toMatchObject({ outcome: 'failed', ...broken('recordColor') });
    expect(world.edge.picture()).toEqual(picture);
  });

  test('of whose take-backs one fails runs the others, says what it could not take back, and marks the edge', async () => {
    const pairs = steps.flatMap((step) => takeBacksOf(step).map((takeBack) => `${step} ${takeBack}`));
    const ended = await forEach(pairs, (pair) => {
      const [step = '', takeBack = ''] = pair.split(' ');
      return runChange(changeOf, { [step]: 'fails after its effect', [takeBack]: 'fails' });
    });
    for (const [pair, { world, result }] of Object.entries(ended)) {
      const [step = '', takeBack = ''] = pair.split(' ');
      expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator' });
      expect(result.message).toMatch(
        new RegExp(`^${step} is broken; and it could not be taken back: .*: ${takeBack} is broken`),
      );
      expect(result.remedy).toMatch(/`bascule status`.*`bascule apply --repair`/);
      expect(world.faults.calls).toEqual([...until(step), ...takeBacksOf(step), 'markNeedsOperator']);
      expect(world.edge.needsOperator).toBe(result.message);
    }
  });
});

test('an activity whose worker ends after its effect, in any step, is tried again by another one', async () => {
  const fault = 'falls silent once after its effect';
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
