import type { Client } from '@temporalio/client';
import { readVersion } from '../version.js';

const answerWithinMs = 2_000;

/** What to know where the worker that polls is of another version than this command; null where it is not, or nobody says. */
export async function warningOfOtherVersion(client: Client, project: string): Promise<string | null> {
  const { readPollers } = await import('../client/workers.js');
  try {
    const [latest] = await client.withDeadline(Date.now() + answerWithinMs, () => readPollers(client, project));
    return latest?.version ? warningOf(latest.version) : null;
  } catch {
    // Whether Temporal answers is seen by what is asked of it.
    return null;
  }
}

/** A warning for stderr, null where it is the same version. */
export function warningOf(worker: string): string | null {
  const difference = describeOtherVersion(worker);
  return difference === null ? null : `warning: ${difference}. Install the same version on both.`;
}

/** Null where it is the same version. */
export function describeOtherVersion(worker: string): string | null {
  const own = readVersion();
  if (worker === own) return null;
  return `the worker is Bascule ${worker}, this command ${own}: what only one of them knows can't be used`;
}
