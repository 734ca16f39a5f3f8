import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { processesOf } from '../../src/hosts/processes.js';
import { connectTemporal, mustSucceed, quick, say, startServingProject, type Temporal, until } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import { visitOnce } from '../rig/one-visit.js';
import { killAllOf, type Project } from '../rig/project.js';

const [first, second, third] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3'];
const config = '.bascule/edge/haproxy.cfg';

describe('after everything was killed at once (HAProxy, the instances, the worker, Temporal)', () => {
  let project: Project;
  let temporal: Temporal;

  beforeAll(async () => {
    project = await startServingProject(first, quick);
    temporal = await connectTemporal(project);
    for (const sha of [second, third]) await project.releaseAll(sha);
    await mustSucceed(project, 'deploy', 'prod', second, '--soak', '0s');
  });
  afterAll(async () => {
    await temporal?.close();
    await project?.stop();
  });

  /** As a power cut has it: all of it at once, and nobody cleans up. */
  async function killEverything(): Promise<void> {
    await Promise.all([project.killWorker(), project.temporal.kill(), killAllOf(project.directory)]);
    // What the worker started in its last moment has to go too, and a killed process takes a while to end.
    await until('nothing runs any more', async () => {
      await killAllOf(project.directory);
      return (await processesOf(project.directory)).length === 0;
    });
    await expect(visit()).rejects.toThrow();
  }

  const visit = async () => (await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha;
  const installed = () => readFile(join(project.directory, config), 'utf8');

  test('visitors have the same release again without a hand, from the same configuration, and the standby is back', async () => {
    const before = await installed();
    await killEverything();
    await project.temporal.restart();
    await project.startWorker();
    await until('visitors are served', async () => (await visit().catch(() => null)) === second);
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

  test('a worker brings visitors back while Temporal is not there yet', async () => {
    await killEverything();
    const { exitCode, stderr } = await project.bascule('worker');
    expect({ exitCode, stderr }).toEqual({ exitCode: 5, stderr: expect.stringContaining('does not answer') });
    await until('visitors are served', async () => (await visit().catch(() => null)) === first);
    await project.temporal.restart();
    await project.startWorker();
    expect((await assertInvariant(project)).prod.sha).toBe(first);
  });

  test('a deploy that was in the middle ends, as one that succeeded or as one that never was', async () => {
    await mustSucceed(project, 'deploy', 'prod', third, '--soak', '3s', '--detach');
    const operation = await until('the new release has visitors', async () => {
      const progress = await temporal.progress('prod').catch(() => null);
      return progress?.waiting === 'soak' ? progress.operation : null;
    });
    await killEverything();
    await project.temporal.restart();
    await project.startWorker();
    const { document } = await project.json<OperationResult>('follow', operation);
    say(`a deploy whose machine was killed in its soak: ${document.outcome} ${document.code ?? ''}`);
    const expected = document.outcome === 'succeeded' ? third : first;
    await until('visitors are served', async () => (await visit().catch(() => null)) === expected);
    expect((await assertInvariant(project)).prod.sha).toBe(expected);
  });
});
