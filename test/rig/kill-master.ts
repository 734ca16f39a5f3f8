import { join } from 'node:path';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { until } from './chaos.js';
import type { Project } from './project.js';

/** SIGKILL of HAProxy's master, which takes its workers with it. Answers how to wait until another one serves. */
export async function killMaster({ directory }: Pick<Project, 'directory'>): Promise<() => Promise<void>> {
  const masterSocket = join(directory, '.bascule/edge/haproxy-master.sock');
  const socket = join(directory, '.bascule/edge/haproxy.sock');
  const workers = await readWorkers(masterSocket);
  if (!workers) throw new Error('no HAProxy runs');
  process.kill(workers.master, 'SIGKILL');
  return async () => {
    await until('another master serves', async () => {
      const now = await readWorkers(masterSocket, 0);
      return now !== null && now.master !== workers.master && (await readRunning(socket, 0)) !== null;
    });
  };
}
