import { setMaxListeners } from 'node:events';
import type { Client } from '@temporalio/client';

/**
 * Makes calls of Temporal's client that end when `signal` does. The client adds a listener to its signal for each call and
 * never removes one (`rpcImpl` of @temporalio/client): it gets a signal of its own, which goes with the last call, so that
 * the caller's has one listener while this runs and none afterwards.
 */
export async function withSignal<T>(client: Client, signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
  const calls = new AbortController();
  // There are as many as there are calls.
  setMaxListeners(0, calls.signal);
  const abort = (): void => calls.abort(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  try {
    return await client.withAbortSignal(calls.signal, ask);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
