import { afterAll, beforeAll, expect, test } from 'vitest';
import { otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { visitOnce } from '../rig/ask.js';
import {
  connectTemporal,
  killEverything,
  mustSucceed,
  quickUnderLoad,
  startServingProject,
  type Temporal,
  until,
} from '../rig/chaos.js';
import { setFailPoint, takeOver, untilGone, untilStopped, withShortLease } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import { deploy } from '../rig/kill-matrix.js';
import { placeOf, Stage, worthKilling } from '../rig/kill-stage.js';
import type { Project } from '../rig/project.js';
import { differences, lookAtProject } from '../rig/project-look.js';

// Each of Bascule's parts dies once, at a fixed place of a deploy. make test-all kills each of them everywhere.

let stage: Stage;
let project: Project;
let temporal: Temporal;

beforeAll(async () => {
  stage = await Stage.start(async (serving) => {
    project = await startServingProject(serving, (yaml) => worthKilling(quickUnderLoad(yaml)), withShortLease);
    return placeOf(project);
  });
  temporal = await connectTemporal(project);
});
afterAll(async () => {
  await temporal?.close();
  await stage?.stop();
});

let releases = 0;
async function release(): Promise<string> {
  releases += 1;
  const sha = `dead${releases.toString(16).padStart(6, '0')}`;
  await project.releaseAll(sha);
  return sha;
}

test('a worker that is killed while the edge reloads leaves its deploy to the next one, and a deploy beside it too', async () => {
  const row = { activity: 'reloadEdge', nth: 2, times: 2 };
  await stage.run({ kind: deploy, row, moment: 'during' }, { beside: 'failing deploy' });
});

test('a worker that wakes after another one took over changes nothing any more', async () => {
  const { prod: before } = await assertInvariant(project);
  const sha = await release();
  // The first one disables the standby, the second one switches.
  await setFailPoint(project, { activity: 'recordColor', moment: 'before', nth: 2, how: 'stop' });
  const deploying = project.json<OperationResult>('deploy', 'prod', sha);
  const late = await untilStopped(project);
  await takeOver(project);
  expect(await deploying).toMatchObject({ exitCode: 0, document: { outcome: 'succeeded', sha } });
  await mustSucceed(project, 'rollback', 'prod', '--yes');

  const look = await lookAtProject(project);
  process.kill(late, 'SIGCONT');
  await untilGone(late);
  expect(differences(look, await lookAtProject(project))).toEqual([]);
  expect((await assertInvariant(project)).prod).toEqual(before);
});

test('a Temporal that is killed in a deploy, and comes back on its database, has the deploy go on', async () => {
  const sha = await release();
  const deploying = project.json<OperationResult>('deploy', 'prod', sha, '--soak', '2s');
  const operation = await untilItSoaks();
  await project.temporal.kill();
  await project.temporal.restart();
  // The command may leave with the operation's id where Temporal was lost, and says nothing wrong.
  const { exitCode, document } = await deploying;
  expect([0, 4]).toContain(exitCode);
  expect(document.operation).toBe(operation);
  expect(await temporal.result(operation)).toMatchObject({ outcome: 'succeeded', sha });
  expect(project.workerRuns()).toBe(true);
  expect((await assertInvariant(project)).prod.sha).toBe(sha);
});

test('all of it fails no user, and leaves histories that the next worker can go on with', () => stage.end());

test('a machine that loses its power in a deploy serves again by itself, and the deploy ends', async () => {
  const { prod: before } = await assertInvariant(project);
  const sha = await release();
  await mustSucceed(project, 'deploy', 'prod', sha, '--soak', '2s', '--detach');
  const operation = await untilItSoaks();
  await killEverything(project);
  await expect(visit()).rejects.toThrow();

  await project.temporal.restart();
  await project.startWorker();
  const { document } = await project.json<OperationResult>('follow', operation);
  const expected = document.outcome === 'succeeded' ? { color: otherColor(before.color), sha } : before;
  await until('users are served', async () => (await visit().catch(() => null)) === expected.sha);
  expect((await assertInvariant(project)).prod).toEqual(expected);
});

const visit = async () => (await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha;

/** Answers the operation that has switched traffic and soaks. */
const untilItSoaks = (): Promise<string> =>
  until('the new release soaks', async () => {
    const progress = await temporal.progress('prod').catch(() => null);
    return progress?.waiting === 'soak' ? progress.operation : null;
  });
