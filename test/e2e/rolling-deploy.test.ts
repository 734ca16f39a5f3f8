import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { historySchema, resultSchema, rollbackListSchema, statusSchema } from '../../src/cli/output-schema.js';
import { mustSucceed, restartWhenKilled } from '../rig/chaos.js';
import { clearFailPoint, setFailPoint } from '../rig/fail-point.js';
import { releaseLab, startLab } from '../rig/lab.js';
import type { Project } from '../rig/project.js';
import { startVisitors, type Visitors } from '../rig/visitors.js';

const [first, second, third, sick] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3', 'dead0000'];
const names = ['backend-api-1', 'backend-api-2', 'stream-server-1'];

let project: Project;

beforeAll(async () => {
  project = await startLab();
  await Promise.all([first, second, third].map((sha) => releaseLab(project, sha)));
  await releaseLab(project, sick, { unhealthy: true });
});
afterAll(() => project?.stop());

const visit = (): Promise<Visitors> =>
  startVisitors({
    target: project.edge,
    maxSeconds: 170,
    streams: [
      { host: 'lab.test', path: '/', kind: 'keep-alive', perSecond: 20 },
      { host: 'lab.test', path: '/api/v1/things', kind: 'cookie', perSecond: 20 },
      { host: 'lab.test', path: '/api/v1/things', kind: 'cookie', method: 'POST', perSecond: 5 },
      { host: 'lab.test', path: '/', kind: 'new', perSecond: 10 },
    ],
  });

async function ask(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

/** What each instance holds and whether visitors are led to it, and the release that is on record. */
async function look() {
  const [only] = statusSchema.parse((await project.json<unknown>('status')).document).environments;
  if (only?.colors !== null) throw new Error('instances side by side have no colors');
  return {
    sha: only.sha,
    history: only.history.map(({ sha }) => sha),
    instances: only.instances.map(({ instance, sha, state, health }) => `${instance}: ${state} ${sha} ${health}`),
  };
}

const all = (sha: string) => names.map((name) => `${name}: running ${sha} UP L7OK`);

async function expectUnnoticed(visitors: Visitors): Promise<void> {
  const { failures, sent } = await visitors.stop();
  expect(failures).toEqual([]);
  expect(sent).toBeGreaterThan(50);
}

describe('a release of instances side by side', () => {
  test('is deployed for the first time, one instance after the other', async () => {
    const result = await ask('deploy', first);
    expect(result, result.message).toMatchObject({
      exitCode: 0,
      environment: 'default',
      to: { color: null, sha: first },
    });
    expect(result.components.map(({ instance }) => instance)).toEqual(names);
    expect(await look()).toEqual({ sha: first, history: [first], instances: all(first) });
  });

  test('takes the place of another one, and no visitor fails', async () => {
    const visitors = await visit();
    const result = await ask('deploy', 'default', second);
    expect(result, result.message).toMatchObject({ exitCode: 0, from: { sha: first }, to: { sha: second } });
    expect(await look()).toEqual({ sha: second, history: [second, first], instances: all(second) });
    await expectUnnoticed(visitors);
  });

  test('is not deployed again where it runs already', async () => {
    expect(await ask('deploy', second)).toMatchObject({ exitCode: 0, changed: false });
  });

  test('that does not get healthy is taken back, and no visitor fails', async () => {
    const visitors = await visit();
    const result = await ask('deploy', sick);
    expect(result, result.message).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'instance-unhealthy' });
    expect(await look()).toEqual({ sha: second, history: [second, first], instances: all(second) });
    await expectUnnoticed(visitors);
  });

  test('is left for the one before by a rollback, and no visitor fails', async () => {
    const list = rollbackListSchema.parse((await project.json<unknown>('rollback', '--list')).document);
    expect(list.releases).toMatchObject([{ sha: first, color: null, fast: false }]);
    const visitors = await visit();
    const result = await ask('rollback', '--to', first, '--yes');
    expect(result, result.message).toMatchObject({ exitCode: 0, to: { sha: first } });
    expect(await look()).toEqual({ sha: first, history: [first], instances: all(first) });
    const { history } = historySchema.parse((await project.json<unknown>('history')).document);
    expect(history).toMatchObject([{ sha: first, color: null }]);
    await expectUnnoticed(visitors);
  });

  test('is deployed to its end by another worker where one is killed in the middle', async () => {
    const visitors = await visit();
    await setFailPoint(project, { activity: 'replaceRelease', moment: 'after', nth: 2, how: 'kill' });
    const { isKilled, ended } = await restartWhenKilled(project, 'after replaceRelease 2', ask('deploy', third));
    await clearFailPoint(project);
    expect(isKilled).toBe(true);
    expect(ended, ended.message).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
    expect(await look()).toEqual({ sha: third, history: [third, first], instances: all(third) });
    await expectUnnoticed(visitors);
  });

  test('has no switch, which says why, and nothing to clean up', async () => {
    expect(await ask('switch', 'green')).toMatchObject({
      exitCode: 2,
      code: 'switch-refused',
      message: expect.stringContaining('multi-instance'),
    });
    expect(await ask('cleanup')).toMatchObject({ exitCode: 0, changed: false });
  });

  test('shows its log and runs a program in it', async () => {
    await mustSucceed(project, 'logs', 'backend', '--instance', 'backend-api-2');
    const { stdout } = await project.bascule('exec', 'backend', '--', 'node', '-p', 'process.env.BASCULE_SHA');
    expect(stdout).toBe(third);
  });
});
