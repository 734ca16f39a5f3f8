import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OperationResult } from '../../src/domain/operation.js';
import {
  chance,
  connectTemporal,
  momentsOf,
  say,
  startLightLoad,
  startServingProject,
  stepsAt,
  type Temporal,
} from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { replayAll } from '../rig/replay-all.js';
import type { Visitors } from '../rig/visitors.js';

const deploys = 20;
const environments = ['prod', 'staging'] as const;
const random = chance();
const shaOf = (number: number): string => `c0ffee${number.toString(16).padStart(4, '0')}`;
const isBroken = (number: number): boolean => number % 5 === 3;

describe('a worker that is killed in the middle of a deploy', () => {
  let project: Project;
  let temporal: Temporal;
  let visitors: Visitors;
  const serves: Record<string, string> = { prod: shaOf(0), staging: shaOf(0) };

  beforeAll(async () => {
    project = await startServingProject(shaOf(0));
    temporal = await connectTemporal(project);
    visitors = await startLightLoad(project);
  });

  afterAll(async () => {
    await temporal?.close();
    await project?.stop();
  });

  const deploy = (environment: string, sha: string) => project.json<OperationResult>('deploy', environment, sha);

  async function measure(): Promise<number> {
    const sha = shaOf(0xffff);
    await project.releaseAll(sha);
    const answers = await Promise.all(environments.map((environment) => deploy(environment, sha)));
    for (const environment of environments) serves[environment] = sha;
    return Math.max(...answers.map(({ document }) => document.durationMs));
  }

  /** One deploy to each environment, begun so that the kill meets each at a moment of its own. */
  async function killOnce(round: number, moments: readonly [number, number]): Promise<void> {
    const order = random.shuffled(environments);
    const numbers = environments.map((_, index) => 2 * round + index + 1);
    for (const number of numbers) await project.releaseAll(shaOf(number), { unhealthy: isBroken(number) });
    const [early, late] = [Math.max(...moments), Math.min(...moments)];
    const begun = order.map(async (environment, index) => {
      if (index === 1) await sleep(early - late);
      return deploy(environment, shaOf(numbers[index] ?? 0));
    });
    // Each environment's first deploy and the measured one came before.
    const [startedAt = 0] = await Promise.all(
      order.map((environment) => temporal.started(`demo/${environment}/deploy/${round + 3}`)),
    );
    await sleep(Math.max(0, startedAt + early - Date.now()));
    const killedAt = Date.now();
    await project.killWorker();
    await project.startWorker();
    const upAgainMs = Date.now() - killedAt;

    const context = `CHAOS_SEED=${random.seed}, kill ${round + 1} after ${killedAt - startedAt} ms`;
    say(`${context}: worker answers after ${upAgainMs} ms`);
    for (const [index, { exitCode, document }] of (await Promise.all(begun)).entries()) {
      const [environment, number] = [order[index] ?? '', numbers[index] ?? 0];
      const { running, nextEndMs } = stepsAt(document, killedAt);
      const where = `${context}, ${environment} in ${running.join(', ') || 'no step'}`;
      say(`  ${environment}: ${running.join(', ') || 'no step'}; went on after ${nextEndMs} ms; ${document.outcome}`);
      expect({ exitCode, outcome: document.outcome, code: document.code, sha: document.sha }, where).toEqual(
        isBroken(number)
          ? { exitCode: 1, outcome: 'failed', code: 'instance-unhealthy', sha: shaOf(number) }
          : { exitCode: 0, outcome: 'succeeded', code: null, sha: shaOf(number) },
      );
      if (!isBroken(number)) serves[environment] = shaOf(number);
    }
    const serving = await assertInvariant(project).catch((error: Error) => {
      throw new Error(`${context}: ${error.message}`);
    });
    expect({ prod: serving.prod.sha, staging: serving.staging.sha }, context).toEqual(serves);
  }

  test(`ends ${deploys} of ${deploys} deploys as they should end, each killed at a moment of its own`, {
    timeout: 600_000,
  }, async () => {
    const durationMs = await measure();
    say(`CHAOS_SEED=${random.seed}; a deploy takes ${durationMs} ms`);
    const moments = momentsOf(durationMs, deploys, random);
    for (let round = 0; round < deploys / 2; round += 1) {
      await killOnce(round, [moments[2 * round] ?? 0, moments[2 * round + 1] ?? 0]);
    }
  });

  test('leaves histories that a worker with an empty cache can carry on', async () => {
    const { replayed, problems } = await replayAll(temporal.client);
    expect(problems).toEqual([]);
    expect(replayed).toBeGreaterThan(3 * deploys);
  });

  test('fails no visitor meanwhile, and shows nobody a release whose health fails', async () => {
    const report = await visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
    const broken = Array.from({ length: deploys }, (_, index) => index + 1).filter(isBroken);
    expect(report.answered.filter(({ sha }) => broken.some((number) => sha === shaOf(number)))).toEqual([]);
  });
});
