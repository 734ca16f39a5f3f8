import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type { InspectAnswers, InspectRequest } from '../domain/inspect.js';
import { inspectWorkflowId, taskQueue } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import type { inspect } from '../workflows/inspect.js';
import { asRefusal } from './refusal.js';

/** Asks the worker what it sees on the hosts: the status, an instance's log, or just whether it is there. */
export async function inspectProject<K extends InspectRequest['what']>(
  client: Client,
  project: string,
  request: Extract<InspectRequest, { what: K }>,
): Promise<InspectAnswers[K]> {
  try {
    const answer = await client.workflow.execute<typeof inspect>('inspect', {
      workflowId: inspectWorkflowId(project, `${request.what}/${randomUUID()}`),
      taskQueue: taskQueue(project),
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

export async function ping(client: Client, project: string): Promise<void> {
  await inspectProject(client, project, { what: 'ping' });
}
