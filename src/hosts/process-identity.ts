import { readFile } from 'node:fs/promises';

/** A process, also after its pid was given to another one: `startTime` is `<boot id>/<clock ticks since boot>`. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

/** Whether that very process runs: one with its pid that started at another time is not it, and a zombie does not run. */
export async function isProcessAlive({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

/** This process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  const own = await identityOf(process.pid);
  if (own === null) throw new RangeError('/proc does not know this process');
  return own;
}

/** Null where no such process runs. */
export async function identityOf(pid: number): Promise<ProcessIdentity | null> {
  const startTime = await startTimeOf(pid);
  return startTime === null ? null : { pid, startTime };
}

/** Fields 3 and 22 of /proc/<pid>/stat (proc(5)); null where no such process runs. */
async function startTimeOf(pid: number): Promise<string | null> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The fields from the third on follow the name in brackets, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(') ') + 2).split(' ');
    return ['Z', 'X'].includes(fields[0] ?? 'X') ? null : `${boot.trim()}/${fields[19]}`;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}
