import type { Client } from '@temporalio/client';
import { taskQueue } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { addressOf, assertListening, isUnanswered } from './connection.js';

/** How long a worker may take to answer before it counts as not there: with the command's own start five seconds. */
const answersWithinMs = 3_500;

/**
 * Asks what any worker of the project answers at once. Throws `no-worker` where that took longer,
 * `temporal-unreachable` where that is why.
 */
export async function answeredByWorker<T>(client: Client, project: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await client.withDeadline(Date.now() + answersWithinMs, ask);
  } catch (error) {
    if (!isUnanswered(error)) throw error;
    await assertListening(addressOf(client));
    throw new BasculeError('no-worker', { project, taskQueue: taskQueue(project) }, { cause: error });
  }
}
