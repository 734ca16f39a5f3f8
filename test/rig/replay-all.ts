import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { untold } from './untold.js';

// Once in a process: two may replay at the same time.
Runtime.install({ logger: new DefaultLogger('ERROR') });

const codePath = fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url));

/**
 * Replays the history of every workflow that ran, as a worker does that starts with an empty cache. A workflow whose
 * history can't be replayed never gets further, so each problem is one. Answers them, and how many were replayed.
 */
export async function replayAll(client: Client): Promise<{ readonly replayed: number; readonly problems: string[] }> {
  const problems: string[] = [];
  let replayed = 0;
  const histories = client.workflow.list({ query: 'WorkflowType != "inspect"' }).intoHistories({ concurrency: 5 });
  for await (const { workflowId, error } of Worker.runReplayHistories(
    { workflowBundle: { codePath }, sinks: untold },
    histories,
  )) {
    replayed += 1;
    if (error) problems.push(`${workflowId}: ${error.message.slice(0, 500)}`);
  }
  return { replayed, problems };
}
