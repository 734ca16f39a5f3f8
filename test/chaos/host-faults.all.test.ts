import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { visitOnce } from '../rig/ask.js';
import { mustSucceed, quickUnderLoad, startLightLoad, startServingProject, until } from '../rig/chaos.js';
import { setFailPoint, untilStopped } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { isFailure } from '../rig/visitors/messages.js';
import type { Visitors } from '../rig/visitors.js';

// What its host does wrong while a command is under way, seen through the whole of it: command, workflows, worker, edge.

const first = 'f0f0f0f0';
let serves = first;
let releases = 0;

/** Programs that go before the host's own, and the clock of the worker and all that it starts. */
let tools: string;
let project: Project;
let visitors: Visitors;

beforeAll(async () => {
  tools = await mkdtemp(join(tmpdir(), 'bascule-tools-'));
  await putBefore('sync', `[ ! -e ${tools}/slow ] || sleep 1`);
  await putBefore('haproxy', `case " $* " in *" -c "*) [ ! -e ${tools}/hangs ] || exec sleep 600 ;; esac`);
  await setClock('+0');
  project = await startServingProject(first, quickUnderLoad, {
    PATH: `${tools}:${process.env.PATH}`,
    LD_PRELOAD: await clockLibrary(),
    FAKETIME_TIMESTAMP_FILE: join(tools, 'clock'),
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  });
  visitors = await startLightLoad(project);
});
afterEach(async () => {
  expect((await assertInvariant(project)).prod.sha).toBe(serves);
});
afterAll(async () => {
  const { requests } = (await visitors?.stop()) ?? { requests: [] };
  await project?.stop();
  await rm(tools, { recursive: true, force: true });
  expect(requests.filter(isFailure)).toEqual([]);
});

async function putBefore(program: string, line: string): Promise<void> {
  const { stdout: own } = await execa('sh', ['-c', `PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v ${program}`]);
  await writeFile(join(tools, program), `#!/bin/sh\n${line}\nexec ${own} "$@"\n`, { mode: 0o755 });
}

const setClock = (difference: string) => writeFile(join(tools, 'clock'), `${difference}\n`);

async function clockLibrary(): Promise<string> {
  const { stdout } = await execa('faketime', ['-m', '-f', '+0', 'sh', '-c', 'echo "$LD_PRELOAD"'], {
    env: { LC_ALL: 'C' },
  });
  return stdout.trim();
}

async function release(): Promise<string> {
  releases += 1;
  const sha = `f0f0f${String(releases).padStart(3, '0')}`;
  await project.releaseAll(sha);
  return sha;
}

async function run(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

test('a clock that is set back an hour, and forward again, stops no deploy and takes the worker no lease', async () => {
  const sha = await release();
  const deploying = run('deploy', 'prod', sha, '--soak', '2s');
  await until('it soaks', async () => (await project.look()).environments[1]?.waiting === 'soak');
  await setClock('-1h');
  expect(await deploying).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
  serves = sha;
  const next = await release();
  expect(await run('deploy', 'prod', next)).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
  await setClock('+0');
  expect(await run('rollback', 'prod', '--yes')).toMatchObject({ exitCode: 0, to: { sha } });
  expect(project.workerRuns()).toBe(true);
});

test('a fault that stays through the undo ends as needs-operator, and what it says to type fixes it', async () => {
  const history = join(project.directory, '.bascule/edge/state/active-color-prod.history');
  const sha = await release();
  // Nothing stands by after a rollback: the switch is the first change of the edge.
  await setFailPoint(project, { activity: 'recordColor', moment: 'before', nth: 1, how: 'stop' });
  const deploying = run('deploy', 'prod', sha);
  const worker = await untilStopped(project);
  await rm(history);
  await symlink('/dev/null', history);
  process.kill(worker, 'SIGCONT');
  const failed = await deploying;
  expect(failed).toMatchObject({ exitCode: 3, outcome: 'needs-operator' });
  expect(failed.message).toContain(history);
  expect(failed.remedy).toContain('bascule apply --repair');

  await rm(history);
  const refused = await run('deploy', 'prod', await release());
  expect(refused).toMatchObject({ exitCode: 1, code: 'edge-needs-operator' });
  await mustSucceed(project, 'apply', '--repair');
  const served = await visitOnce({ ...project.edge, host: 'localhost', path: '/' });
  expect([serves, sha]).toContain(served.sha);
  serves = served.sha ?? '';
  const next = await release();
  expect(await run('deploy', 'prod', next)).toMatchObject({ exitCode: 0 });
  serves = next;
});

test('a disk that takes seconds for each file slows a deploy down, and that is all', {
  timeout: 900_000,
}, async () => {
  await writeFile(join(tools, 'slow'), '');
  const sha = await release();
  expect(await run('deploy', 'prod', sha)).toMatchObject({ exitCode: 0, outcome: 'succeeded' });
  serves = sha;
  await rm(join(tools, 'slow'));
});

test('a haproxy that hangs while it checks fails the deploy in time, and users notice nothing', async () => {
  await writeFile(join(tools, 'hangs'), '');
  const failed = await run('deploy', 'prod', await release());
  await rm(join(tools, 'hangs'));
  expect(failed).toMatchObject({ exitCode: 1, outcome: 'failed' });
  expect(['edge-act-timed-out', 'edge-change-timed-out']).toContain(failed.code);
  const sha = await release();
  expect(await run('deploy', 'prod', sha)).toMatchObject({ exitCode: 0 });
  serves = sha;
});
