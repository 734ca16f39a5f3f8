import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { withSignal } from './abortable.js';

const lookEveryMs = 300;
const lookWithinMs = 5_000;

/**
 * Waits for what `wait` gives, and meanwhile looks about three times a second at what is shown of it. A look that fails
 * shows nothing: that nobody answers is said by whoever waits. `show` is not called after the end. When it answers no call
 * is under way any more, and the caller may close the connection: one that waits for its next try would throw in nobody's
 * hands there.
 *
 * @throws what `wait` throws, for whom `signal` ends the calls of Temporal's client
 */
export async function watchWhile<Result, Seen>(
  client: Client,
  signal: AbortSignal,
  watch: {
    readonly wait: () => Promise<Result>;
    readonly look: () => Promise<Seen>;
    readonly show: (seen: Seen) => void;
  },
): Promise<Result> {
  const watching = new AbortController();
  const watcher = lookUntil(client, watching.signal, watch);
  try {
    return await withSignal(client, signal, watch.wait);
  } finally {
    watching.abort();
    await watcher;
  }
}

async function lookUntil<Seen>(
  client: Client,
  signal: AbortSignal,
  { look, show }: { readonly look: () => Promise<Seen>; readonly show: (seen: Seen) => void },
): Promise<void> {
  while (!signal.aborted) {
    try {
      const seen = await withSignal(client, signal, () => client.withDeadline(Date.now() + lookWithinMs, look));
      if (!signal.aborted) show(seen);
    } catch {
      // Only what is shown.
    }
    await sleep(lookEveryMs, undefined, { signal }).catch(() => undefined);
  }
}
