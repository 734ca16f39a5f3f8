import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { diagnosisSchema, resultSchema } from '../../src/cli/output-schema.js';
import { ask } from '../rig/ask.js';
import { mustSucceed, restartWhenKilled, startLightLoad, until } from '../rig/chaos.js';
import { setFailPoint } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import { useIncusd } from './rig/containers.js';
import { killDaemon, startDaemon } from './rig/incusd.js';
import { type EdgeProject, startEdgeProject } from './rig/projects.js';

const [first, second, third] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3'] as const;
const config = '/etc/haproxy/haproxy.cfg';
let rig: EdgeProject;

beforeAll(async () => {
  rig = await startEdgeProject();
  await Promise.all([first, second, third].map((sha) => rig.project.releaseAll(sha)));
  await rig.project.startWorker();
});
afterAll(() => rig?.stop());
useIncusd();

const visit = async (host = 'localhost', path = '/') => (await ask(rig.project.edge, host, path)).body;

async function refused(...args: readonly string[]) {
  const { exitCode, document } = await rig.project.json<unknown>(...args);
  const { code, message, remedy } = resultSchema.parse(document);
  return { exitCode, code, message, remedy };
}

async function found(): Promise<readonly string[]> {
  const { document } = await rig.project.json<unknown>('doctor');
  return diagnosisSchema.parse(document).checks.flatMap(({ findings }) => findings.map(({ code }) => code));
}

test("the distribution's haproxy.cfg is taken over by a repair alone", async () => {
  const before = await rig.edge.run('cat', config);
  const result = await refused('apply');
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-drift' });
  expect(result.message).toContain(rig.edge.name);
  expect(await rig.edge.run('cat', config)).toBe(before);
  await mustSucceed(rig.project, 'apply', '--repair');
  expect((await ask(rig.project.edge, 'localhost', '/')).status).toBe(503);
});

test('it serves what is deployed, switched to and rolled back to, and fails no visitor', async () => {
  await mustSucceed(rig.project, 'deploy', 'staging', first);
  await mustSucceed(rig.project, 'deploy', 'prod', first);
  const visitors = await startLightLoad(rig.project);
  await mustSucceed(rig.project, 'deploy', 'prod', second);
  expect(await visit()).toContain(second);
  expect(await visit('prod.localhost', '/api/v1/things')).toContain(second);
  await mustSucceed(rig.project, 'rollback', 'prod', '--yes');
  expect(await visit()).toContain(first);
  await mustSucceed(rig.project, 'deploy', 'prod', third);
  expect(await visit()).toContain(third);
  const { failed, sent } = await visitors.stop();
  expect(sent).toBeGreaterThan(100);
  expect(failed).toBe(0);
  expect(await visit('staging.localhost')).toContain(first);
  expect((await assertInvariant(rig.project)).prod.sha).toBe(third);
});

test('status and doctor look at it', async () => {
  const { edge } = await rig.project.look();
  expect(edge).toMatchObject({ running: true, drift: [], needsOperator: null });
  expect(edge.host).toBe(`local:${rig.edge.name} (project default)`);
  expect(await found()).toEqual([]);
});

test('a hand edit is drift, refuses every change and is repaired', async () => {
  await rig.edge.run('sed', '-i', 's/maxconn 4096/maxconn 4095/', config);
  expect((await rig.project.look()).edge.drift).toMatchObject([{ kind: 'hand-edited' }]);
  expect(await found()).toContain('edge-drift');
  expect(await refused('rollback', 'prod', '--yes')).toMatchObject({ exitCode: 1, code: 'edge-drift' });
  expect(await visit()).toContain(third);
  await mustSucceed(rig.project, 'apply', '--repair');
  expect(await rig.edge.run('grep', 'maxconn', config)).toContain('4096');
  await assertInvariant(rig.project);
});

test('what its HAProxy does not take is refused there, and nothing changes', async () => {
  const yaml = join(rig.project.directory, 'bascule.yaml');
  const right = await readFile(yaml, 'utf8');
  const before = await rig.edge.run('cat', config);
  await appendFile(join(rig.project.directory, 'extra.cfg'), 'no-such-directive here\n');
  await writeFile(
    yaml,
    right.replace('topology:', '  extra: { global: extra.cfg }\ntopology:').replace('\n\n  extra', '\n  extra'),
  );
  const result = await refused('apply');
  expect(result).toMatchObject({ exitCode: 1, code: 'haproxy-refused' });
  expect(result.message).toContain('no-such-directive');
  expect(result.message).toContain(rig.edge.name);
  await writeFile(yaml, right);
  expect(await rig.edge.run('cat', config)).toBe(before);
  expect(await visit()).toContain(third);
  await assertInvariant(rig.project);
});

test.each(['during', 'after'] as const)(
  'a worker killed %s installConfig is taken up by the next one',
  async (moment) => {
    const wanted = (await visit()).includes(third) ? first : third;
    await setFailPoint(rig.project, { activity: 'installConfig', moment, nth: 1, how: 'kill' });
    const deploying = rig.project.json<unknown>('deploy', 'prod', wanted, '--again');
    const { isKilled, ended } = await restartWhenKilled(rig.project, `${moment} installConfig`, deploying);
    expect(isKilled).toBe(true);
    expect(ended.exitCode, JSON.stringify(ended.document)).toBe(0);
    expect(await visit()).toContain(wanted);
    expect((await assertInvariant(rig.project)).prod.sha).toBe(wanted);
  },
);

test('Incus is ended in the middle of a deploy, which goes on when it is back, and visitors notice nothing', async () => {
  const wanted = (await visit()).includes(third) ? first : third;
  const visitors = await startLightLoad(rig.project);
  const deploying = rig.project.json<unknown>('deploy', 'prod', wanted, '--again');
  await until('instances are being made', async () =>
    (await rig.project.look()).environments.some(({ operation }) => operation),
  );
  await killDaemon(inject('incusd'));
  await startDaemon(inject('incusd').directory);
  const { exitCode, document } = await deploying;
  expect(exitCode, JSON.stringify(document)).toBe(0);
  expect(await visit()).toContain(wanted);
  expect((await visitors.stop()).failed).toBe(0);
  await assertInvariant(rig.project);
});

test('a HAProxy that was stopped there is named with the command that starts it', async () => {
  await rig.edge.run('systemctl', 'stop', 'haproxy');
  const result = await refused('apply', '--repair');
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-not-running' });
  expect(await found()).toContain('edge-not-running');
  await rig.edge.run('systemctl', 'start', 'haproxy');
  await mustSucceed(rig.project, 'apply');
  await assertInvariant(rig.project);
});
