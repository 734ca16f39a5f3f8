import type { Client } from '@temporalio/client';
import { readVersion } from '../version.js';

const answerWithinMs = 2_000;

/** What to know where the worker that polls is of another version than this command; null where it is not, or nobody says. */
export async function warningOfOtherVersion(client: Client, project: string): Promise<string | null> {
  const { readPollers } = await import('../client/workers.js');
  try {
    const [latest] = await client.withDeadline(Date.now() + answerWithinMs, () => readPollers(client, project));
    return latest?.version ? describeOtherVersion(latest.version) : null;
  } catch {
    // Whether Temporal answers is seen by what is asked of it.
    return null;
  }
}

/** Null where it is the same version. */
export function describeOtherVersion(worker: string): string | null {
  const own = readVersion();
  if (worker === own) return null;
  return `warning: the worker is Bascule ${worker}, this command ${own}: what one of them has and the other has not can't be used. Install the same version on both.`;
}
