import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { ask } from '../rig/ask.js';
import { mustSucceed } from '../rig/chaos.js';
import { assertInvariant } from '../rig/invariant.js';
import { findingsOf } from '../rig/project-look.js';
import { useIncusd } from './rig/containers.js';
import { type EdgeProject, startEdgeProject } from './rig/projects.js';
import { shas, testInterruptions, testReleases, visitOf } from './rig/scenes.js';

const third = shas[2];
const config = '/etc/haproxy/haproxy.cfg';
let rig: EdgeProject;

beforeAll(async () => {
  rig = await startEdgeProject();
  await Promise.all(shas.map((sha) => rig.project.releaseAll(sha)));
  await rig.project.startWorker();
});
afterAll(() => rig?.stop());
useIncusd();

const visit = visitOf(() => rig.project);

async function refused(...args: readonly string[]) {
  const { exitCode, document } = await rig.project.json<unknown>(...args);
  const { code, message, remedy } = resultSchema.parse(document);
  return { exitCode, code, message, remedy };
}

async function found(): Promise<readonly string[]> {
  return (await findingsOf(rig.project)).map(({ code }) => code);
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

testReleases(() => rig.project);

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

testInterruptions(
  () => rig.project,
  [
    { activity: 'installConfig', moment: 'during' },
    { activity: 'installConfig', moment: 'after' },
  ],
);

test('a HAProxy that was stopped there is named with the command that starts it', async () => {
  await rig.edge.run('systemctl', 'stop', 'haproxy');
  const result = await refused('apply', '--repair');
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-not-running' });
  expect(await found()).toContain('edge-not-running');
  await rig.edge.run('systemctl', 'start', 'haproxy');
  await mustSucceed(rig.project, 'apply');
  await assertInvariant(rig.project);
});
