import { describe, expect, inject, test } from 'vitest';
import { ask } from '../../rig/ask.js';
import { mustSucceed, restartWhenKilled, startLightLoad, until } from '../../rig/chaos.js';
import { type FailPoint, setFailPoint } from '../../rig/fail-point.js';
import { assertInvariant } from '../../rig/invariant.js';
import type { Project } from '../../rig/project.js';
import { killDaemon, startDaemon } from './incusd.js';

// What holds for demo's environments wherever edge and instances are: `project` has their releases, and a worker.

export const shas = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3'] as const;
const [first, second, third] = shas;

/** Ends with the first release on staging and the third on prod. */
export function testReleases(project: () => Project): void {
  test('releases are deployed, switched to and rolled back to, and no request fails', async () => {
    const visit = visitOf(project);
    await mustSucceed(project(), 'deploy', 'staging', first);
    await mustSucceed(project(), 'deploy', 'prod', first);
    const visitors = await startLightLoad(project());
    await mustSucceed(project(), 'deploy', 'prod', second);
    expect(await visit()).toContain(second);
    expect(await visit('prod.localhost', '/api/v1/things')).toContain(second);
    await mustSucceed(project(), 'rollback', 'prod', '--yes');
    expect(await visit()).toContain(first);
    await mustSucceed(project(), 'deploy', 'prod', third);
    expect(await visit()).toContain(third);
    const { failures, sent } = await visitors.stop();
    expect(failures).toEqual([]);
    expect(sent).toBeGreaterThan(100);
    expect(await visit('staging.localhost')).toContain(first);
    expect((await assertInvariant(project())).prod.sha).toBe(third);
  }, 400_000);
}

/** Kills in the middle of deploys. */
export function testInterruptions(
  project: () => Project,
  kills: readonly Pick<FailPoint, 'activity' | 'moment'>[],
): void {
  const visit = visitOf(project);
  /** Another release than the one that visitors have. */
  const deployOther = async () => {
    const wanted = (await visit()).includes(third) ? second : third;
    return { wanted, deploying: project().json<unknown>('deploy', 'prod', wanted) };
  };

  describe('what ends in the middle', { timeout: 240_000 }, () => {
    test.each(kills)('a worker killed $moment $activity is taken up by the next one', async (point) => {
      await setFailPoint(project(), { ...point, nth: 1, how: 'kill' });
      const { wanted, deploying } = await deployOther();
      const { isKilled, ended } = await restartWhenKilled(project(), `in ${point.activity}`, deploying);
      expect(isKilled).toBe(true);
      expect(ended.exitCode, JSON.stringify(ended.document)).toBe(0);
      expect(await visit()).toContain(wanted);
      expect((await assertInvariant(project())).prod.sha).toBe(wanted);
    });

    test('Incus is ended in the middle of a deploy, which goes on when it is back, and visitors notice nothing', async () => {
      const visitors = await startLightLoad(project());
      const { wanted, deploying } = await deployOther();
      await until('instances are being made', async () =>
        (await project().look()).environments.some(({ operation }) => operation),
      );
      await killDaemon(inject('incusd'));
      await startDaemon(inject('incusd').directory);
      const { exitCode, document } = await deploying;
      expect(exitCode, JSON.stringify(document)).toBe(0);
      expect(await visit()).toContain(wanted);
      expect((await visitors.stop()).failures).toEqual([]);
      await assertInvariant(project());
    });
  });
}

export const visitOf =
  (project: () => Project) =>
  async (host = 'localhost', path = '/'): Promise<string> =>
    (await ask(project().edge, host, path)).body;
