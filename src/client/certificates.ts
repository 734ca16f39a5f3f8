import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, WorkflowIdConflictPolicy } from '@temporalio/client';
import type { StepReport } from '../domain/edge-change.js';
import type { CertificatesProgress } from '../domain/issuance.js';
import { taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import { isUnanswered } from './connection.js';
import { queryWorkflow } from './query.js';
import { asRefusal } from './refusal.js';

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

const lookEveryMs = 300;

/**
 * Waits for a workflow's end and shows its steps meanwhile. A worker that is killed and started again is waited for.
 * Throws the signal's reason.
 */
export async function followWorkflow<Result>(
  client: Client,
  id: string,
  { onSteps, signal }: { readonly onSteps: (steps: readonly StepReport[]) => void; readonly signal: AbortSignal },
): Promise<Result> {
  const ended = new AbortController();
  void watchSteps(client, id, onSteps, AbortSignal.any([signal, ended.signal]));
  try {
    return await client.withAbortSignal(signal, () => client.workflow.getHandle(id).result());
  } catch (error) {
    signal.throwIfAborted();
    throw asRefusal(error);
  } finally {
    ended.abort();
  }
}

async function watchSteps(
  client: Client,
  id: string,
  onSteps: (steps: readonly StepReport[]) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const { steps } = await queryWorkflow<CertificatesProgress>(client, id, 'progress');
      if (!signal.aborted) onSteps(steps);
      await sleep(lookEveryMs, undefined, { signal });
    } catch (error) {
      // No worker at the moment; whether it ended is asked elsewhere.
      if (!isUnanswered(error)) return;
    }
  }
}
