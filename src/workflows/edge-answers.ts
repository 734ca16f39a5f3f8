import { ApplicationFailure, CancellationScope } from '@temporalio/workflow';
import type { EdgeChange, EdgeChangeResult } from '../domain/edge-change.js';
import { describeFailure, type Failure } from './failure.js';
import { edgeRequests } from './proxies.js';

/** An edge change that is not in force, as the error of the step that asked for it. */
export function failureOf(result: EdgeChangeResult): ApplicationFailure {
  return ApplicationFailure.create({
    type: result.outcome === 'needs-operator' ? 'needs-operator' : (result.code ?? result.outcome),
    message: result.message,
    nonRetryable: true,
    details: [{ remedy: result.remedy }],
  });
}

interface Unheard {
  /** What the error of the step that asked says. */
  readonly whyItEnded: (error: unknown) => Failure;
  /** What to type where nobody knows what is served. */
  readonly look: string;
}

/**
 * Has the edge changed. Where its answer can't be had (the asking was stopped, or failed) the change is withdrawn first, and
 * the edge's word on that counts.
 */
export async function requestOrWithdraw(name: string, change: EdgeChange, unheard: Unheard): Promise<EdgeChangeResult> {
  try {
    return await edgeRequests.requestEdgeChange.executeWithOptions({ summary: name }, [change]);
  } catch (error) {
    const settled = await withdrawOrSaySo(name, change, error, unheard);
    if (settled.outcome === 'withdrawn') throw error;
    return settled;
  }
}

/** Takes back an edge change that may be in force; answers what became of it. */
export function withdraw(id: string, summary: string): Promise<EdgeChangeResult> {
  return edgeRequests.withdrawEdgeChange.executeWithOptions({ summary }, [{ id }]);
}

/** Where the edge can't be asked either, the change may be in force, or come into force: nobody may take it for undone. */
async function withdrawOrSaySo(
  name: string,
  change: EdgeChange,
  error: unknown,
  { whyItEnded, look }: Unheard,
): Promise<EdgeChangeResult> {
  try {
    return await CancellationScope.nonCancellable(() => withdraw(change.id, `withdraw: ${name}`));
  } catch (unanswered) {
    const messages = [whyItEnded(error), describeFailure(unanswered)].map(({ message }) => message);
    throw ApplicationFailure.create({
      type: 'needs-operator',
      message: `${messages.join('; and it could not be withdrawn: ')}; the edge may have done this all the same: ${name}`,
      nonRetryable: true,
      details: [{ remedy: look }],
    });
  }
}
