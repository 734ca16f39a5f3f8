import { readdir, readFile, readlink } from 'node:fs/promises';
import type { HostProcess } from './host.js';

/** As proc(5) counts for programs, whatever the kernel's own clock is. */
const ticksPerSecond = 100;

/** As `Host.processesOf`, of this machine. */
export async function processesOf(directory: string): Promise<readonly HostProcess[]> {
  const uptime = await readFile('/proc/uptime', 'utf8');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => readProcess(pid, uptime)));
  return found.filter((process) => process !== null).filter((process) => isOf(process, directory));
}

/** Whether a process runs in a folder or names a file of it. */
export const isOf = ({ folder, commandLine }: HostProcess, directory: string): boolean =>
  [folder, ...commandLine].some((word) => isWithin(word, directory));

/** Whether a path is a folder itself or lies in it. */
export const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);

/** One process of this machine; null where it ended, or is another user's. */
export async function readHostProcess(pid: number): Promise<HostProcess | null> {
  return await readProcess(pid, await readFile('/proc/uptime', 'utf8'));
}

async function readProcess(pid: number, uptime: string): Promise<HostProcess | null> {
  try {
    const [stat, commandLine, folder] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readlink(`/proc/${pid}/cwd`),
    ]);
    return parseProcess({ stat, commandLine, folder, uptime });
  } catch {
    // It ended meanwhile, or is another user's.
    return null;
  }
}

/** A process by its files `stat`, `cmdline` and `cwd`, and the first number of `/proc/uptime`. */
export function parseProcess(of: { stat: string; commandLine: string; folder: string; uptime: string }): HostProcess {
  const { stat, commandLine, folder, uptime } = of;
  // The name stands in brackets, and may hold anything; the fields from the third on follow.
  const nameEnd = stat.lastIndexOf(')');
  const fields = stat.slice(nameEnd + 2).split(' ');
  const [parent, session, startedTicks] = [fields[1], fields[3], fields[19]].map(Number);
  return {
    pid: Number.parseInt(stat, 10),
    parent: parent ?? 0,
    session: session ?? 0,
    name: stat.slice(stat.indexOf('(') + 1, nameEnd),
    commandLine: commandLine.split('\0').slice(0, -1),
    folder,
    ageMs: (Number.parseFloat(uptime) - (startedTicks ?? 0) / ticksPerSecond) * 1_000,
  };
}
