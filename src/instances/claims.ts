import { isBasculeError } from '../errors.js';
import type { ProcessIdentity } from '../hosts/process-identity.js';
import { runAct } from './act.js';
import { type Instance, type InstanceRecord, parseRecord } from './record.js';

/** What an operation fixed for an instance: who acts, and the release that it holds. */
export interface InstanceRelease {
  readonly owner: string;
  readonly sha: string;
  readonly sha256: string;
}

/** Who takes an instance, and who had it when that operation began (null: nobody). */
export interface Claim {
  readonly expected: string | null;
  readonly owner: string;
}

export interface Program {
  readonly run: readonly string[];
  /** The component's own `env`, its secrets read. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Takes an instance for `owner` from the owner that was on record when its operation began, and has it stopped from
 * here on. The same owner claiming again changes nothing.
 *
 * @throws `instance-fenced`, `instance-active`, `migration-running`, and those of `runAct`
 */
export async function claimInstance(instance: Instance, { expected, owner }: Claim): Promise<InstanceRecord> {
  const { component, address, port } = instance;
  const args = [expected ?? '', owner, component, address, String(port)];
  return parseRecord(instance, await runAct(instance, { name: 'claim', args, owner }));
}

/**
 * Multi-instance: takes an instance that serves for an operation that replaces it. It goes on running; the edge is to lead
 * no new visitor to it. Throws `instance-fenced`, and those of `runAct`.
 */
export async function reserveInstance(instance: Instance, { expected, owner }: Claim): Promise<InstanceRecord> {
  const args = [expected ?? '', owner];
  return parseRecord(instance, await runAct(instance, { name: 'reserve', args, owner }));
}

/**
 * The same for a take-back, from whichever of `claims` the operation had come to; an instance that it had yet to claim is
 * only kept from it. Throws `instance-fenced`, and those of `runAct`.
 */
export async function retakeInstance(
  instance: Instance,
  { expected, owner, claims }: Claim & { readonly claims: readonly string[] },
): Promise<InstanceRecord> {
  const args = [expected ?? '', owner, ...claims];
  return parseRecord(instance, await runAct(instance, { name: 'retake', args, owner }));
}

/** Multi-instance: the edge may lead visitors to it again. Throws `instance-fenced` unless it runs and was healthy. */
export async function admitInstance(instance: Instance, owner: string): Promise<void> {
  await runAct(instance, { name: 'admit', args: [owner], owner });
}

/** Puts on record that this process was healthy: from here on it is kept running. Throws `instance-fenced` for another one. */
export async function markHealthy(instance: Instance, owner: string, healthy: ProcessIdentity): Promise<void> {
  await runAct(instance, { name: 'mark-healthy', args: [owner, String(healthy.pid), healthy.startTime], owner });
}

/**
 * Keeps what a failed operation left for a look: it is not started again. From here on the operation's own acts are
 * refused, also on an instance that it had yet to claim. Answers false where another operation has the instance.
 *
 * @throws `instance-active`, and those of `runAct`
 */
export function markFailed(instance: Instance, claim: Claim): Promise<boolean> {
  return takeBack(instance, 'mark-failed', claim);
}

/** As `markFailed`, for what an operation that was stopped has not removed yet: it stays as it is. */
export function disownInstance(instance: Instance, claim: Claim): Promise<boolean> {
  return takeBack(instance, 'disown', claim);
}

async function takeBack(
  instance: Instance,
  name: 'mark-failed' | 'disown',
  { expected, owner }: Claim,
): Promise<boolean> {
  try {
    await runAct(instance, { name, args: [expected ?? '', owner, `${owner}/undo`], owner });
    return true;
  } catch (error) {
    if (isBasculeError(error) && error.code === 'instance-fenced') return false;
    throw error;
  }
}

/**
 * Keeps the `kept` releases that an instance got last and the one on record; removes the others, and what an
 * interrupted unpacking left.
 *
 * @throws `instance-fenced`, `instance-active`, and those of `runAct`
 */
export async function pruneReleases(
  instance: Instance,
  { owner, kept }: { owner: string; kept: number },
): Promise<void> {
  await runAct(instance, { name: 'prune', args: [owner, String(kept)], owner });
}
