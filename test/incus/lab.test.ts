import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { ask } from '../rig/ask.js';
import { restartWhenKilled, until } from '../rig/chaos.js';
import { setFailPoint } from '../rig/fail-point.js';
import { abortWhileDown, allServing, labExample, lookAtLab, releaseLab, visitLab } from '../rig/lab.js';
import { freeLoopbackRange } from '../rig/ports.js';
import type { Project } from '../rig/project.js';
import type { Visitors } from '../rig/visitors.js';
import { openWebSocket } from '../rig/web-socket.js';
import { type BareProject, nodeDevice, type Place, startBareProject } from './rig/projects.js';

// examples/lab.yaml, from a daemon as its package leaves it: each test goes on where the one before has ended.

const [first, second] = ['a1a1a1a1', 'b2b2b2b2'] as const;
const names = ['backend-api-1', 'backend-api-2', 'stream-server-1', 'stream-server-2'];
let rig: BareProject;
let project: Project;

/** The example, with what cannot be had in a test changed, and nothing else. */
const onThisMachine = (yaml: string, address: string, { image, network, subnet }: Place): string =>
  yaml
    // No image server is reached from here, and Debian 13 does not boot on cgroups of version 1.
    .replace('image: images:debian/13', `image: ${image}`)
    // It says where its instances are, and leaves what runs in them to whoever has a service.
    .replaceAll(/^ {4}instances: .*$/gm, '$&\n    run: ["node", "server.mjs"]')
    .concat(
      'artifacts:\n  url: file:./artifacts/{component}/{sha}/{component}-{sha}.tar.gz\n  checksum: "{url}.sha256"\n',
    )
    // The same in a fifth of the time: an instance is DOWN after 3 s and UP after 2 s.
    .replaceAll('interval: 5s', 'interval: 1s')
    // Port 80 of the machine may be somebody's, and the name of a bridge is one of all of Linux.
    .concat(`provision: { listen: ${address}, network: ${network}, subnet: ${subnet} }\n`);

beforeAll(async () => {
  const address = freeLoopbackRange().address(1);
  const lab = await readFile(labExample, 'utf8');
  rig = await startBareProject((_, place) => onThisMachine(lab, address, place), { edge: { address, port: 80 } });
  project = rig.project;
  await Promise.all([first, second].map((sha) => releaseLab(project, sha)));
  await project.startWorker();
});
afterAll(() => rig?.stop());

const visit = (path: string, headers = {}) => ask(project.edge, 'lab.test', path, headers);
const instances = async () => (await lookAtLab(project)).instances;
const serving = (sha: string) => allServing(sha, names);

async function operate(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

/** Of both pools. */
const visitAll = (): Promise<Visitors> =>
  visitLab(project, 170, [{ host: 'lab.test', path: '/tracks/1/a.m3u8', kind: 'keep-alive', perSecond: 20 }]);

async function expectUnnoticed(visitors: Visitors): Promise<void> {
  const { failures, sent } = await visitors.stop();
  expect(failures).toEqual([]);
  expect(sent).toBeGreaterThan(20);
}

test('the example is valid', async () => {
  const { exitCode, stdout, stderr } = await project.bascule('validate');
  expect(exitCode, stdout + stderr).toBe(0);
});

test('provisioning takes the machine to the edge and its instances, and again there is nothing to do', async () => {
  const { stdout } = await project.bascule('provision', '--dry-run');
  expect(stdout).toMatch(/^\+ +instance haproxy +launch it from debian with profile bascule$/m);
  expect(stdout).toMatch(/^\+ +instances backend-api-1, .* +launch backend-api-1, .*stream-server-2 from debian/m);
  expect(await rig.incus('list', '--format', 'csv')).toBe('');

  const result = await rig.provision();
  expect(result.exitCode, result.message).toBe(0);
  const states = (await rig.incus('list', '--format', 'csv', '--columns', 'ns')).split('\n').toSorted();
  expect(states).toEqual([...names, 'haproxy'].toSorted().map((name) => `${name},RUNNING`));
  expect((await visit('/')).status).toBe(503);
  expect((await lookAtLab(project)).sha).toBeNull();

  const again = await rig.provision();
  expect(again).toMatchObject({ exitCode: 0, changed: false, message: expect.stringContaining('nothing to do') });
});

test('an instance that is gone and one that was stopped are there again, as nobody’s, also where the worker is killed', async () => {
  await rig.incus('delete', '--force', 'stream-server-2');
  await rig.incus('stop', '--force', 'backend-api-2');
  await setFailPoint(project, { activity: 'launchSideBySide', moment: 'during', nth: 1, how: 'kill' });
  const { isKilled, ended: result } = await restartWhenKilled(project, 'as it makes them', rig.provision());
  expect(isKilled).toBe(true);
  expect(result.exitCode, result.message).toBe(0);
  const toDo = result.plan.filter(({ state }) => state !== 'right');
  expect(toDo).toEqual([
    expect.objectContaining({
      id: 'instances',
      does: 'launch stream-server-2 from debian with profile bascule, start backend-api-2',
    }),
  ]);
  expect((await rig.provision()).changed).toBe(false);
});

test('a release is deployed to each of them, one after the other', async () => {
  await rig.incus('profile', 'device', 'add', 'bascule', ...nodeDevice);
  // By which the service says where it runs: the image has one for all.
  for (const name of names) await rig.incus('exec', name, '--', 'hostname', name);
  const result = await operate('deploy', first);
  expect(result, result.message).toMatchObject({ exitCode: 0, environment: 'default', to: { sha: first } });
  expect(result.components.map(({ instance }) => instance)).toEqual(names);
  expect(await lookAtLab(project)).toEqual({ sha: first, history: [first], instances: serving(first) });
  expect((await rig.provision()).changed).toBe(false);
});

test('the next one takes its place under load, and no request fails', async () => {
  const visitors = await visitAll();
  const result = await operate('deploy', second);
  expect(result, result.message).toMatchObject({ exitCode: 0, from: { sha: first }, to: { sha: second } });
  expect(await lookAtLab(project)).toEqual({ sha: second, history: [second, first], instances: serving(second) });
  await expectUnnoticed(visitors);
});

/** The instance that answered, by its own word. */
const answerer = async (path: string, headers = {}): Promise<string> =>
  (JSON.parse((await visit(path, headers)).body) as { host: string }).host;

test('a visitor stays on the instance of the cookie SERVERID, and a track on one server', async () => {
  const given = await Promise.all(Array.from({ length: 8 }, () => visit('/api/v1/things')));
  const cookies = given.map(({ headers }) => /^SERVERID=[^;]+/.exec(headers['set-cookie']?.[0] ?? '')?.[0]);
  expect([...new Set(cookies)].toSorted()).toEqual(['SERVERID=backend-api-1', 'SERVERID=backend-api-2']);
  for (const name of ['backend-api-1', 'backend-api-2']) {
    const headers = { cookie: `SERVERID=${name}` };
    const seen = await Promise.all(Array.from({ length: 5 }, () => answerer('/api/v1/things', headers)));
    expect(seen).toEqual(Array.from({ length: 5 }, () => name));
  }
  const tracks = await Promise.all(['a.m3u8', 'b.ts', 'c.m4s'].map((file) => answerer(`/tracks/7/${file}`)));
  expect(new Set(tracks).size).toBe(1);
});

test('a rollback gives them the release before, and no request fails', async () => {
  const visitors = await visitAll();
  const result = await operate('rollback', '--yes');
  expect(result, result.message).toMatchObject({ exitCode: 0, from: { sha: second }, to: { sha: first } });
  expect(await lookAtLab(project)).toEqual({ sha: first, history: [first], instances: serving(first) });
  await expectUnnoticed(visitors);
  expect(await operate('cleanup')).toMatchObject({ exitCode: 0, changed: false });
});

test('a failover test has the other instance answer, and the one that was stopped UP again', async () => {
  const sockets = await Promise.all(
    [1, 2, 3, 4].map(() => openWebSocket({ target: project.edge, host: 'lab.test', path: '/live' })),
  );
  const running = operate('failover-test', 'backend');
  await until('a WebSocket is cut', async () => sockets.some((socket) => socket.closed() !== null));
  // The cookie of the one that is gone leads to the other one.
  const cookie = { cookie: 'SERVERID=backend-api-1' };
  await until('who was on it is on the other one', async () => (await answerer('/', cookie)) === 'backend-api-2');
  const again = await openWebSocket({ target: project.edge, host: 'lab.test', path: '/live' });
  const result = await running;
  expect(result, result.message).toMatchObject({ exitCode: 0, kind: 'failover-test', outcome: 'succeeded' });
  const { failover } = result;
  expect(failover).toMatchObject({ instance: 'backend-api-1', others: ['backend-api-2'], expectedDownMs: 3_000 });
  expect(failover?.before.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
  expect(failover?.meanwhile.map(({ status, server }) => `${status} ${server}`)).toEqual(
    Array.from({ length: 5 }, () => '200 api_pool/backend-api-2'),
  );
  expect(failover?.downAfterMs).toBeLessThanOrEqual(30_000);
  expect(Date.parse(failover?.startedAt ?? '')).toBeGreaterThan(Date.parse(failover?.stoppedAt ?? ''));
  expect(again.identity()).toMatchObject({ component: 'backend', sha: first });
  expect(await instances()).toEqual(serving(first));
  await Promise.all([...sockets, again].map((socket) => socket.close()));
});

test('a failover test of the other pool says as a table what happened when', async () => {
  const { exitCode, stdout } = await project.bascule('failover-test', 'stream');
  expect(exitCode, stdout).toBe(0);
  for (const line of [
    /visit while all is UP +5 of 5 served/,
    /stop stream-server-1 by force +done/,
    /DOWN on the edge +after \d+\.\d s +fall × interval is 3\.0 s/,
    /visit while it is down +5 of 5 served +stream-server-2/,
    /UP on the edge +after \d+\.\d s/,
  ]) {
    expect(stdout).toMatch(line);
  }
  expect(await instances()).toEqual(serving(first));
});

const untilAllUp = () => until('all are UP', async () => isDeepStrictEqual(await instances(), serving(first)));

test('a failover test whose worker is killed while the instance is down starts it again', async () => {
  await setFailPoint(project, { activity: 'waitUntilDown', moment: 'during', nth: 1, how: 'kill' });
  const running = operate('failover-test', 'backend', '--instance', 'backend-api-2');
  const { isKilled, ended } = await restartWhenKilled(project, 'while it waits', running);
  expect(isKilled).toBe(true);
  expect(ended, ended.message).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
  expect(await instances()).toEqual(serving(first));
});

test('a failover test that is aborted while the instance is down starts it again', async () => {
  await abortWhileDown(project, () => operate('failover-test', 'stream'));
  await untilAllUp();
});
