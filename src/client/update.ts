import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowIdConflictPolicy,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { ApplicationFailure, type Workflow } from '@temporalio/common';
import { taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';

/** A workflow without arguments that lives for ever, and is started by whoever asks it first. */
export interface LastingWorkflow {
  readonly type: string;
  readonly id: string;
  readonly project: string;
  readonly summary: string;
}

/** How Temporal's server rejects an Update that a worker was given and said nothing of (`ApplicationFailure.type`). */
const unprocessed = 'UnprocessedUpdate';
const tries = 10;

/**
 * Asks a workflow by an Update; starts it where it does not run. Where many Updates come at once the worker may end a
 * workflow task without a word on the newest: that one was not accepted, and is asked again.
 *
 * @throws `WorkflowUpdateFailedError` where the workflow refused or failed
 */
export async function updateWithStart<Request, Answer>(
  client: Client,
  { type, id, project, summary }: LastingWorkflow,
  update: string,
  request: Request,
): Promise<Answer> {
  for (let left = tries; ; left -= 1) {
    try {
      return await client.workflow.executeUpdateWithStart<Workflow, Answer, [Request]>(update, {
        args: [request],
        startWorkflowOperation: new WithStartWorkflowOperation(type, {
          workflowId: id,
          taskQueue: taskQueue(project),
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
          workflowTaskTimeout: workflowTaskTimeoutMs,
          staticSummary: summary,
          args: [],
        }),
      });
    } catch (error) {
      if (left <= 1 || !isUnprocessed(error)) throw error;
    }
  }
}

const isUnprocessed = (error: unknown): boolean =>
  error instanceof WorkflowUpdateFailedError &&
  error.cause instanceof ApplicationFailure &&
  error.cause.type === unprocessed;
