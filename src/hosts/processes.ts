import { readdir, readFile, readlink } from 'node:fs/promises';

/** A process of this machine as proc(5) shows it. */
export interface MachineProcess {
  readonly pid: number;
  readonly parent: number;
  /** The process that its session began with. */
  readonly session: number;
  readonly name: string;
  readonly commandLine: readonly string[];
  readonly folder: string;
  /** How long it has run, in ms, to a hundredth of a second. */
  readonly ageMs: number;
}

/** As proc(5) counts for programs, whatever the kernel's own clock is. */
const ticksPerSecond = 100;

/** Every process that runs in a folder or names a file of it; none that has ended and waits for its parent. */
export async function processesOf(directory: string): Promise<readonly MachineProcess[]> {
  const uptimeSeconds = Number.parseFloat(await readFile('/proc/uptime', 'utf8'));
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map((pid) => readProcess(pid, uptimeSeconds)));
  return found
    .filter((process) => process !== null)
    .filter(({ folder, commandLine }) => [folder, ...commandLine].some((word) => isWithin(word, directory)));
}

/** Whether a path is a folder itself or lies in it. */
export const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(`${directory}/`);

async function readProcess(pid: number, uptimeSeconds: number): Promise<MachineProcess | null> {
  try {
    const [stat, commandLine, folder] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readlink(`/proc/${pid}/cwd`),
    ]);
    // The name stands in brackets, and may hold anything; the fields from the third on follow.
    const nameEnd = stat.lastIndexOf(')');
    const fields = stat.slice(nameEnd + 2).split(' ');
    const [parent, session, startedTicks] = [fields[1], fields[3], fields[19]].map(Number);
    return {
      pid,
      parent: parent ?? 0,
      session: session ?? 0,
      name: stat.slice(stat.indexOf('(') + 1, nameEnd),
      commandLine: commandLine.split('\0').slice(0, -1),
      folder,
      ageMs: (uptimeSeconds - (startedTicks ?? 0) / ticksPerSecond) * 1_000,
    };
  } catch {
    // It ended meanwhile, or is another user's.
    return null;
  }
}
