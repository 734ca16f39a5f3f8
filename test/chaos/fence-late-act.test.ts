import { access, chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { afterEach, expect, it, vi } from 'vitest';
import { loadConfiguration } from '../../src/config/load.js';
import { edgeChangeWorkflowId } from '../../src/domain/names.js';
import { type Edge, edgeFiles } from '../../src/haproxy/edge.js';
import { LocalHost } from '../../src/hosts/local.js';
import { lookAt } from '../rig/edge-look.js';
import { type Project, startProject } from '../rig/project.js';
import { readLease, untilGone } from '../rig/worker-process.js';

/** A lease that was not renewed for so long is nobody's. */
const leaseMs = 30_000;
/** Exit code of templates/edge-host.sh. */
const refusedByTheFence = 10;
const projects: Project[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const project of projects.splice(0)) await project.stop();
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

it('A worker that was stopped in the middle of an install and wakes after its take-back changes nothing', async () => {
  const late = await lateAct('install');
  folders.push(late.folder);
  const project = await startProject({ env: { PATH: `${late.folder}:${process.env.PATH}` } });
  projects.push(project);
  await project.startWorker();
  expect((await project.bascule('apply')).exitCode).toBe(0);
  const edge = await edgeOf(project);
  const before = await lookAt(edge);
  const client = new Client({ connection: await Connection.connect({ address: project.temporal.address }) });

  // The first worker stops where it has sent the act, and the act has not begun.
  const yaml = await readFile(join(project.directory, 'bascule.yaml'), 'utf8');
  await writeFile(
    join(project.directory, 'bascule.yaml'),
    yaml.replace('prod.localhost]', 'prod.localhost, late.localhost]'),
  );
  const first = await readLease(project.directory);
  await late.hold();
  const result = project.json<{ outcome: string; code: string }>('apply');
  await late.reached();
  process.kill(first.pid, 'SIGSTOP');
  const candidates = await Promise.all(stagedFiles(edge).map((file) => readFile(file, 'utf8')));

  // Temporal gives up on it, and the second worker can't install either: the change is taken back.
  await late.release();
  await untilTriedAgain(client, edgeChangeWorkflowId('demo', 'local', 2));
  await rm(edgeFiles(edge).staged);
  await untilLeaseIsStale(project);
  await project.startWorker();
  expect((await readLease(project.directory)).pid).not.toBe(first.pid);
  expect((await result).document).toMatchObject({ outcome: 'failed', code: 'edge-file-missing' });
  expect(await lookAt(edge)).toEqual(before);

  // All that the late act needs is there again: nothing but the claim keeps it out.
  await Promise.all(stagedFiles(edge).map((file, place) => writeFile(file, candidates[place] ?? '')));
  const files = await filesOf(edge);
  await late.goOn();
  expect(await late.exitCode()).toBe(refusedByTheFence);
  process.kill(first.pid, 'SIGCONT');
  await untilGone(first.pid, 60_000);
  expect(await filesOf(edge)).toEqual(files);
  expect(await lookAt(edge)).toEqual({ ...before, leftovers: stagedFiles(edge).map((file) => basename(file)) });
  await client.connection.close();

  // The worker that took over has the project.
  expect((await project.bascule('apply')).exitCode).toBe(0);
  expect((await lookAt(edge)).leftovers).toEqual([]);
}, 180_000);

const stagedFiles = (edge: Edge): readonly string[] => [edgeFiles(edge).staged, `${edgeFiles(edge).applied}.staged`];

async function edgeOf(project: Project): Promise<Edge> {
  const { edge } = await loadConfiguration(join(project.directory, 'bascule.yaml'));
  return { host: new LocalHost(), project: 'demo', configuration: edge };
}

/** Every file of the edge but those that HAProxy itself has there. */
async function filesOf(edge: Edge): Promise<Readonly<Record<string, string>>> {
  const folder = dirname(edgeFiles(edge).config);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== 'haproxy.log');
  const read = async (path: string) => [path, await readFile(path, 'utf8')] as const;
  return Object.fromEntries(
    await Promise.all(
      files
        .map((file) => join(file.parentPath, file.name))
        .sort()
        .map(read),
    ),
  );
}

/** A shell for PATH that keeps one act on the edge's host from beginning. */
async function lateAct(act: string) {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-late-'));
  const file = (name: string) => join(folder, name);
  const lines = [
    '#!/bin/sh',
    `if [ "\${4:-}" = ${act} ] && [ -e '${file('hold')}' ]; then`,
    `  touch '${file('reached')}'`,
    `  until [ -e '${file('go')}' ]; do sleep 0.05; done`,
    '  /bin/sh "$@"',
    `  echo $? >'${file('code.partial')}'`,
    `  mv '${file('code.partial')}' '${file('code')}'`,
    '  exit 1',
    'fi',
    'exec /bin/sh "$@"',
  ];
  await writeFile(file('sh'), `${lines.join('\n')}\n`);
  await chmod(file('sh'), 0o755);
  const untilThere = (name: string) => vi.waitFor(() => access(file(name)), { timeout: 30_000, interval: 20 });
  return {
    folder,
    /** The next such act waits, until `goOn`. */
    hold: () => writeFile(file('hold'), ''),
    reached: () => untilThere('reached'),
    /** Later ones do not wait. */
    release: () => rm(file('hold')),
    goOn: () => writeFile(file('go'), ''),
    async exitCode() {
      await untilThere('code');
      return Number(await readFile(file('code'), 'utf8'));
    },
  };
}

async function untilTriedAgain(client: Client, workflowId: string): Promise<void> {
  await vi.waitFor(
    async () => {
      const { raw } = await client.workflow.getHandle(workflowId).describe();
      const [pending] = raw.pendingActivities ?? [];
      if ((pending?.attempt ?? 0) < 2) throw new Error(`${pending?.activityType?.name} is at its first try`);
    },
    { timeout: 30_000, interval: 100 },
  );
}

async function untilLeaseIsStale({ directory }: Project): Promise<void> {
  const { renewedAt } = await readLease(directory);
  await sleep(Math.max(Date.parse(renewedAt) + leaseMs + 100 - Date.now(), 0));
}
