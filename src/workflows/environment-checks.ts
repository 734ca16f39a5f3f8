import { ApplicationFailure } from '@temporalio/workflow';
import type { FailoverTestRequest } from '../domain/failover.js';
import { shaPattern } from '../domain/names.js';
import type {
  CleanupRequest,
  DeployRequest,
  RollbackRequest,
  SteerRequest,
  SwitchRequest,
} from '../domain/operation.js';
import { longestStepMs } from '../domain/timeouts.js';
import { BasculeError } from '../errors.js';

/** What is refused before it enters the history. What a form or another program sends may be anything. */

type FieldsOf<Request> = Readonly<Record<keyof Request, true>>;

/** Every field of the Updates' arguments. */
const fields = {
  deploy: {
    sha: true,
    requestId: true,
    waitForApproval: true,
    soakMs: true,
    drainMs: true,
    again: true,
    skipMigrate: true,
    by: true,
    why: true,
  } satisfies FieldsOf<DeployRequest>,
  switch: {
    color: true,
    dryRun: true,
    repair: true,
    requestId: true,
    by: true,
    why: true,
  } satisfies FieldsOf<SwitchRequest>,
  rollback: { to: true, full: true, requestId: true, by: true, why: true } satisfies FieldsOf<RollbackRequest>,
  cleanup: { standby: true, requestId: true, by: true, why: true } satisfies FieldsOf<CleanupRequest>,
  'failover-test': {
    component: true,
    instance: true,
    yes: true,
    requestId: true,
    by: true,
    why: true,
  } satisfies FieldsOf<FailoverTestRequest>,
  steer: { operation: true, by: true, why: true } satisfies FieldsOf<SteerRequest>,
};

/**
 * Refuses what this version would leave out of account without a word. For Updates alone: a signal is read again from old
 * histories, and what came of it then has to come of it now.
 */
export function checkKnownFields(update: keyof typeof fields, request: unknown): void {
  checkFields(request);
  const known = Object.keys(fields[update]);
  const unknown = Object.keys(request as object).filter((field) => !known.includes(field));
  if (unknown.length === 0) return;
  throw refusalOf(new BasculeError('unknown-field', { request: update, unknown, known }));
}

export function checkDeploy(request: DeployRequest): void {
  if (!isSha(request?.sha)) throw badSha(request?.sha);
  for (const key of ['soakMs', 'drainMs'] as const) {
    const value = request[key];
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= longestStepMs)) {
      throw refusal('usage', `${key} is a whole number of milliseconds up to 24 hours, not ${value}`);
    }
  }
  checkKnownFields('deploy', request);
}

export function checkSwitch(request: SwitchRequest): void {
  if (request?.color !== 'blue' && request?.color !== 'green') {
    throw refusal('usage', `a color is blue or green, not ${request?.color}`);
  }
  checkKnownFields('switch', request);
}

export function checkCleanup(request: CleanupRequest): void {
  checkKnownFields('cleanup', request);
  const { standby } = request;
  if (standby !== undefined && typeof standby !== 'boolean') {
    throw refusal('usage', `standby is true or false, not ${standby}`);
  }
}

export function checkFailoverTest(request: FailoverTestRequest): void {
  checkKnownFields('failover-test', request);
  const { component, instance, yes } = request;
  if (typeof component !== 'string') throw refusal('usage', `a component is named by its name, not ${component}`);
  if (instance !== undefined && typeof instance !== 'string') {
    throw refusal('usage', `an instance is named by its name, not ${instance}`);
  }
  if (yes !== undefined && typeof yes !== 'boolean') throw refusal('usage', `yes is true or false, not ${yes}`);
}

export function checkRollbackTo(to: string | undefined): void {
  if (to !== undefined && !isSha(to)) throw badSha(to);
}

export function checkWait(request: { operation: string }): void {
  if (typeof request?.operation !== 'string') throw refusal('usage', 'what is waited for is named as { operation }');
}

export function checkFields(request: unknown): void {
  if (typeof request !== 'object' || request === null) throw refusal('usage', 'the argument is an object, or left out');
}

export function refusal(type: string, message: string, remedy?: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message, nonRetryable: true, details: [{ remedy: remedy ?? null }] });
}

export const refusalOf = ({ code, message, remedy }: BasculeError): ApplicationFailure =>
  refusal(code, message, remedy);

const isSha = (sha: unknown): boolean => typeof sha === 'string' && shaPattern.test(sha.toLowerCase());

function badSha(sha: unknown): ApplicationFailure {
  return refusal('bad-sha', `a sha has 7 to 40 hexadecimal digits; this has not: ${sha}`);
}
