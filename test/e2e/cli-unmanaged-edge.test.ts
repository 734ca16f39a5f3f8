import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { processesOf } from '../../src/hosts/processes.js';
import { ask } from '../rig/ask.js';
import { mustSucceed, quick, until } from '../rig/chaos.js';
import { type Project, startProject } from '../rig/project.js';
import { findingsOf } from '../rig/project-look.js';

const sha = 'a1a1a1a1';

let project: Project;

beforeAll(async () => {
  project = await startProject({ configure: (yaml) => quick(yaml).replace('manage: true', 'manage: false') });
  await project.releaseAll(sha);
  await project.startWorker();
});
afterAll(() => project.stop());

const file = (name: string) => join(project.directory, '.bascule/edge', name);
const visit = async () => (await ask(project.edge, 'localhost', '/')).body;

async function refused(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  const { code, message, remedy } = resultSchema.parse(document);
  return { exitCode, code, message, remedy: remedy ?? '' };
}

/** Codes of what doctor finds. */
async function found(): Promise<string[]> {
  return (await findingsOf(project)).map(({ code }) => code);
}

/** Types the command that a remedy names to start HAProxy, and waits until it serves. */
async function start(remedy: string): Promise<void> {
  const [, command = ''] = /`(haproxy [^`]+)`/.exec(remedy) ?? [];
  await haproxy(...command.split(' ').slice(1));
}

async function haproxy(...args: readonly string[]): Promise<void> {
  await execa('haproxy', args, { stdio: 'ignore', env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  await until('HAProxy serves', () => visit().catch(() => null));
}

/** By process id: whatever runs this edge's file. Returns when all have ended: a worker goes with its master. */
async function end(): Promise<void> {
  const pids = async () => (await processesOf(file(''))).filter(({ name }) => name === 'haproxy').map(({ pid }) => pid);
  for (const pid of await pids()) await execa('kill', [String(pid)], { reject: false });
  await until('HAProxy has ended', async () => (await pids()).length === 0);
}

test('a HAProxy of somebody else is taken over by a repair alone, which shows its file first', async () => {
  const nobody = await refused('apply');
  expect(nobody).toMatchObject({ exitCode: 1, code: 'edge-not-running' });
  await mkdir(file(''), { recursive: true });
  const { address, port } = project.edge;
  const theirs = `defaults\n  mode http\n  timeout client 5s\nfrontend theirs\n  bind ${address}:${port}\n  http-request return status 200 content-type text/plain string theirs\n`;
  await writeFile(file('haproxy.cfg'), theirs);
  await start(nobody.remedy);
  const result = await refused('apply');
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-drift' });
  expect(result.message).toContain('was not written by Bascule');
  expect(await visit()).toBe('theirs');
  const { exitCode, stderr, stdout } = await project.bascule('apply', '--repair');
  expect(exitCode, stdout).toBe(0);
  expect(stderr).toMatch(/^-frontend theirs$/m);
  await mustSucceed(project, 'deploy', 'prod', sha, '--soak', '0s');
  expect(await visit()).toContain(sha);
});

test('that does not run is named with the command that starts it', async () => {
  await end();
  expect((await project.bascule('status')).stdout).toContain('HAProxy does not run');
  // As doctor does it beside: a HAProxy that only checks the file serves nobody.
  await symlink('/bin/sh', file('haproxy'));
  const checking = execa(file('haproxy'), ['-c', 'read end', '-f', file('haproxy.cfg')], { reject: false });
  const result = await refused('apply', '--repair');
  checking.stdin.end();
  await checking;
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-not-running' });
  expect(await found()).toContain('edge-not-running');
  const { address, port } = project.edge;
  const squatter = createServer().listen(port, address);
  expect(await found()).toContain('address-in-use');
  await new Promise((resolve) => squatter.close(resolve));
  await start(result.remedy);
  expect(await visit()).toContain(sha);
  await mustSucceed(project, 'apply');
});

test('that was started without a master is refused, and serves on', async () => {
  await end();
  await haproxy('-D', '-f', file('haproxy.cfg'));
  const result = await refused('deploy', 'prod', sha, '--again');
  expect(result).toMatchObject({ exitCode: 1, code: 'edge-not-master-worker' });
  expect(await found()).toEqual(['edge-not-master-worker']);
  expect(await visit()).toContain(sha);
  await end();
  await start(result.remedy);
  await mustSucceed(project, 'apply');
  expect(await visit()).toContain(sha);
});
