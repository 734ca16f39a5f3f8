import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { historySchema, resultSchema, rollbackListSchema } from '../../src/cli/output-schema.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { RuntimeApi, readServers } from '../../src/haproxy/runtime.js';
import { mustSucceed, until } from '../rig/chaos.js';
import { abortWhileDown, allServing, labInstances, lookAtLab, releaseLab, startLab, visitLab } from '../rig/lab.js';
import type { Project } from '../rig/project.js';
import type { Visitors } from '../rig/visitors.js';
import { openWebSocket } from '../rig/web-socket.js';

const [first, second, third, sick] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3', 'dead0000'];

let project: Project;

beforeAll(async () => {
  project = await startLab({ configure: withMigration });
  await Promise.all([first, second, third].map((sha) => releaseLab(project, sha)));
  await releaseLab(project, sick, { unhealthy: true });
});
afterAll(() => project?.stop());

async function ask(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

/**
 * A migration of its third release that waits until it may end. Connections are kept for longer than a busy machine keeps
 * a client from its next request, which would otherwise meet the close.
 */
const withMigration = (yaml: string): string =>
  yaml
    .replace('httpKeepAlive: 1s', 'httpKeepAlive: 5s')
    .replace(
      '    run: ["node"',
      `    migrate: ["sh", "-c", "[ $BASCULE_SHA != ${third} ] || { cd ../../../../..; : >migrating; until [ -e migrated ]; do sleep 0.1; done; }"]\n    run: ["node"`,
    );

/** Those of which the edge's administrative state says so (management guide, "show servers state": 0x08). */
async function drainedServers(socket: string): Promise<readonly string[]> {
  const lines = (await new RuntimeApi(socket).command('show servers state')).split('\n');
  return lines.flatMap((line) => {
    const [, , , name = '', , , admin] = line.split(' ');
    return (Number(admin) & 0x08) > 0 ? [name] : [];
  });
}

async function expectUnnoticed(visitors: Visitors): Promise<void> {
  const { failures, sent } = await visitors.stop();
  expect(failures).toEqual([]);
  expect(sent).toBeGreaterThan(50);
}

describe('a release of instances side by side', () => {
  test('that fails where there was none before is kept for a look, is restarted by nobody, and goes by a cleanup', async () => {
    const result = await ask('deploy', sick);
    expect(result, result.message).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'instance-unhealthy' });
    const [kept] = (await lookAtLab(project)).instances;
    expect(kept).toMatch(new RegExp(`^backend-api-1: failed ${sick}`));
    expect(await ask('cleanup')).toMatchObject({ exitCode: 0, message: expect.stringContaining('backend-api-1') });
  });

  test('is deployed for the first time, one instance after the other', async () => {
    const result = await ask('deploy', first);
    expect(result, result.message).toMatchObject({
      exitCode: 0,
      environment: 'default',
      to: { color: null, sha: first },
    });
    expect(result.components.map(({ instance }) => instance)).toEqual([...labInstances]);
    expect(await lookAtLab(project)).toEqual({ sha: first, history: [first], instances: allServing(first) });
  });

  test('takes the place of another one, and no visitor fails', async () => {
    const visitors = await visitLab(project);
    const result = await ask('deploy', 'default', second);
    expect(result, result.message).toMatchObject({ exitCode: 0, from: { sha: first }, to: { sha: second } });
    expect(await lookAtLab(project)).toEqual({ sha: second, history: [second, first], instances: allServing(second) });
    await expectUnnoticed(visitors);
  });

  test('is not deployed again where it runs already', async () => {
    expect(await ask('deploy', second)).toMatchObject({ exitCode: 0, changed: false });
  });

  test('that does not get healthy is taken back, and no visitor fails', async () => {
    const visitors = await visitLab(project);
    const result = await ask('deploy', sick);
    expect(result, result.message).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'instance-unhealthy' });
    expect(await lookAtLab(project)).toEqual({ sha: second, history: [second, first], instances: allServing(second) });
    await expectUnnoticed(visitors);
  });

  test('is left for the one before by a rollback, and no visitor fails', async () => {
    const list = rollbackListSchema.parse((await project.json<unknown>('rollback', '--list')).document);
    expect(list.releases).toMatchObject([{ sha: first, color: null, fast: false }]);
    const visitors = await visitLab(project);
    const ended = await ask('rollback', '--to', first, '--yes');
    expect({ exitCode: ended.exitCode, to: ended.to.sha }, ended.message).toEqual({ exitCode: 0, to: first });
    expect(await lookAtLab(project)).toEqual({ sha: first, history: [first], instances: allServing(first) });
    const { history } = historySchema.parse((await project.json<unknown>('history')).document);
    expect(history).toMatchObject([{ sha: first, color: null }]);
    await expectUnnoticed(visitors);
  });

  test('keeps an instance drained that it replaces while the edge is reloaded, and no visitor fails', async () => {
    const visitors = await visitLab(project);
    const deploying = ask('deploy', third);
    await until('it migrates', async () => existsSync(join(project.directory, 'migrating')));
    const files = join(project.directory, '.bascule/edge');
    const workers = await readWorkers(join(files, 'haproxy-master.sock'));
    if (!workers) throw new Error('HAProxy does not run');
    process.kill(workers.master, 'SIGHUP');
    await until('another HAProxy worker has it drained', async () => {
      const { pid } = await readServers(join(files, 'haproxy.sock'));
      const drained = await drainedServers(join(files, 'haproxy.sock'));
      return pid !== workers.current?.pid && drained.includes('backend-api-1');
    });
    await writeFile(join(project.directory, 'migrated'), '');
    const result = await deploying;
    expect(result, result.message).toMatchObject({ exitCode: 0, to: { sha: third } });
    expect((await lookAtLab(project)).instances).toEqual(allServing(third));
    await expectUnnoticed(visitors);
  });

  test('leaves a server alone that somebody has put into maintenance, and says so', async () => {
    const runtime = new RuntimeApi(join(project.directory, '.bascule/edge/haproxy.sock'));
    await runtime.command('set server api_pool/backend-api-2 state maint');
    const result = await ask('deploy', second);
    expect(result, result.message).toMatchObject({
      exitCode: 0,
      warnings: expect.arrayContaining([
        expect.stringContaining('backend-api-2 is in maintenance on the edge and stays as it is'),
      ]),
    });
    expect(result.components.map(({ instance }) => instance)).not.toContain('backend-api-2');
    const { instances } = await lookAtLab(project);
    expect(instances.filter((one) => one.includes(` ${third} MAINT`))).toHaveLength(1);
    await runtime.command('set server api_pool/backend-api-2 state ready');
    expect(await ask('deploy', third)).toMatchObject({ exitCode: 0 });
    expect((await lookAtLab(project)).instances).toEqual(allServing(third));
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

const instances = async () => (await lookAtLab(project)).instances;
const untilAllUp = () => until('all are UP', async () => isDeepStrictEqual(await instances(), allServing(third)));

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
    expect(await instances()).toEqual(allServing(third));
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
    expect(await instances()).toEqual(allServing(third));
  });

  test('starts the instance again where it is aborted while that is down', async () => {
    await abortWhileDown(project, () => ask('failover-test', 'backend'));
    await untilAllUp();
  });
});
