import { existsSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { until } from './chaos.js';
import { failPointFile, type Project } from './project.js';

/** Where a worker kills or stops itself; src/activities/fail-point.ts says what each moment is. */
export interface FailPoint {
  readonly activity: string;
  readonly moment: 'before' | 'during' | 'after';
  /** Counted from 1, over all executions of the activity in one worker since the point was set. */
  readonly nth: number;
  readonly how: 'kill' | 'stop';
}

/** A project, by its folder. */
interface Folder {
  readonly directory: string;
}

/** From now on the project's worker fails there, once. The project was started with `failPoints`. */
export async function setFailPoint({ directory }: Folder, point: FailPoint): Promise<void> {
  const file = failPointFile(directory);
  await rm(`${file}.hit`, { force: true });
  await writeFile(`${file}.new`, `${point.activity}:${point.moment}:${point.nth}:${point.how}\n`);
  await rename(`${file}.new`, file);
}

/** No point is set any more. */
export async function clearFailPoint({ directory }: Folder): Promise<void> {
  await rm(failPointFile(directory), { force: true });
}

/** Whether the point that was set last was hit: to wait for with `until`. */
export const isFailPointHit = ({ directory }: Folder): boolean => existsSync(`${failPointFile(directory)}.hit`);

/** Waits until the worker has stopped itself at the point that was set last; answers its pid. */
export async function untilStopped(project: Folder): Promise<number> {
  const { pid } = await readLease(project.directory);
  await until('the worker has stopped itself', async () => {
    return isFailPointHit(project) && /\) T /.test(await readFile(`/proc/${pid}/stat`, 'utf8'));
  });
  return pid;
}

/** The lease of the worker that has the project in this folder. */
export async function readLease(directory: string): Promise<{ readonly pid: number; readonly renewedAt: string }> {
  return JSON.parse(await readFile(join(directory, '.bascule', 'worker.lease'), 'utf8'));
}

/** Waits until a process has ended. */
export async function untilGone(pid: number, withinMs?: number): Promise<void> {
  await until(`process ${pid} has ended`, async () => !existsSync(`/proc/${pid}`), withinMs);
}

/** A lease that was not renewed for so long is nobody's; the usual one is longer. */
export const leaseMs = 3_000;
export const withShortLease = { BASCULE_LEASE_MS: String(leaseMs) };

/** Starts another worker once the lease of the one that stopped, which was short, has run out. */
export async function takeOver(project: Project): Promise<void> {
  const { pid, renewedAt } = await readLease(project.directory);
  await sleep(Math.max(Date.parse(renewedAt) + leaseMs + 100 - Date.now(), 0));
  await project.startWorker();
  await clearFailPoint(project);
  if ((await readLease(project.directory)).pid === pid) throw new Error('no other worker has the lease');
}

/** SIGKILL of HAProxy's master, which takes its workers with it. Answers how to wait until another one serves. */
export async function killMaster({ directory }: Folder): Promise<() => Promise<void>> {
  const masterSocket = join(directory, '.bascule/edge/haproxy-master.sock');
  const workers = await readWorkers(masterSocket);
  if (!workers) throw new Error('no HAProxy runs');
  process.kill(workers.master, 'SIGKILL');
  return async () => {
    await until('another master serves', async () => {
      const now = await readWorkers(masterSocket, 0);
      if (now === null || now.master === workers.master) return false;
      return (await readRunning(join(directory, '.bascule/edge/haproxy.sock'), 0)) !== null;
    });
  };
}
