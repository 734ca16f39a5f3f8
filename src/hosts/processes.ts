import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import type { HostProcess } from './host.js';

/** As proc(5) counts for programs, whatever the kernel's own clock is. */
const ticksPerSecond = 100;

/** As `Host.processesOf`, of this machine. */
export async function processesOf(directory: string): Promise<readonly HostProcess[]> {
  const uptime = await readFile('/proc/uptime', 'utf8');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => readProcess(pid, uptime)));
  const uid = process.getuid?.() ?? 0;
  return found.filter((one) => one !== null).filter((one) => isOf(one, directory, uid));
}

/** Whether a process runs in a folder; or names a file of it, and is root's or that user's. */
export const isOf = ({ uid, folder, commandLine }: HostProcess, directory: string, own: number): boolean =>
  isWithin(folder, directory) || ([0, own].includes(uid) && commandLine.some((word) => isWithin(word, directory)));

/** Whether a process is HAProxy by what it runs, not by its name alone. */
export const isHaproxy = ({ name, program }: HostProcess): boolean =>
  name === 'haproxy' && (program === '' || basename(program).startsWith('haproxy'));

/** Whether a path is a folder itself or lies in it. */
export const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);

/** One process of this machine; null where it ended, or is another user's. */
export async function readHostProcess(pid: number): Promise<HostProcess | null> {
  return await readProcess(pid, await readFile('/proc/uptime', 'utf8'));
}

async function readProcess(pid: number, uptime: string): Promise<HostProcess | null> {
  try {
    const [stat, status, commandLine, folder, program] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/status`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readLink(`/proc/${pid}/cwd`),
      readLink(`/proc/${pid}/exe`),
    ]);
    return parseProcess({ stat, status, commandLine, folder, program, uptime });
  } catch {
    // It ended meanwhile.
    return null;
  }
}

/** Empty where it is another user's, or of a program with privileges of its own. */
const readLink = (path: string): Promise<string> => readlink(path).catch(() => '');

export interface ProcessFiles {
  readonly stat: string;
  readonly status: string;
  readonly commandLine: string;
  readonly folder: string;
  readonly program: string;
  readonly uptime: string;
}

/** A process by its files `stat`, `status`, `cmdline`, `cwd` and `exe`, and the first number of `/proc/uptime`. */
export function parseProcess(of: ProcessFiles): HostProcess {
  const { stat, status, commandLine, folder, program, uptime } = of;
  // The name stands in brackets, and may hold anything; the fields from the third on follow.
  const nameEnd = stat.lastIndexOf(')');
  const fields = stat.slice(nameEnd + 2).split(' ');
  const [parent, session, startedTicks] = [fields[1], fields[3], fields[19]].map(Number);
  return {
    pid: Number.parseInt(stat, 10),
    parent: parent ?? 0,
    session: session ?? 0,
    uid: Number(/^Uid:\s*(\d+)/m.exec(status)?.[1]),
    name: stat.slice(stat.indexOf('(') + 1, nameEnd),
    program,
    commandLine: commandLine.split('\0').slice(0, -1),
    folder,
    ageMs: (Number.parseFloat(uptime) - (startedTicks ?? 0) / ticksPerSecond) * 1_000,
  };
}
