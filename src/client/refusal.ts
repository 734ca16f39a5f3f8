import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { BasculeError } from '../errors.js';

/** How Temporal's SDK answers an Update of which the workflow's version knows nothing. */
const unregistered = /^No registered handler for update: (.*)$/;

/** What a workflow said when it refused an Update or failed, as the error that it was there; other errors as they are. */
export function asRefusal(error: unknown): unknown {
  if (!(error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError)) return error;
  const unknownUpdate = error.cause instanceof Error ? unregistered.exec(error.cause.message)?.[1] : undefined;
  if (unknownUpdate) return new BasculeError('unknown-request', { request: unknownUpdate }, { cause: error });
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof ApplicationFailure && cause.type) {
      const [details] = (cause.details ?? []) as [{ remedy?: string }?];
      return new BasculeError(
        'refused',
        { code: cause.type, message: cause.message, remedy: details?.remedy ?? '' },
        { cause: error },
      );
    }
  }
  return error;
}
