import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  isCancellation,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/workflow';

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly remedy: string | null;
}

/** What a step's error says: the code, message and remedy that the activity gave, found below Temporal's wrapping. */
export function describeFailure(error: unknown): Failure {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ApplicationFailure) {
      const [details] = (cause.details ?? []) as [{ remedy?: string }?];
      return { code: cause.type ?? 'unforeseen', message: cause.message, remedy: details?.remedy ?? null };
    }
    if (cause instanceof CancelledFailure) return { code: 'cancelled', message: 'it was cancelled', remedy: null };
    if (cause instanceof TerminatedFailure) return { code: 'terminated', message: 'it was terminated', remedy: null };
    if (cause instanceof TimeoutFailure) {
      const step = error instanceof ActivityFailure ? error.activityType : 'a step';
      return {
        code: 'timed-out',
        message: `${step} did not end in time (${String(cause.timeoutType).toLowerCase().replaceAll('_', ' ')})`,
        remedy: 'Look at the worker that ran it: `bascule status`, and its log.',
      };
    }
    if (!(cause instanceof ActivityFailure || cause instanceof ChildWorkflowFailure)) break;
  }
  return { code: 'unforeseen', message: error instanceof Error ? error.message : String(error), remedy: null };
}

/** When whoever refused a step wants to be asked again, RFC 3339; null where he did not say. */
export function retryAtOf(error: unknown): string | null {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (!(cause instanceof ApplicationFailure)) continue;
    const [details] = (cause.details ?? []) as [{ retryAt?: string }?];
    return details?.retryAt ?? null;
  }
  return null;
}

export { isCancellation };
