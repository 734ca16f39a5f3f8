import { existsSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diagnosisSchema, resultSchema } from '../../src/cli/output-schema.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { visitOnce } from '../rig/one-visit.js';
import { killAllOf, type Project, startProject } from '../rig/project.js';

// The disk under everything but Temporal is full: edge, instances, the worker's lease and its log. Needs root, to mount.

const [base, next] = ['a0a0a0a0', 'b1b1b1b1'];

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: quick });
  for (const sha of [base, next]) await project.releaseAll(sha);
  await mkdir(file(''));
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', file('')]);
  await writeFile(file('worker.log'), '');
  await symlink(file('worker.log'), join(project.directory, 'worker.log'));
  await project.startWorker();
  await mustSucceed(project, 'apply');
  await mustSucceed(project, 'deploy', 'prod', base, '--soak', '0s');
  await execa('sh', ['-c', `cat /dev/zero >'${file('ballast')}'`], { reject: false });
});
afterAll(async () => {
  await project?.stopWorker();
  // Once it is unmounted, their folders have no path by which they could be found.
  if (project) await killAllOf(file(''));
  await execa('umount', ['-l', file('')], { reject: false });
  await project?.stop();
});

const file = (name: string) => join(project.directory, '.bascule', name);

test('a deploy to a full disk ends with what to type, the worker goes on, and the same works when there is room', async () => {
  const { exitCode, document } = await project.json<unknown>('deploy', 'prod', next, '--soak', '0s');
  const result = resultSchema.parse(document);
  expect({ exitCode, ...result }).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'file-not-writable' });
  expect(result.message).toContain('ENOSPC');
  expect(result.remedy).toMatch(/`df -h \S+`.*`bascule doctor`/);
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);

  const { document: found } = await project.json<unknown>('doctor');
  const { checks, usage, examinedBy } = diagnosisSchema.parse(found);
  expect(examinedBy).toBe('worker');
  expect(checks.find(({ name }) => name === 'disk')?.findings).toMatchObject([{ code: 'disk-low' }]);
  expect(usage.map(({ what }) => what)).toContain('releases');
  // It outlived several renewals of its lease.
  expect(project.workerRuns()).toBe(true);

  await rm(file('ballast'));
  await mustSucceed(project, 'deploy', 'prod', next, '--soak', '0s');
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(next);
});

test('a worker that cannot write its lease says so, and what to type', async () => {
  await project.stopWorker();
  expect(existsSync(file('worker.lease'))).toBe(false);
  await execa('sh', ['-c', `cat /dev/zero >'${file('ballast')}'`], { reject: false });
  const { exitCode, stderr } = await project.bascule('worker');
  await rm(file('ballast'));
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('worker.lease') });
  expect(stderr).toContain('ENOSPC');
  expect(stderr).toMatch(/`df -h \S+`/);
});
