import { existsSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diagnosisSchema, resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { visitOnce } from '../rig/ask.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { killAllOf, type Project, startProject } from '../rig/project.js';

// The disk under everything but Temporal is full: edge, instances, the worker's lease and its log. Needs root, to mount.

const [base, next, last] = ['a0a0a0a0', 'b1b1b1b1', 'c2c2c2c2'];

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  for (const sha of [base, next, last]) await project.releaseAll(sha);
  await mkdir(file(''));
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', file('')]);
  await writeFile(file('worker.log'), '');
  await symlink(file('worker.log'), join(project.directory, 'worker.log'));
  await project.startWorker();
  await mustSucceed(project, 'apply');
  for (const sha of [base, next]) await mustSucceed(project, 'deploy', 'prod', sha, '--soak', '0s');
  await fill();
});
afterAll(async () => {
  await project?.stopWorker();
  // Once it is unmounted, their folders have no path by which they could be found.
  if (project) await killAllOf(file(''));
  await execa('umount', ['-l', file('')], { reject: false });
  await project?.stop();
});

/** To the last byte. */
const fill = () => execa('sh', ['-c', `cat /dev/zero >'${file('ballast')}'`], { reject: false });

const file = (name: string) => join(project.directory, '.bascule', name);

const prodServes = async () => (await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha;

test('a deploy to a full disk ends with what to type, the worker goes on, and the same works when there is room', async () => {
  // The one begins by a change of the edge, which stands the release before down. The other has nothing to stand down and
  // its artifacts are there: it gets as far as its instances, of which it can't even note that they failed.
  const [prod, staging] = await Promise.all([deploy('prod', last), deploy('staging', base)]);
  expect(prod).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'edge-write-failed', lost: [] });
  expect(staging).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'instance-write-failed' });
  expect(staging.warnings).toMatchObject([expect.stringMatching(/not marked as failed.*`bascule cleanup staging`/s)]);
  for (const { message, remedy } of [prod, staging]) {
    expect(message).toContain('No space left');
    expect(remedy).toMatch(/`df -h \S+`.*`bascule doctor`/);
  }
  expect(await prodServes()).toBe(next);
  const { document: seen } = await project.json<unknown>('status', 'prod');
  expect(statusSchema.parse(seen)).toMatchObject({
    edge: { drift: [] },
    environments: [{ sha: next, operation: null }],
  });

  const { document: found } = await project.json<unknown>('doctor');
  const { checks, usage, examinedBy } = diagnosisSchema.parse(found);
  expect(examinedBy).toBe('worker');
  expect(checks.find(({ name }) => name === 'disk')?.findings).toMatchObject([{ code: 'disk-low' }]);
  expect(usage.map(({ what }) => what)).toContain('releases');
  // It outlived several renewals of its lease.
  expect(project.workerRuns()).toBe(true);

  await rm(file('ballast'));
  await mustSucceed(project, 'deploy', 'prod', last, '--soak', '0s');
  expect(await prodServes()).toBe(last);
});

async function deploy(environment: string, sha: string) {
  const { exitCode, document } = await project.json<unknown>('deploy', environment, sha, '--soak', '0s');
  return { exitCode, ...resultSchema.parse(document) };
}

test('a worker starts on a full disk, and works without a hand when there is room', async () => {
  await project.stopWorker();
  expect(existsSync(file('worker.lease'))).toBe(false);
  await fill();
  await project.startWorker();
  expect(existsSync(file('worker.lease'))).toBe(false);
  expect((await project.bascule('status')).exitCode).toBe(0);
  expect(await prodServes()).toBe(last);

  await rm(file('ballast'));
  await expect.poll(() => existsSync(file('worker.lease'))).toBe(true);
  await mustSucceed(project, 'deploy', 'prod', base, '--soak', '0s');
  expect(await project.bascule('worker')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('another worker of this project runs'),
  });
});
