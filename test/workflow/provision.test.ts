import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ProvisionRequest, ProvisionResult } from '../../src/domain/provision.js';
import { isWhole } from '../rig/tier.js';
import { operationCalls } from './rig/edge-world.js';
import type { Fault } from './rig/faults.js';
import { ofBascule, provisionActivities } from './rig/provision-world.js';
import { type Rig, startRig } from './rig/rig.js';
import { beginProvision } from './rig/runs.js';
import type { World } from './rig/world.js';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

async function run(world: World, request: ProvisionRequest = {}): Promise<ProvisionResult> {
  return await rig.resultInRealTime(await beginProvision(rig, world, request));
}

function newWorld(faults: Readonly<Record<string, Fault>> = {}): World {
  const world = rig.newWorld();
  for (const [step, fault] of Object.entries(faults)) world.faults.set(step, fault);
  return world;
}

const calledIn = (world: World): string[] => [...new Set(operationCalls(world))];
const serves = ({ edge }: World): boolean => edge.running.states.some(({ name }) => name === ofBascule);

// First, since the server's time, which passes between two tries, may stand still after activities that fail for good.
test.each(['fails once', 'fails once after its effect'] as const)(
  'a run in which each step %s succeeds',
  async (fault) => {
    const world = newWorld(Object.fromEntries(provisionActivities.map((step) => [step, fault])));
    expect(await run(world)).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(calledIn(world)).toEqual(provisionActivities);
    expect(serves(world)).toBe(true);
  },
);

test('a machine with nothing but Incus gets an edge that serves; again there is nothing to do', async () => {
  const world = newWorld();
  const first = await run(world);
  expect(first).toMatchObject({
    ...{ kind: 'provision', outcome: 'succeeded', code: null, changed: true, dryRun: false },
    ...{ message: 'the edge serves at 0.0.0.0:80', generation: world.edge.running.generation },
  });
  expect(first.plan.map(({ state }) => state)).not.toContain('right');
  expect(calledIn(world)).toEqual(provisionActivities);
  expect(serves(world)).toBe(true);

  world.faults.calls.splice(0);
  const again = await run(world);
  expect(again).toMatchObject({ outcome: 'succeeded', changed: false, generation: null });
  expect(again.message).toBe('nothing to do: the edge is there at 0.0.0.0:80');
  expect(again.plan.map(({ state }) => state)).toEqual(again.plan.map(() => 'right'));
  expect(calledIn(world)).toEqual(['planProvision']);
});

test('a dry run lists what would be done, and does nothing', async () => {
  const world = newWorld();
  const before = world.provision.found;
  const { plan, ...result } = await run(world, { dryRun: true });
  expect(result).toMatchObject({ outcome: 'succeeded', changed: true, dryRun: true });
  expect(result.message).toBe('11 of 11 steps would be taken');
  expect(plan.find(({ id }) => id === 'instance')).toMatchObject({
    ...{ state: 'to do', does: 'launch it from images:debian/13 with profile bascule' },
  });
  expect(world.provision.found).toEqual(before);
  expect(calledIn(world)).toEqual(['planProvision']);
  expect(serves(world)).toBe(false);
});

test('an instance that was stopped is started, and the configuration of its edge stays as it is', async () => {
  const world = newWorld();
  await run(world);
  const { generation } = world.edge.running;
  world.provision.stops();
  world.edge.configures('newer');
  expect(await run(world)).toMatchObject({ outcome: 'succeeded', changed: true, generation: null });
  expect(world.edge.running.generation).toBe(generation);
});

test('an instance that Bascule did not make is refused by its name, and nothing is made', async () => {
  const world = newWorld();
  world.provision.isTaken();
  const before = world.provision.found;
  const result = await run(world);
  expect(result).toMatchObject({ outcome: 'failed', code: 'not-of-bascule', changed: false });
  expect(result.message).toContain('instance veza-haproxy (project shop');
  expect(result.remedy).toContain('incus config set veza-haproxy user.bascule.project=veza --project shop');
  expect(world.provision.found).toEqual(before);
});

describe.concurrent('where a step fails for good', () => {
  const rows = provisionActivities.slice(1);

  test.each(rows)('%s: it is named with what is there by now, and the next run goes on from there', async (step) => {
    const world = newWorld({ [step]: 'fails' });
    const result = await run(world);
    expect(result).toMatchObject({ outcome: 'failed', code: 'broken' });
    const failed = result.steps.find(({ outcome }) => outcome === 'failed');
    const there = result.steps
      .slice(1)
      .filter(({ outcome }) => outcome === 'done')
      .map(({ name }) => name);
    const soFar = there.length === 0 ? '' : `\nthere by now: ${there.join(', ')}`;
    expect(result.message).toBe(`${failed?.name}: ${step} is broken${soFar}`);
    expect(result.remedy).toBe(`fix ${step} \`bascule provision\` goes on from there.`);

    world.faults.clear();
    world.faults.calls.splice(0);
    const again = await run(world);
    expect(again).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(again.plan.filter(({ state }) => state === 'right').map(({ name }) => name)).toEqual(
      expect.arrayContaining(there),
    );
    const isOfConfiguration = step === 'requestEdgeChange configuration';
    const wanted = rows.slice(rows.indexOf(isOfConfiguration ? 'seeConfiguration' : step));
    expect(calledIn(world).slice(1)).toEqual(wanted);
  });

  // What the edge's own workflow did is found by that one.
  const all = rows.filter((step) => !step.startsWith('requestEdgeChange'));
  const acts = isWhole ? all : ['launchEdge', 'installPackages'];

  test.each(acts)('%s, after its effect: the next run finds it done', async (step) => {
    const world = newWorld({ [step]: 'fails after its effect' });
    expect(await run(world)).toMatchObject({ outcome: 'failed' });
    world.faults.clear();
    expect(await run(world)).toMatchObject({ outcome: 'succeeded' });
    expect(serves(world)).toBe(true);
    expect((await run(world)).changed).toBe(false);
  });
});
