import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { connectTemporal, mustSucceed, restartWhenKilled, until } from '../rig/chaos.js';
import { clearFailPoint, isFailPointHit, setFailPoint } from '../rig/fail-point.js';
import { releaseLab, startLab } from '../rig/lab.js';
import type { Project } from '../rig/project.js';
import { openWebSocket } from '../rig/web-socket.js';

const sha = 'a1a1a1a1';
const names = ['backend-api-1', 'backend-api-2', 'stream-server-1'];

let project: Project;

beforeAll(async () => {
  project = await startLab();
  await releaseLab(project, sha);
  await mustSucceed(project, 'deploy', sha);
});
afterAll(() => project?.stop());

async function ask(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

async function instances() {
  const [only] = statusSchema.parse((await project.json<unknown>('status')).document).environments;
  if (only?.colors !== null) throw new Error('instances side by side have no colors');
  return only.instances.map(({ instance, state, health }) => `${instance}: ${state} ${health}`);
}

const allUp = names.map((name) => `${name}: running UP L7OK`);
const untilAllUp = () => until('all are UP', async () => JSON.stringify(await instances()) === JSON.stringify(allUp));

describe('a failover test of instances side by side', () => {
  test('stops one, has the other answer, and starts it again; a WebSocket comes again to the other one', async () => {
    const sockets = await Promise.all(
      [1, 2, 3, 4].map(() => openWebSocket({ target: project.edge, host: 'lab.test', path: '/live' })),
    );
    const running = ask('failover-test', 'backend');
    await until('a WebSocket is cut', async () => sockets.some((socket) => socket.closed() !== null));
    const again = await openWebSocket({ target: project.edge, host: 'lab.test', path: '/live' });
    const result = await running;
    expect(result, result.message).toMatchObject({ exitCode: 0, kind: 'failover-test', outcome: 'succeeded' });
    const { failover } = result;
    expect(failover).toMatchObject({ instance: 'backend-api-1', others: ['backend-api-2'], expectedDownMs: 900 });
    expect(failover?.before.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(failover?.meanwhile.map(({ status, server }) => ({ status, server }))).toEqual(
      Array.from({ length: 5 }, () => ({ status: 200, server: 'api_pool/backend-api-2' })),
    );
    expect(failover?.downAfterMs).toBeLessThanOrEqual(30_000);
    expect(again.identity()).toMatchObject({ component: 'backend' });
    expect(await instances()).toEqual(allUp);
    await Promise.all([...sockets, again].map((socket) => socket.close()));
  });

  test('says as a table what happened when', async () => {
    const { exitCode, stdout } = await project.bascule(
      'failover-test',
      'default',
      'backend',
      '--instance',
      'backend-api-2',
    );
    expect(exitCode, stdout).toBe(0);
    for (const line of [
      /visit while all is UP +5 of 5 served/,
      /stop backend-api-2 by force +done/,
      /DOWN on the edge +after \d+\.\d s +fall × interval is 0\.9 s/,
      /visit while it is down +5 of 5 served +backend-api-1/,
      /UP on the edge +after/,
    ]) {
      expect(stdout).toMatch(line);
    }
  });

  test('is refused where nobody else would answer, and touches nothing', async () => {
    const result = await ask('failover-test', 'stream');
    expect(result).toMatchObject({ exitCode: 2, code: 'failover-test-refused' });
    expect(result.message).toContain('it has one instance alone');
    expect(await ask('failover-test', 'nothing')).toMatchObject({ exitCode: 2, code: 'unknown-component' });
    expect(await instances()).toEqual(allUp);
  });

  test('starts the instance again where it is aborted while that is down', async () => {
    await setFailPoint(project, { activity: 'waitUntilDown', moment: 'before', nth: 1, how: 'stop' });
    const running = ask('failover-test', 'backend');
    await until('the worker stands still', async () => isFailPointHit(project));
    const temporal = await connectTemporal(project);
    await temporal.signal('veza/environment/default', 'abort', { why: 'enough' });
    await temporal.close();
    await project.killWorker();
    project.spawnWorker();
    expect(await running).toMatchObject({ exitCode: 1, code: 'aborted', message: 'aborted: enough' });
    await untilAllUp();
  });

  test('goes on under another worker where one is killed while the instance is down', async () => {
    await setFailPoint(project, { activity: 'visitPool', moment: 'before', nth: 2, how: 'kill' });
    const { isKilled, ended } = await restartWhenKilled(project, 'while it is down', ask('failover-test', 'backend'));
    await clearFailPoint(project);
    expect({ isKilled, outcome: ended.outcome }, ended.message).toEqual({ isKilled: true, outcome: 'succeeded' });
    expect(ended.failover?.meanwhile.map(({ server }) => server)).not.toContain('api_pool/backend-api-1');
    expect(await instances()).toEqual(allUp);
  });
});
