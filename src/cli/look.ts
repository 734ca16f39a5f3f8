import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { InspectAnswers, InspectRequest } from '../domain/inspect.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { isFoundBeforehand } from './exit-codes.js';

/** An answer that takes longer is waited for as long as a worker is there. */
const promptMs = 500;

/**
 * Asks the worker what it sees on the hosts. Throws `temporal-unreachable`, `no-worker`, `not-answered`, and as
 * `refused` what was asked wrongly.
 */
export async function look<K extends InspectRequest['what']>(
  client: Client,
  project: string,
  request: Extract<InspectRequest, { what: K }>,
): Promise<InspectAnswers[K]> {
  const { inspectProject, ping } = await import('../client/inspect.js');
  const { withSignal } = await import('../client/abortable.js');
  const { answeredByWorker } = await import('../client/answering.js');
  const { addressOf, assertListening, isUnanswered } = await import('../client/connection.js');
  const noWorker = new AbortController();
  const answered = new AbortController();
  const assertWorker = async (): Promise<void> => {
    const isLong = await sleep(promptMs, true, { signal: answered.signal }).catch(() => false);
    if (!isLong) return;
    await assertListening(addressOf(client));
    await answeredByWorker(client, project, () => ping(client, project));
  };
  const askWorker = async (): Promise<InspectAnswers[K]> => {
    try {
      return await withSignal(client, noWorker.signal, () => inspectProject<K>(client, project, request));
    } finally {
      answered.abort();
    }
  };
  try {
    // Reading the hosts may take long; that a worker is there shows at once.
    const [answer] = await Promise.all([askWorker(), assertWorker()]);
    return answer;
  } catch (error) {
    noWorker.abort();
    if (isRefusal(error) && !isFoundBeforehand(error.args.code)) {
      throw new BasculeError('not-answered', error.args, { cause: error });
    }
    if (isBasculeError(error) || !isUnanswered(error)) throw error;
    throw new BasculeError('temporal-unreachable', { address: addressOf(client) }, { cause: error });
  }
}

const isRefusal = (error: unknown): error is BasculeError<'refused'> =>
  isBasculeError(error) && error.code === 'refused';
