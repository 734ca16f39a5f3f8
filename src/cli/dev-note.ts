import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BasculeError } from '../errors.js';
import { identityOf, isProcessAlive, ownIdentity, type ProcessIdentity } from '../hosts/process-identity.js';
import { writing } from '../hosts/writing.js';
import { hasSystemCode } from '../system-error.js';

/** `.bascule/dev.json`: the `bascule dev` that runs, and what it started. One that was killed leaves it behind. */
export interface RunningDev extends ProcessIdentity {
  /** RFC 3339. */
  readonly startedAt: string;
  /** Its worker and Temporal's server, in the order in which they end. */
  readonly started: readonly ProcessIdentity[];
}

export interface DevNote {
  /** Notes what dev has started, in the order in which it ends. */
  started(pids: readonly number[]): Promise<void>;
  /** Dev ends. */
  remove(): Promise<void>;
}

/**
 * Notes in a project's folder that this process is its `bascule dev`.
 *
 * @throws `dev-running` where another one is, `file-not-writable`
 */
export async function noteRunningDev(folder: string): Promise<DevNote> {
  const before = await readDevNote(folder);
  if (before && (await isProcessAlive(before))) throw new BasculeError('dev-running', before);
  const own = { ...(await ownIdentity()), startedAt: new Date().toISOString() };
  const write = async (started: readonly ProcessIdentity[]): Promise<void> => {
    const file = devFile(folder);
    await writing(file, async () => {
      await mkdir(folder, { recursive: true });
      await writeFile(`${file}.${own.pid}`, `${JSON.stringify({ ...own, started })}\n`);
      await rename(`${file}.${own.pid}`, file);
    }).catch(async (error) => {
      await rm(`${file}.${own.pid}`, { force: true }).catch(() => undefined);
      throw error;
    });
  };
  await write([]);
  return {
    async started(pids) {
      const identities = await Promise.all(pids.map(identityOf));
      await write(identities.filter((one) => one !== null));
    },
    remove: () => removeDevNote(folder),
  };
}

/** Null where there is none. */
export async function readDevNote(folder: string): Promise<RunningDev | null> {
  try {
    return JSON.parse(await readFile(devFile(folder), 'utf8')) as RunningDev;
  } catch (error) {
    // Written whole or not at all: what is none is nobody's.
    if (error instanceof SyntaxError) return null;
    if (hasSystemCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

export async function removeDevNote(folder: string): Promise<void> {
  await rm(devFile(folder), { force: true });
}

const devFile = (folder: string): string => join(folder, 'dev.json');
