import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

/** Who runs a dev server of Temporal on this machine. */
export interface TemporalOwner {
  /** For a person: `bascule dev in /srv/shop`. */
  readonly name: string;
  readonly pid: number;
  /** Where it keeps the operations. */
  readonly dbFile: string;
}

/** Whose dev server listens at this port, by its command line; null where it is none, or of another machine. */
export async function findTemporalOwner(port: number): Promise<TemporalOwner | null> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const owners = await Promise.all(
    pids.map(async (pid) => {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      return ownerOf(Number(pid), commandLine.split('\0'), port);
    }),
  );
  return owners.find((owner) => owner !== null) ?? null;
}

/** Of a command line as `temporalServerArguments` writes it. */
export function ownerOf(pid: number, commandLine: readonly string[], port: number): TemporalOwner | null {
  const optionOf = (option: string): string | undefined => {
    const index = commandLine.indexOf(option);
    return index < 0 ? undefined : commandLine[index + 1];
  };
  const dbFile = optionOf('--db-filename');
  if (!commandLine.includes('start-dev') || optionOf('--port') !== String(port) || dbFile === undefined) return null;
  return { name: nameOf(dirname(dbFile)), pid, dbFile };
}

function nameOf(folder: string): string {
  if (basename(folder) === '.bascule') return `\`bascule dev\` in ${dirname(folder)}`;
  const name = basename(folder);
  return name.startsWith('bascule-') ? `the unit ${name}-temporal.service` : `a server with its database in ${folder}`;
}
