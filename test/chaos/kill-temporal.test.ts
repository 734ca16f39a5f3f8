import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { chance, connectTemporal, momentsOf, say, startLightLoad, startServingProject, stepsAt } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { isWhole } from '../rig/reliability.js';
import type { Visitors } from '../rig/visitors.js';

const deploys = isWhole ? 20 : 1;
const longestOutageMs = isWhole ? 10_000 : 2_000;
const random = chance();
const shaOf = (number: number): string => `deadbee${number.toString(16).padStart(3, '0')}`;
const isBroken = (number: number): boolean => number % 3 === 2;

describe('a Temporal server that is killed in the middle of a deploy', () => {
  let project: Project;
  let visitors: Visitors;
  let serves = shaOf(0);

  beforeAll(async () => {
    project = await startServingProject(serves);
    visitors = await startLightLoad(project);
  });

  afterAll(async () => {
    await project?.stop();
  });

  test(`has ${deploys} of ${deploys} deploys end as they should when it is back on its database`, {
    timeout: 600_000,
  }, async () => {
    for (const [index, moment] of momentsOf(2_500, deploys, random).entries()) {
      const number = index + 1;
      const sha = shaOf(number);
      await project.releaseAll(sha, { unhealthy: isBroken(number) });
      const before = await connectTemporal(project);
      const deploying = project.json<OperationResult>('deploy', 'prod', sha);
      // Each environment's first deploy came before.
      const id = `demo/prod/deploy/${number + 1}`;
      const startedAt = await before.started(id);
      await before.close();
      await sleep(Math.max(0, startedAt + moment - Date.now()));
      const killedAt = Date.now();
      await project.temporal.kill();
      const outageMs = Math.round(random.next() * longestOutageMs);
      await sleep(outageMs);
      await project.temporal.restart();
      const backAt = Date.now();

      const { exitCode, document: answer } = await deploying;
      const after = await connectTemporal(project);
      const result = await after.result(id);
      await after.idle('prod');
      await after.close();
      const { running, nextEndMs } = stepsAt(result, backAt);
      const context = `CHAOS_SEED=${random.seed}, deploy ${number}, killed after ${killedAt - startedAt} ms for ${backAt - killedAt} ms in ${running.join(', ') || 'no step'}`;
      say(
        `${context}; next step ended ${nextEndMs} ms after it was back; ${result.outcome}; the command exited with ${exitCode}; the worker ${project.workerRuns() ? 'runs' : 'ended'}`,
      );
      expect(project.workerRuns(), `${context}: the worker goes on`).toBe(true);
      expect({ outcome: result.outcome, code: result.code, sha: result.sha }, context).toEqual(
        isBroken(number)
          ? { outcome: 'failed', code: 'instance-unhealthy', sha }
          : { outcome: 'succeeded', code: null, sha },
      );
      // The command may leave with the operation's id where Temporal was lost, and says nothing wrong.
      expect({ exitCode, operation: answer.operation }, context).toEqual(
        exitCode === 4 ? { exitCode: 4, operation: id } : { exitCode: isBroken(number) ? 1 : 0, operation: id },
      );
      if (!isBroken(number)) serves = sha;
      const { prod } = await assertInvariant(project).catch((error: Error) => {
        throw new Error(`${context}: ${error.message}`);
      });
      expect(prod.sha, context).toBe(serves);
    }
  });

  test('is named by a worker that is started meanwhile, which ends for its supervisor to try again', async () => {
    await project.stopWorker();
    await project.temporal.kill();
    for (const attempt of ['first', 'second']) {
      const { exitCode, stderr } = await project.bascule('worker');
      expect({ exitCode, stderr }, attempt).toEqual({
        exitCode: 5,
        stderr: expect.stringContaining(project.temporal.address),
      });
    }
    await project.temporal.restart();
    await project.startWorker();
    expect((await assertInvariant(project)).prod.sha).toBe(serves);
  });

  test('fails no visitor meanwhile', async () => {
    const report = await visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
  });
});
