import type { OperationResult } from '../domain/operation.js';
import { type BasculeError, isBasculeError } from '../errors.js';

/** How a command may end, and the exit code that says so: the one place. */
export const exitCodes = {
  succeeded: 0,
  /** `--detach`: it was accepted, and nobody waits. */
  accepted: 0,
  failed: 1,
  refused: 2,
  'needs-operator': 3,
  detached: 4,
  unavailable: 5,
  bug: 70,
} as const;

export type Ending = keyof typeof exitCodes;

/** 128 and the signal's number, as a shell has it. */
export const signalExitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Codes of a failure that was found before anything began: what was asked for cannot be done. */
const nothingBegan: ReadonlySet<string> = new Set([
  'usage',
  'unknown-request',
  'bad-sha',
  'config-invalid',
  'config-not-found',
  'config-unreadable',
  'address-book-damaged',
  'unknown-environment',
  'unknown-component',
  'edge-not-applied',
  'environment-not-applied',
  'component-not-applied',
  'artifact-not-found',
  'artifact-unauthorized',
  'artifact-checksum-unreadable',
  'artifact-server-untrusted',
  'artifact-ca-file-unreadable',
  'artifact-not-configured',
  'secret-missing',
  'nothing-to-roll-back-to',
  'rollback-refused',
  'switch-refused',
  'soak-not-here',
  'failover-test-refused',
  'nothing-to-steer',
  'visitors-led-away',
  'challenges-elsewhere',
  'unknown-certificate',
  'no-certificate',
  'edge-not-in-incus',
  'not-of-bascule',
]);

export const isFoundBeforehand = (code: string): boolean => nothingBegan.has(code);

/** Exit code of an operation's result. */
export function exitCodeOfResult(result: OperationResult): number {
  const { outcome, code, generation, components } = result;
  // What is found later, in the middle of a deploy, has touched something.
  const isUntouched = generation === null && components.length === 0;
  if (outcome === 'failed' && code !== null && isFoundBeforehand(code) && isUntouched) return exitCodes.refused;
  return exitCodes[outcome];
}

const endings: Partial<Record<BasculeError['code'], Ending>> = {
  'temporal-lost': 'detached',
  'timeout-passed': 'detached',
  'operation-lost': 'needs-operator',
  'temporal-unreachable': 'unavailable',
  'temporal-refused': 'unavailable',
  'namespace-missing': 'unavailable',
  'no-worker': 'unavailable',
  'not-answered': 'unavailable',
  'encryption-key-not-on-worker': 'unavailable',
  'temporal-start-failed': 'unavailable',
  'temporal-ended': 'unavailable',
  'worker-ended': 'failed',
};

/** Found when an answer comes: where the keys were changed while a command waited, what it waits for goes on. */
const foundInAnswers: ReadonlySet<string> = new Set(['encryption-key-missing', 'encryption-key-wrong']);

/**
 * How a command ends that threw. All that Bascule foresees was found before anything began, but what `endings` names, and
 * what is found in the answer about an operation that was accepted.
 */
export function endingOfError(error: unknown, isAccepted = false): Ending {
  if (!isBasculeError(error)) return 'bug';
  if (isAccepted && foundInAnswers.has(error.code)) return 'detached';
  return endings[error.code] ?? 'refused';
}
