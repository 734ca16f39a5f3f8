import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { type BasculeError, isBasculeError } from '../errors.js';
import { withFailPoint } from './fail-point.js';

/** Told apart by how often Temporal hears of a running activity: a killed worker is noticed within heartbeatTimeout. */
const heartbeatEveryMs = 1_000;

/** What running activities are at. */
const progress = new WeakMap<Context, object>();

/** Says what this activity is at: Temporal shows it from the next heartbeat on. */
export function showProgress(details: object): void {
  progress.set(Context.current(), details);
}

// biome-ignore lint/suspicious/noExplicitAny: activities differ in what they take; each keeps its own types through T.
type Functions = Record<string, (input: any) => Promise<unknown>>;

/**
 * Makes activities of plain functions: each heartbeats while it runs, stops when it is cancelled, and every error
 * becomes an ApplicationFailure that says its code, whether another try can help, and what to do.
 */
export function asActivities<T extends Functions>(functions: T): T {
  const wrapped = Object.entries(functions).map(([name, run]) => [
    name,
    (input: unknown) => runAsActivity(name, run, input),
  ]);
  return Object.fromEntries(wrapped) as T;
}

async function runAsActivity(
  name: string,
  run: (input: unknown) => Promise<unknown>,
  input: unknown,
): Promise<unknown> {
  const context = Context.current();
  const heartbeat = setInterval(() => context.heartbeat(progress.get(context)), heartbeatEveryMs);
  try {
    return await withFailPoint(name, () => run(input));
  } catch (error) {
    if (context.cancellationSignal.aborted) throw new CancelledFailure('stopped as asked');
    throw asFailure(error);
  } finally {
    clearInterval(heartbeat);
  }
}

/** Whoever was asked said when to ask again (Retry-After); at once, each time, would be a busy loop. */
function nextRetry({ args }: BasculeError): { readonly nextRetryDelay?: number } {
  const waitMs = 'retryAfterMs' in args ? args.retryAfterMs : null;
  return typeof waitMs === 'number' && waitMs > 0 ? { nextRetryDelay: waitMs } : {};
}

const retryAtOf = ({ args }: BasculeError): { readonly retryAt?: string } =>
  'retryAt' in args && typeof args.retryAt === 'string' ? { retryAt: args.retryAt } : {};

/** An error as Temporal keeps it: its code, whether another try can help, and what to do. */
export function asFailure(error: unknown): Error {
  if (error instanceof ApplicationFailure) return error;
  if (isBasculeError(error)) {
    return ApplicationFailure.create({
      type: error.code,
      message: error.message,
      nonRetryable: !error.isRetryable,
      details: [{ remedy: error.remedy, ...retryAtOf(error) }],
      ...nextRetry(error),
    });
  }
  // Not foreseen: perhaps of the moment, so it is tried again; the workflow's retry policy bounds that.
  const cause = error instanceof Error ? error : new Error(String(error));
  return ApplicationFailure.create({ type: 'unforeseen', message: cause.message, cause, nonRetryable: false });
}
