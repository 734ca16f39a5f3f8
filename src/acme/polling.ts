import { setTimeout as sleep } from 'node:timers/promises';
import { BasculeError, type RetryAfter } from '../errors.js';
import { type Authority, nameOf, type Patience } from './authority.js';

const standardLimitMs = 90_000;
const firstWaitMs = 100;
const longestWaitMs = 3_000;

/** What was seen: how it ended, or when the authority wants to be asked again. */
export type Look<T> = { readonly ended: T } | { readonly retry: RetryAfter | undefined };

/**
 * Asks until it has ended. Between two looks it waits as long as the authority says (Retry-After), else 100 ms at first and
 * each time twice as long.
 *
 * @throws `acme-order-pending` where it has not ended in time, or would not
 */
export async function poll<T>(
  authority: Authority,
  what: string,
  { signal, onPoll, timeLimitMs = standardLimitMs }: Patience,
  look: () => Promise<Look<T>>,
): Promise<T> {
  const deadline = performance.now() + timeLimitMs;
  for (let backOffMs = firstWaitMs; ; backOffMs = Math.min(2 * backOffMs, longestWaitMs)) {
    signal?.throwIfAborted();
    onPoll?.();
    const seen = await look();
    if ('ended' in seen) return seen.ended;
    // Zero would be a busy loop.
    const waitMs = seen.retry?.retryAfterMs || backOffMs;
    if (performance.now() + waitMs > deadline) {
      const { retryAfterMs = null, retryAt = null } = seen.retry ?? {};
      throw new BasculeError('acme-order-pending', { ca: nameOf(authority), what, retryAfterMs, retryAt });
    }
    await sleep(waitMs, undefined, { signal });
  }
}
