import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { testLeaseMs } from './activities/fail-point.js';
import type { Configuration } from './domain/configuration.js';
import { BasculeError, isBasculeError } from './errors.js';
import { isProcessAlive, ownIdentity, type ProcessIdentity } from './hosts/process-identity.js';
import { writing } from './hosts/writing.js';
import { hasSystemCode } from './system-error.js';

/** A lease that was not renewed for so long is nobody's. */
const staleAfterMs = testLeaseMs ?? 30_000;
const renewEveryMs = staleAfterMs / 6;
/** Two that take a free lease at once both write; the one whose lease stays has it. */
const settleMs = 200;

export interface Lease {
  /** Why it could not be written yet: the disk is full. It is tried again at each renewal. */
  readonly unwritten: BasculeError | null;
  /** Resolves when another worker has taken the lease over. */
  readonly lost: Promise<void>;
  release(): Promise<void>;
}

/** Content of the lease's file. */
export interface LeaseFile extends ProcessIdentity {
  readonly id: string;
  readonly host: string;
  readonly renewedAt: string;
  /** The same on the machine's clock that nobody sets, in ms since its boot. */
  readonly renewedUptimeMs?: number;
}

/**
 * Makes this process the one worker of the project on this machine's files. A lease of a process that is dead is taken
 * over at once, any other one after 30 s without renewal. What keeps a worker that lost it harmless is the fence, which
 * is also why a worker goes without its lease while the disk is full: visitors need it then as well.
 *
 * @throws `worker-running` where another worker holds it, `file-not-writable`
 */
export async function acquireLease(configuration: Configuration): Promise<Lease> {
  const file = leaseFile(configuration);
  const own = { id: randomUUID(), ...(await ownIdentity()), host: hostname() };
  const holder = await leaseHolder(configuration);
  if (holder) throw runningAlready(file, holder);
  const unwritten = await writeUnlessFull(file, own);
  let isWritten = unwritten === null;
  if (isWritten) {
    await sleep(settleMs);
    const winner = await read(file);
    if (winner?.id !== own.id) throw runningAlready(file, winner);
  }

  let lose = (): void => {};
  const lost = new Promise<void>((resolve) => {
    lose = resolve;
  });
  const renew = async (): Promise<void> => {
    const found = await read(file);
    if (found && found.id !== own.id && (isWritten || (await isHeld(found)))) return lose();
    // What cannot be written, as on a full disk, is still held until somebody else takes it.
    isWritten = await write(file, own).then(
      () => true,
      () => isWritten,
    );
  };
  let renewal = Promise.resolve();
  const timer = setInterval(() => {
    renewal = renewal.then(renew).catch(lose);
  }, renewEveryMs);
  return {
    unwritten,
    lost,
    async release() {
      clearInterval(timer);
      await renewal;
      if ((await read(file))?.id === own.id) await rm(file, { force: true });
    },
  };
}

/** The worker that has the project, null where none has. */
export async function leaseHolder(configuration: Configuration): Promise<LeaseFile | null> {
  const holder = await read(leaseFile(configuration));
  return holder && (await isHeld(holder)) ? holder : null;
}

type OwnLease = Omit<LeaseFile, 'renewedAt' | 'renewedUptimeMs'>;

const leaseFile = ({ instances }: Configuration): string => join(dirname(instances.addressBook), 'worker.lease');

async function isHeld(lease: LeaseFile): Promise<boolean> {
  if ((await sinceRenewalMs(lease)) > staleAfterMs) return false;
  return lease.host !== hostname() || (await isProcessAlive(lease));
}

/** Within one boot by the clock that nobody sets, else by the time of day. */
async function sinceRenewalMs({ startTime, renewedAt, renewedUptimeMs }: LeaseFile): Promise<number> {
  const bootOf = (one: string): string => one.replace(/\/.*/, '');
  const isOfThisBoot = bootOf(startTime ?? '') === bootOf((await ownIdentity()).startTime);
  return isOfThisBoot && renewedUptimeMs !== undefined
    ? uptimeMs() - renewedUptimeMs
    : Date.now() - Date.parse(renewedAt);
}

/** Every process of this machine counts these from the same moment. */
const uptimeMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

async function read(file: string): Promise<LeaseFile | null> {
  const text = await readIfThere(file);
  if (!text) return null;
  try {
    return JSON.parse(text) as LeaseFile;
  } catch {
    // Not a lease: whoever wrote it holds nothing.
    return null;
  }
}

/** Answers what was wrong where the disk is full. Throws `file-not-writable` where it may never be written. */
async function writeUnlessFull(file: string, lease: OwnLease): Promise<BasculeError | null> {
  try {
    await writing(file, () => write(file, lease));
    return null;
  } catch (error) {
    if (isBasculeError(error) && hasSystemCode(error.cause, 'ENOSPC', 'EDQUOT')) return error;
    throw error;
  }
}

async function write(file: string, lease: OwnLease): Promise<void> {
  const temporary = `${file}.${lease.id}`;
  const renewed = { renewedAt: new Date().toISOString(), renewedUptimeMs: uptimeMs() };
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(temporary, JSON.stringify({ ...lease, ...renewed }));
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT', 'ENOTDIR', 'ESRCH')) return null;
    throw error;
  }
}

function runningAlready(file: string, holder: LeaseFile | null): BasculeError {
  return new BasculeError('worker-running', { file, pid: holder?.pid ?? null, host: holder?.host ?? null });
}
