import { randomUUID } from 'node:crypto';
import { type Client, WorkflowIdConflictPolicy } from '@temporalio/client';
import type { InspectAnswers, InspectRequest } from '../domain/inspect.js';
import { inspectWorkflowId, taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import type { inspect } from '../workflows/inspect.js';
import { asRefusal } from './refusal.js';

/**
 * Asks the worker what it sees on the hosts: the status, an instance's log, or just whether it is there. Who asks by the
 * name of a question that is still open waits for the answer to that one.
 */
export async function inspectProject<K extends InspectRequest['what']>(
  client: Client,
  project: string,
  request: Extract<InspectRequest, { what: K }>,
  name: string = randomUUID(),
): Promise<InspectAnswers[K]> {
  try {
    const answer = await client.workflow.execute<typeof inspect>('inspect', {
      workflowId: inspectWorkflowId(project, `${request.what}/${name}`),
      taskQueue: taskQueue(project),
      workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      // Nobody waits for an answer that comes late.
      workflowExecutionTimeout: '1m',
      workflowTaskTimeout: workflowTaskTimeoutMs,
      staticSummary: request.what,
      args: [request],
    });
    return answer as InspectAnswers[K];
  } catch (error) {
    throw asRefusal(error);
  }
}

/**
 * Asks whether a worker is there. All who ask within a second wait for one answer: two hundred at once would keep the
 * worker busy with nothing else. No longer than that, for it may be a killed worker who has the question in hand.
 */
export async function ping(client: Client, project: string): Promise<void> {
  await inspectProject(client, project, { what: 'ping' }, `${Math.floor(Date.now() / 1_000)}`);
}
