import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EdgeChange, EdgeChangeAnswer } from '../../src/domain/edge-change.js';
import { connectTemporal, startServingProject, type Temporal, until } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { replayAll } from '../rig/replay-all.js';

let project: Project;
let temporal: Temporal;

beforeAll(async () => {
  project = await startServingProject('abcdef0');
  temporal = await connectTemporal(project);
});

afterAll(async () => {
  await temporal?.close();
  await project?.stop();
});

test('an edge that was asked twice while no worker ran goes on, also in the next worker', async () => {
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
  expect((await project.bascule('deploy', 'prod', 'abcdef0', '--again')).exitCode).toBe(0);
  await assertInvariant(project);
});
