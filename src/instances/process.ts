import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BasculeError, isBasculeError } from '../errors.js';
import { programsAt } from '../hosts/listeners.js';
import { identityOf, isProcessAlive, type ProcessIdentity } from '../hosts/process-identity.js';
import { removeHalfWritten } from '../hosts/writing.js';
import { runAct, runMigration } from './act.js';
import { type Claim, claimInstance, type InstanceRelease, type Program } from './claims.js';
import { ensureDataFolder } from './data.js';
import { environmentDigest, programEnvironment, shellExports } from './environment.js';
import { addressOf, listensEverywhere } from './listeners.js';
import { lastLogLines } from './log.js';
import { type Instance, type InstanceRecord, instanceFiles, parseRecord, readProcess } from './record.js';
import { unpackArtifact } from './unpack.js';

/** How often a process that should end is looked at. */
const pollMs = 50;

/** A process that was killed counts as ended while its other threads still let go of what it had open. */
const addressFreeWithinMs = 2_000;

/** How long a process may take to be gone after SIGKILL. */
const killedWithinMs = 5_000;

/**
 * Claims an instance and ends what runs in it; a second call after the owner's own start changes nothing.
 *
 * @throws those of `claimInstance` and `stopInstance`
 */
export async function recreateInstance(
  instance: Instance,
  claim: Claim & { stopGraceMs: number; signal?: AbortSignal },
): Promise<InstanceRecord> {
  const record = await claimInstance(instance, claim);
  if (record.wanted === 'stopped') await endProcess(instance, record, claim);
  return record;
}

/**
 * Stops an instance: has it stopped from here on, SIGTERM, after `stopGraceMs` SIGKILL, both to everything it started.
 *
 * @throws `instance-fenced`, `instance-active`, `instance-still-running` where not even SIGKILL ended it, and those of
 * `runAct`
 */
export async function stopInstance(
  instance: Instance,
  stop: { owner: string; stopGraceMs: number; signal?: AbortSignal },
): Promise<void> {
  const { owner } = stop;
  const record = parseRecord(instance, await runAct(instance, { name: 'stop', args: [owner], owner }));
  await endProcess(instance, record, stop);
}

/**
 * Asserts that what an instance runs leaves its port on every other address to others; else it is ended, since it would
 * keep the other color and the other environments from starting. Throws `instance-listens-everywhere`.
 */
export async function requireOwnAddress(
  instance: Instance,
  { process: started, ...stop }: { owner: string; process: ProcessIdentity; stopGraceMs: number; signal?: AbortSignal },
): Promise<void> {
  const found = await listensEverywhere(instance, started);
  if (!found?.process) return;
  const { pid, name: program } = found.process;
  const listener = await identityOf(pid);
  const { name, address, port } = instance;
  const own = { instance: name, address, port };
  const error = new BasculeError('instance-listens-everywhere', { ...own, pid, program, listensOn: addressOf(found) });
  await stopInstance(instance, stop).catch((cause) => {
    // What is wrong with the program counts.
    if (!isBasculeError(cause)) throw cause;
  });
  // In a session of its own it outlives what started it.
  if (listener && (await isProcessAlive(listener))) process.kill(pid, 'SIGKILL');
  throw error;
}

/**
 * Claims an instance that serves and ends it at once by SIGKILL, with everything it started; a second call after the
 * owner's own start changes nothing. Throws as `recreateInstance`.
 */
export async function killInstance(instance: Instance, claim: Claim): Promise<void> {
  const record = await claimInstance(instance, claim);
  if (record.wanted === 'stopped') await endProcess(instance, record, { stopGraceMs: 0, isForced: true });
}

/** Ends what runs, which the next worker starts again: for a machine that is cleared and comes back. Throws as `stopInstance`. */
export async function haltInstance(
  instance: Instance,
  halt: { stopGraceMs: number; signal?: AbortSignal },
): Promise<void> {
  await endProcess(instance, await readProcess(instance), halt);
}

/**
 * Unpacks an artifact as the release that the instance holds; one that was unpacked already is taken as it is.
 *
 * @throws `instance-fenced`, `instance-active`, `instance-still-running`, and those of `unpackArtifact` and `runAct`
 */
export async function prepareRelease(
  instance: Instance,
  release: InstanceRelease & { artifact: string; maxBytes?: number; signal?: AbortSignal },
): Promise<void> {
  const { owner, sha, sha256 } = release;
  const found = await readProcess(instance);
  if (found.owner !== owner) {
    throw new BasculeError('instance-fenced', { instance: instance.name, act: 'prepare', owner, heldBy: found.owner });
  }
  if (found.wanted === 'running' && found.sha256 === sha256) return;
  const files = instanceFiles(instance);
  const unpacked = join(files.releases, `.unpacked-${randomUUID()}`);
  const isUnpacked = (await instance.host.readFolder(files.releases)).includes(releaseName(sha, sha256));
  try {
    if (!isUnpacked) await unpackArtifact(release.artifact, unpacked, release);
    await runAct(instance, { name: 'adopt', args: [owner, sha, sha256, unpacked], owner });
  } finally {
    await removeHalfWritten(unpacked);
  }
}

/**
 * Runs the migration of the release that the instance holds, to its end; waits before for one that still runs.
 * Its output is in the instance's log.
 *
 * @throws `migration-failed`, `migration-timed-out`, `migration-running` where an earlier one did not end within
 * `timeoutMs`, `instance-fenced`, `instance-active`, `instance-release-missing`, and those of `runAct`
 */
export async function migrateRelease(
  instance: Instance,
  migration: InstanceRelease & Program & { timeoutMs: number; signal?: AbortSignal },
): Promise<void> {
  const { owner, sha, sha256, timeoutMs, signal } = migration;
  const end = await runMigration(instance, {
    name: 'migrate',
    args: [owner, sha, sha256, String(Math.ceil(timeoutMs / 1_000)), ...migration.run],
    owner,
    input: shellExports(programEnvironment(instance, { ...migration, data: await ensureDataFolder(instance) })),
    timeoutMs: 2 * timeoutMs + 60_000,
    ...(signal ? { signal } : {}),
  });
  if (end === null) return;
  const lines = await lastLogLines(instance, 20);
  if (end.kind === 'timed out')
    throw new BasculeError('migration-timed-out', { instance: instance.name, timeoutMs, lines });
  throw new BasculeError('migration-failed', { instance: instance.name, exitCode: end.exitCode, lines });
}

/**
 * Starts the release that the instance holds, in a session of its own; where it runs already, answers that process.
 *
 * @throws `port-in-use`, `instance-fenced`, `instance-active`, `instance-release-missing`, `instance-still-running`, and
 * those of `runAct`
 */
export async function startInstance(instance: Instance, start: InstanceRelease & Program): Promise<ProcessIdentity> {
  const { owner } = start;
  if (!(await readProcess(instance)).isAlive) await requireFreeAddress(instance);
  const args = [...startArguments(start), ...start.run];
  return await launch(instance, { name: 'start', args, owner }, start);
}

/**
 * Starts again what ended by itself: the process `ended`, which the caller saw dead, in the release on record.
 *
 * @throws as `startInstance`; `instance-fenced` also where another process is on record by now, or none is wanted
 */
export async function restartInstance(
  instance: Instance,
  start: InstanceRelease & Program & { ended: ProcessIdentity },
): Promise<ProcessIdentity> {
  const { owner, ended } = start;
  const earlier = [String(ended.pid), ended.startTime];
  await runAct(instance, { name: 'sweep', args: [owner, ...earlier], owner });
  await requireFreeAddress(instance);
  const args = [...startArguments(start), ...earlier, ...start.run];
  return await launch(instance, { name: 'restart', args, owner }, start);
}

/** Removes releases and log of a stopped instance. Throws as `stopInstance`. */
export async function deleteInstance(instance: Instance, owner: string): Promise<void> {
  await runAct(instance, { name: 'delete', args: [owner], owner });
}

const releaseName = (sha: string, sha256: string): string => `${sha}-${sha256.slice(0, 12)}`;

async function requireFreeAddress(instance: Instance): Promise<void> {
  const { name, address, port } = instance;
  const until = performance.now() + addressFreeWithinMs;
  while (!(await instance.host.isAddressFree({ address, port }))) {
    // An earlier try may have started it in this moment.
    if ((await readProcess(instance)).isAlive) return;
    if (performance.now() >= until) {
      const listeners = await programsAt(instance.host, { address, port });
      throw new BasculeError('port-in-use', { instance: name, address, port, listeners });
    }
    await delay(pollMs);
  }
}

function startArguments(start: InstanceRelease & Program): string[] {
  return [start.owner, start.sha, start.sha256, new Date().toISOString(), environmentDigest(start.env)];
}

async function launch(
  instance: Instance,
  act: { name: string; args: readonly string[]; owner: string },
  start: InstanceRelease & Program,
): Promise<ProcessIdentity> {
  const data = await ensureDataFolder(instance);
  const input = shellExports(programEnvironment(instance, { ...start, data }));
  const record = parseRecord(instance, await runAct(instance, { ...act, input }));
  if (record.process) return record.process;
  const { record: file } = instanceFiles(instance);
  throw new BasculeError('instance-record-damaged', { instance: instance.name, file, reason: 'it names no process' });
}

async function endProcess(
  instance: Instance,
  { owner, process, wanted }: InstanceRecord,
  { stopGraceMs, isForced = false, signal }: { stopGraceMs: number; isForced?: boolean; signal?: AbortSignal },
): Promise<void> {
  if (!process || owner === null) return;
  const send = async (name: 'TERM' | 'KILL') => {
    const args = [name, owner, String(process.pid), process.startTime, wanted];
    await runAct(instance, { name: 'signal', args, owner });
  };
  if (!isForced && (await isProcessAlive(process))) {
    await send('TERM');
    await hasEnded(process, stopGraceMs, signal);
  }
  // Also where it has ended: what it left behind may hold its address.
  await send('KILL');
  if (await hasEnded(process, killedWithinMs, signal)) return;
  throw new BasculeError('instance-still-running', { instance: instance.name, pid: String(process.pid) });
}

async function hasEnded(process: ProcessIdentity, withinMs: number, signal?: AbortSignal): Promise<boolean> {
  const until = performance.now() + withinMs;
  while (await isProcessAlive(process)) {
    if (performance.now() >= until) return false;
    await delay(pollMs, undefined, { ...(signal ? { signal } : {}) });
  }
  return true;
}
