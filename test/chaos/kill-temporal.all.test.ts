import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import { chance, connectTemporal, say, startLightLoad, startServingProject } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import type { Visitors } from '../rig/visitors.js';

const deploys = 20;
const longestOutageMs = 10_000;
const random = chance();
/** One in each of as many equal parts of a deploy, in random order: no part is left out. */
const moments = random.shuffled(
  Array.from({ length: deploys }, (_, index) => ((index + random.next()) / deploys) * 2_500),
);
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

  test(`has ${deploys} of ${deploys} deploys end as ever when it is back on its database`, {
    timeout: 600_000,
  }, async () => {
    for (const [index, moment] of moments.entries()) {
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
      const context = `CHAOS_SEED=${random.seed}, deploy ${number}, killed after ${killedAt - startedAt} ms for ${backAt - killedAt} ms`;
      say(`${context}: ${result.outcome}; the command exited with ${exitCode}`);
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

  test('fails no request meanwhile', async () => {
    const report = await visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
  });
});
