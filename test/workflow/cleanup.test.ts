import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { operationCalls } from './rig/edge-world.js';
import { Operator } from './rig/operator.js';
import { type Rig, startRig } from './rig/rig.js';
import { setFaults } from './rig/steps.js';
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

const active = { color: 'blue', sha: 'bbbbbbb' };
const calls = () => operationCalls(world);

/** A deploy of ccccccc to green that failed: its instances are there for a look. */
async function failDeploy(): Promise<void> {
  const fail = setFaults(world, { 'startInstance web': 'fails' });
  const accepted = await operator.deploy('ccccccc');
  await fail();
  await operator.ended(accepted);
  world.faults.fix('startInstance web');
  world.faults.calls.length = 0;
}

describe('a cleanup', () => {
  test('leaves a healthy standby, and says how to remove it', async () => {
    const result = await operator.ended(await operator.cleanup());
    expect(result).toMatchObject({ kind: 'cleanup', outcome: 'succeeded', changed: false, from: active, to: active });
    expect(result.message).toBe(
      `${world.name} has nothing to clean up but its standby aaaaaaa (green), which --standby removes`,
    );
    expect(calls()).toEqual(['planCleanup']);
    expect(world.serves).toEqual({ ...active, standby: 'aaaaaaa' });
  });

  test('with --standby stands the standby down, drains it and removes it, in that order', async () => {
    const result = await operator.ended(await operator.cleanup({ standby: true }));
    expect(result).toMatchObject({ outcome: 'succeeded', changed: true, lost: [], from: active, to: active });
    expect(result.message).toBe(`${world.name}: removed backend-green, web-green`);
    const [first, second, third, ...removed] = calls();
    expect([first, second, third]).toEqual(['planCleanup', 'requestEdgeChange stand-down', 'drainColor']);
    expect(removed.toSorted()).toEqual(['removeInstance backend', 'removeInstance web']);
    expect(world.serves).toEqual({ ...active, standby: null });
    expect(world.instancesOf('green')).toEqual(['backend: none', 'web: none']);
    expect(world.instancesOf('blue')).toEqual(['backend: running bbbbbbb', 'web: running bbbbbbb']);
  });

  test('removes what a failed deploy left, and a rollback still has to be named', async () => {
    await failDeploy();
    expect(world.instancesOf('green').join()).toContain('failed ccccccc');
    expect(await operator.ended(await operator.cleanup())).toMatchObject({ outcome: 'succeeded', changed: true });
    expect(world.instancesOf('green')).toEqual(['backend: none', 'web: none']);
    await expect(operator.rollback()).rejects.toMatchObject({ cause: { type: 'rollback-refused' } });
  });

  test('a second time finds nothing', async () => {
    await operator.ended(await operator.cleanup({ standby: true }));
    const result = await operator.ended(await operator.cleanup());
    expect(result).toMatchObject({ outcome: 'succeeded', changed: false });
    expect(result.message).toBe(`${world.name} has nothing to clean up`);
  });

  test('is the same operation for the same request, and for the same options while it runs', async () => {
    const held = world.faults.hold('drainColor');
    const first = await operator.cleanup({ standby: true, requestId: 'nightly' });
    await held.reached;
    expect(await operator.cleanup({ standby: true })).toEqual({ ...first, joined: true });
    expect(await operator.cleanup()).toMatchObject({ joined: false, position: 1 });
    held.release();
    await operator.ended(first);
    expect(await operator.cleanup({ requestId: 'nightly' })).toMatchObject({
      operation: first.operation,
      joined: true,
    });
  });

  test('names what it had removed when it fails', async () => {
    world.faults.set('removeInstance web', 'fails');
    const held = world.faults.hold('removeInstance web');
    const accepted = await operator.cleanup({ standby: true });
    await held.reached;
    await expect.poll(() => world.instancesOf('green')[0]).toBe('backend: none');
    await expect
      .poll(async () => (await operator.progress(accepted.operation)).steps.at(-2)?.outcome, { timeout: 10_000 })
      .toBe('done');
    held.release();
    const result = await operator.ended(accepted);
    expect(result).toMatchObject({ outcome: 'failed', code: 'broken' });
    expect(result.lost).toEqual(['the standby aaaaaaa on green', 'what backend-green held']);
    expect(world.serves).toEqual({ ...active, standby: null });
  });

  test('gives way to a rollback, which does not wait for its drain', async () => {
    const held = world.faults.hold('drainColor');
    const accepted = await operator.cleanup({ standby: true });
    await held.reached;
    const rolledBack = await operator.ended(await operator.rollback());
    expect(rolledBack).toMatchObject({ outcome: 'succeeded', changed: true, to: { sha: 'aaaaaaa' } });
    expect(await operator.ended(accepted)).toMatchObject({ outcome: 'failed', code: 'aborted' });
    expect(calls()).not.toContain('removeInstance web');
  });
});
