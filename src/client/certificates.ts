import { type Client, WorkflowIdConflictPolicy } from '@temporalio/client';
import type { StepReport } from '../domain/edge-change.js';
import type { CertificatesProgress } from '../domain/issuance.js';
import { taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import { queryWorkflow } from './query.js';
import { asRefusal } from './refusal.js';
import { watchWhile } from './watch.js';

export interface WorkflowToRun {
  readonly id: string;
  readonly type: string;
  readonly summary: string;
  readonly input: unknown;
}

/** Starts a workflow that is no environment's operation; one of this id that runs is that one. */
export async function startWorkflow(client: Client, project: string, run: WorkflowToRun): Promise<void> {
  try {
    await client.workflow.start(run.type, {
      workflowId: run.id,
      taskQueue: taskQueue(project),
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      workflowTaskTimeout: workflowTaskTimeoutMs,
      staticSummary: run.summary,
      args: [run.input],
    });
  } catch (error) {
    throw asRefusal(error);
  }
}

/**
 * Waits for a workflow's end and shows its steps meanwhile. A worker that is killed and started again is waited for.
 * Throws the signal's reason.
 */
export async function followWorkflow<Result>(
  client: Client,
  id: string,
  { onSteps, signal }: { readonly onSteps: (steps: readonly StepReport[]) => void; readonly signal: AbortSignal },
): Promise<Result> {
  try {
    return await watchWhile(client, signal, {
      wait: () => client.workflow.getHandle(id).result(),
      look: () => queryWorkflow<CertificatesProgress>(client, id, 'progress'),
      show: ({ steps }) => onSteps(steps),
    });
  } catch (error) {
    signal.throwIfAborted();
    throw asRefusal(error);
  }
}
