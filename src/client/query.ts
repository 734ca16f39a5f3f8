import type { Client } from '@temporalio/client';
import { isUnanswered } from './connection.js';

/** A query is answered in milliseconds, or within two seconds where a worker has just died. */
const answerWithinMs = 2_400;
const tries = 2;

/**
 * Asks a running workflow. A query that meets a workflow task of the same workflow may get lost between the server and
 * the worker ("query task not found"), and then nobody answers it, ever: so it is asked again.
 *
 * @throws what `isUnanswered` knows where nobody answers, `WorkflowNotFoundError`
 */
export async function queryWorkflow<T>(
  client: Client,
  workflowId: string,
  query: string,
  ...args: readonly unknown[]
): Promise<T> {
  const handle = client.workflow.getHandle(workflowId);
  for (let left = tries; ; left -= 1) {
    try {
      return await client.withDeadline(Date.now() + answerWithinMs, () => handle.query<T, unknown[]>(query, ...args));
    } catch (error) {
      if (left <= 1 || !isUnanswered(error)) throw error;
    }
  }
}
