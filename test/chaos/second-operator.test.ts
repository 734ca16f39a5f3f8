import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { EdgeChange, EdgeChangeAnswer } from '../../src/domain/edge-change.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { connectTemporal, startServingProject, type Temporal, until } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { replayAll } from '../rig/replay-all.js';

let releases = 0;

describe('two operators at once', () => {
  let project: Project;
  let temporal: Temporal;

  beforeAll(async () => {
    project = await startServingProject('abcdef0');
    temporal = await connectTemporal(project);
  });

  afterEach(async () => {
    await temporal.idle('prod');
    await assertInvariant(project);
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
    const answers = await Promise.all([deploy('prod', sha, '--soak', '3s'), deploy('prod', sha, '--soak', '3s')]);
    expect(answers.map(({ exitCode }) => exitCode)).toEqual([0, 0]);
    expect(new Set(answers.map(({ document }) => document.operation)).size).toBe(1);
    expect(answers.filter(({ stderr }) => stderr.includes('joins'))).toHaveLength(1);
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

  test('have one worker: a second one is refused while the first one lives', async () => {
    const { exitCode, stderr } = await project.bascule('worker');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/another worker of this project runs \(process \d+ on \S+\); it holds \S+worker\.lease/);
    expect(stderr).toContain('→ Use that one, or stop it first');
    expect(project.workerRuns()).toBe(true);
  });

  test('lose nothing where the command gets SIGKILL: the deploy goes on', async () => {
    const sha = await release();
    const command = project.start('deploy', 'prod', sha, '--soak', '1s');
    const operation = await until('the deploy runs', async () => {
      const running = (await temporal.status('prod')).operation;
      return running?.sha === sha ? running.id : null;
    });
    command.kill('SIGKILL');
    await command.ended;
    expect(await temporal.result(operation)).toMatchObject({ outcome: 'succeeded', sha });
    await temporal.idle('prod');
    expect((await assertInvariant(project)).prod.sha).toBe(sha);
  });

  test('who ask for a change of the edge while no worker runs get it, and the edge goes on in the next worker too', async () => {
    await project.killWorker();
    const edge = temporal.client.workflow.getHandle('demo/edge/local');
    const ask = (id: string) => {
      const change: EdgeChange = { kind: 'apply', id, operation: id, dryRun: true };
      return edge.executeUpdate<EdgeChangeAnswer, [EdgeChange]>('change', { args: [change] });
    };
    const asked = [ask('first'), ask('second')];
    await project.startWorker();
    await Promise.all(asked);
    await until('both changes ended', async () => {
      const answers = await Promise.all(
        ['first', 'second'].map((id) => edge.query<EdgeChangeAnswer, [{ id: string }]>('change', { id })),
      );
      return answers.every(({ state }) => state === 'ended');
    });

    expect((await replayAll(temporal.client)).problems).toEqual([]);
    await project.killWorker();
    await project.startWorker();
    expect(await deploy('prod', await release())).toMatchObject({ exitCode: 0 });
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
