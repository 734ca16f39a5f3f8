import type { Client } from '@temporalio/client';
import { keysOfWorker, taskQueue, versionOfWorker } from '../domain/names.js';

/** TaskQueueType of Temporal's API: workflow tasks. */
const workflowTasks = 1;

export interface PollingWorker {
  readonly identity: string;
  /** Version of Bascule, null where the identity does not tell. */
  readonly version: string | null;
  /** Marks of the keys that it has, the first of which encrypts. */
  readonly keys: readonly string[];
  /** When it asked for a task last, in ms since the epoch. A poll lasts up to a minute. */
  readonly polledAt: number;
}

/** Who asked for the project's tasks within the last five minutes, as Temporal remembers it; the latest first. */
export async function readPollers(client: Client, project: string): Promise<readonly PollingWorker[]> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: taskQueue(project) },
    taskQueueType: workflowTasks,
  });
  return (pollers ?? [])
    .map(({ identity, lastAccessTime }) => ({
      identity: identity ?? '',
      version: versionOfWorker(identity ?? ''),
      keys: keysOfWorker(identity ?? ''),
      polledAt: Number(lastAccessTime?.seconds ?? 0) * 1_000 + (lastAccessTime?.nanos ?? 0) / 1_000_000,
    }))
    .toSorted((a, b) => b.polledAt - a.polledAt);
}
