import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeChange, EdgeChangeAnswer } from '../../src/domain/edge-change.js';
import { visitOnce } from '../rig/ask.js';
import { connectTemporal, killEverything, mustSucceed, quick, startServingProject, until } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import { replayProblems } from '../rig/kill-stage.js';
import type { Project } from '../rig/project.js';

const [first, second] = ['a1a1a1a1', 'b2b2b2b2'];
const config = '.bascule/edge/haproxy.cfg';

describe('after everything was killed at once (HAProxy, the instances, the worker, Temporal)', () => {
  let project: Project;

  beforeAll(async () => {
    project = await startServingProject(first, quick);
    await project.releaseAll(second);
    await mustSucceed(project, 'deploy', 'prod', second, '--soak', '0s');
  });
  afterAll(() => project?.stop());

  const visit = async () => (await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha;
  const installed = () => readFile(join(project.directory, config), 'utf8');

  test('the same release is served again by itself, from the same configuration, and the standby is back', async () => {
    const before = await installed();
    await killEverything(project);
    await project.temporal.restart();
    await project.startWorker();
    await until('users are served', async () => (await visit().catch(() => null)) === second);
    await until('the standby is UP', async () => {
      const { document } = await project.json<{ environments: { name: string; rollback: { fast: boolean } | null }[] }>(
        'status',
      );
      return document.environments.find(({ name }) => name === 'prod')?.rollback?.fast === true;
    });
    expect(await installed()).toBe(before);
    expect((await assertInvariant(project)).prod.sha).toBe(second);
    await mustSucceed(project, 'rollback', 'prod');
    expect(await visit()).toBe(first);
  });

  test('a worker brings the edge back while Temporal is not there yet', async () => {
    await killEverything(project);
    const { exitCode, stderr } = await project.start('worker').ended;
    expect({ exitCode, stderr }).toEqual({ exitCode: 5, stderr: expect.stringContaining('does not answer') });
    await until('users are served', async () => (await visit().catch(() => null)) === first);
    await project.temporal.restart();
    await project.startWorker();
    expect((await assertInvariant(project)).prod.sha).toBe(first);
  });

  test('changes of the edge that are requested while no worker runs are made, and the next worker too goes on', async () => {
    const temporal = await connectTemporal(project);
    await project.killWorker();
    const edge = temporal.client.workflow.getHandle('demo/edge/local');
    const ids = ['first', 'second'];
    const requested = ids.map((id) => {
      const change: EdgeChange = { kind: 'apply', id, operation: id, dryRun: true };
      return edge.executeUpdate<EdgeChangeAnswer, [EdgeChange]>('change', { args: [change] });
    });
    await project.startWorker();
    await Promise.all(requested);
    await until('both changes ended', async () => {
      const answers = ids.map((id) => edge.query<EdgeChangeAnswer, [{ id: string }]>('change', { id }));
      return (await Promise.all(answers)).every(({ state }) => state === 'ended');
    });
    expect(await replayProblems(temporal.client)).toEqual([]);
    await temporal.close();
    await project.killWorker();
    await project.startWorker();
    await mustSucceed(project, 'deploy', 'prod', second, '--soak', '0s');
  });
});
