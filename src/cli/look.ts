import type { Client } from '@temporalio/client';
import type { InspectAnswers, InspectRequest } from '../domain/inspect.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { isFoundBeforehand } from './exit-codes.js';

/** Asks the worker what it sees on the hosts. Throws `no-worker`, `not-answered`, and as `refused` what was asked wrongly. */
export async function look<K extends InspectRequest['what']>(
  client: Client,
  project: string,
  request: Extract<InspectRequest, { what: K }>,
): Promise<InspectAnswers[K]> {
  const { inspectProject, ping } = await import('../client/inspect.js');
  const { answeredByWorker } = await import('../client/answering.js');
  const noWorker = new AbortController();
  try {
    const [answer] = await Promise.all([
      client.withAbortSignal(noWorker.signal, () => inspectProject<K>(client, project, request)),
      // Reading the hosts may take long; that a worker is there shows at once.
      answeredByWorker(client, project, () => ping(client, project)),
    ]);
    return answer;
  } catch (error) {
    noWorker.abort();
    if (isRefusal(error) && !isFoundBeforehand(error.args.code)) {
      throw new BasculeError('not-answered', error.args, { cause: error });
    }
    throw error;
  }
}

const isRefusal = (error: unknown): error is BasculeError<'refused'> =>
  isBasculeError(error) && error.code === 'refused';
