import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { connectTemporal, startLightLoad, startServingProject, type Temporal, until } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import type { Visitors } from '../rig/visitors.js';

let releases = 0;

describe('two operators at once', () => {
  let project: Project;
  let temporal: Temporal;
  let visitors: Visitors;

  beforeAll(async () => {
    project = await startServingProject('abcdef0');
    temporal = await connectTemporal(project);
    visitors = await startLightLoad(project);
  });

  afterAll(async () => {
    await temporal?.close();
    await project?.stop();
  });

  const deploy = (environment: string, sha: string, ...options: readonly string[]) =>
    project.json<OperationResult>('deploy', environment, sha, ...options);

  /** A release that nobody deployed yet. */
  async function release(): Promise<string> {
    releases += 1;
    const sha = `beef${releases.toString(16).padStart(6, '0')}`;
    await project.releaseAll(sha);
    return sha;
  }

  test('who deploy the same release wait for the same operation', async () => {
    const sha = await release();
    const answers = await Promise.all([deploy('prod', sha), deploy('prod', sha)]);
    expect(answers.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    expect(new Set(answers.map(({ document }) => document.operation)).size).toBe(1);
    expect(answers.filter(({ stderr }) => stderr.includes('joins'))).toHaveLength(1);
    expect((await assertInvariant(project)).prod.sha).toBe(sha);
  });

  test('who deploy different releases get them one after the other; the newest one that waits takes the place of an older', async () => {
    const [first, second, third] = [await release(), await release(), await release()];
    const running = deploy('prod', first, '--wait-for-approval');
    await until('the first one waits for approval', async () => {
      return (await temporal.progress('prod'))?.waiting === 'approval';
    });
    const superseded = deploy('prod', second);
    await until('the second one waits', async () => (await temporal.status('prod')).queue[0]?.sha === second);
    const last = deploy('prod', third);
    expect(await superseded).toMatchObject({
      exitCode: 1,
      document: { outcome: 'failed', code: 'superseded', sha: second },
    });
    expect((await project.bascule('approve', 'prod')).exitCode).toBe(0);
    expect(await running).toMatchObject({ exitCode: 0, document: { outcome: 'succeeded', sha: first } });
    expect(await last).toMatchObject({
      exitCode: 0,
      document: { outcome: 'succeeded', sha: third, from: { sha: first } },
    });
    expect((await project.bascule('history', 'prod')).stdout).not.toContain(second);
  });

  test('who deploy to staging and to prod both succeed, with one change of the edge at a time', async () => {
    const since = Date.now();
    const shas = [await release(), await release()] as const;
    const answers = await Promise.all([deploy('staging', shas[0]), deploy('prod', shas[1])]);
    expect(answers.map(({ document }) => document.outcome)).toEqual(['succeeded', 'succeeded']);

    const changes = await until('Temporal lists the changes of the edge', async () => {
      const listed = await edgeChangesSince(since);
      return listed.length >= 4 && listed.every(({ to }) => to !== null) ? listed : null;
    });
    const overlaps = changes.filter((change, index) => {
      const before = changes[index - 1];
      return before?.to && before.to > change.from;
    });
    expect(overlaps).toEqual([]);
    await temporal.idle('staging');
    const serving = await assertInvariant(project);
    expect([serving.staging.sha, serving.prod.sha]).toEqual(shas);
  });

  test('who roll back while a deploy soaks go before all that waits, and users keep the release before', async () => {
    const { prod: before } = await assertInvariant(project);
    const [next, waiting] = [await release(), await release()];
    const running = deploy('prod', next, '--soak', '10m');
    await until('it soaks', async () => (await temporal.progress('prod'))?.waiting === 'soak');
    const superseded = deploy('prod', waiting);
    await until('the next one waits', async () => (await temporal.status('prod')).queue[0]?.sha === waiting);
    // As from the UI of Temporal.
    await temporal.signal('demo/environment/prod', 'rollback');
    expect(await running).toMatchObject({ exitCode: 1, document: { outcome: 'failed', code: 'rolled-back' } });
    expect(await superseded).toMatchObject({ exitCode: 1, document: { outcome: 'failed', code: 'superseded' } });
    const { last } = await temporal.idle('prod');
    expect(last).toMatchObject({ kind: 'rollback', outcome: 'succeeded', changed: false, to: { sha: before.sha } });
    expect((await assertInvariant(project)).prod).toEqual(before);
  });

  test('fail no user', async () => {
    const report = await visitors.stop();
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
  });

  /** Times of the changes of the edge that began after a moment, in their order. */
  async function edgeChangesSince(since: number): Promise<{ id: string; from: number; to: number | null }[]> {
    const changes = [];
    for await (const change of temporal.client.workflow.list({ query: 'WorkflowType = "switchEdge"' })) {
      const from = change.startTime.getTime();
      if (from >= since) changes.push({ id: change.workflowId, from, to: change.closeTime?.getTime() ?? null });
    }
    return changes.sort((a, b) => a.from - b.from);
  }
});
