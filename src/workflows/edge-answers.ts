import { ApplicationFailure } from '@temporalio/workflow';
import type { EdgeChangeResult } from '../domain/edge-change.js';

/** An edge change that is not in force, as the error of the step that asked for it. */
export function failureOf(result: EdgeChangeResult): ApplicationFailure {
  return ApplicationFailure.create({
    type: result.outcome === 'needs-operator' ? 'needs-operator' : (result.code ?? result.outcome),
    message: result.message,
    nonRetryable: true,
    details: [{ remedy: result.remedy }],
  });
}
