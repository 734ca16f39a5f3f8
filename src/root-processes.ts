import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Project } from './activities/project.js';
import { BasculeError } from './errors.js';
import { findProcesses } from './haproxy/managed.js';
import type { HostProcess } from './hosts/host.js';
import { isWithin } from './hosts/processes.js';
import { leaseHolder } from './worker-lease.js';

/**
 * Every process of the project on this machine that runs as root and need not: the worker, the releases and what they
 * started, Temporal's dev server, and HAProxy's workers. Its master may: it binds the ports and reads the certificates.
 *
 * @returns `runs-as-root` for each
 */
export async function examineRootProcesses({ configuration, edge, host }: Project): Promise<readonly BasculeError[]> {
  const { addressBook, directory } = configuration.instances;
  const folders = [dirname(addressBook), directory];
  const haproxy = edge.host === host ? await findProcesses(edge, 0).catch(() => null) : null;
  const worker = await leaseHolder(configuration);
  const found = (await Promise.all(folders.map((folder) => host.processesOf(folder)))).flat();
  const named = new Map([
    ...found.map((process): [number, string] => [process.pid, nameOf(process, directory)]),
    ...(worker ? [[worker.pid, "Bascule's worker"] as const] : []),
    ...(haproxy?.old ?? []).map(({ pid }) => [pid, "HAProxy's worker"] as const),
    ...(haproxy?.current ? [[haproxy.current.pid, "HAProxy's worker"] as const] : []),
  ]);
  // This command may run in one of the folders itself.
  if (process.pid !== worker?.pid) named.delete(process.pid);
  named.delete(haproxy?.master ?? 0);
  const users = await Promise.all([...named.keys()].map(userIdOf));
  return [...named]
    .filter((_, index) => users[index] === 0)
    .map(([pid, what]) => new BasculeError('runs-as-root', { what, pid }));
}

function nameOf({ folder, name }: HostProcess, directory: string): string {
  const [instance = ''] = isWithin(folder, directory) ? folder.slice(directory.length + 1).split('/') : [];
  return instance === '' ? basename(name) : `${name} of ${instance}`;
}

/** Its effective user, null where it has ended. /proc/<pid> itself shows root for a process that has changed its user. */
async function userIdOf(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const user = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  return user === undefined ? null : Number(user);
}
