import { readdir, readFile, readlink } from 'node:fs/promises';

/** A process of this machine as proc(5) shows it. */
export interface MachineProcess {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly commandLine: readonly string[];
  readonly folder: string;
}

/** Every process that runs in a folder or names a file of it; none that has ended and waits for its parent. */
export async function processesOf(directory: string): Promise<readonly MachineProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(readProcess));
  return found
    .filter((process) => process !== null)
    .filter(({ folder, commandLine }) => [folder, ...commandLine].some((word) => isWithin(word, directory)));
}

const isWithin = (path: string, directory: string): boolean => path === directory || path.startsWith(`${directory}/`);

async function readProcess(pid: number): Promise<MachineProcess | null> {
  try {
    const [stat, commandLine, folder] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
      readlink(`/proc/${pid}/cwd`),
    ]);
    // The name stands in brackets, and may hold anything; then come state and parent.
    const nameEnd = stat.lastIndexOf(')');
    const [, parent] = stat.slice(nameEnd + 2).split(' ');
    const name = stat.slice(stat.indexOf('(') + 1, nameEnd);
    return { pid, parent: Number(parent), name, commandLine: commandLine.split('\0').slice(0, -1), folder };
  } catch {
    // It ended meanwhile, or is another user's.
    return null;
  }
}
