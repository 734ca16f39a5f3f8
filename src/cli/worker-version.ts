import type { Client } from '@temporalio/client';
import type { PollingWorker } from '../client/workers.js';

/** It goes beside the command's own request; where nobody answers, that one says so. */
const answerWithinMs = 1_000;

/** Whose version is another one than this command's, and what to do about it. */
export interface OtherVersion {
  readonly message: string;
  readonly remedy: string;
}

/** The worker that polled last; null where none did within five minutes, or nobody answers. */
export async function readLatestPoller(client: Client, project: string): Promise<PollingWorker | null> {
  const { readPollers } = await import('../client/workers.js');
  try {
    const [latest] = await client.withDeadline(Date.now() + answerWithinMs, () => readPollers(client, project));
    return latest ?? null;
  } catch {
    // Only to be told beside an answer.
    return null;
  }
}

/** Null where it is the same version. */
export function compareVersions(worker: string, own: string): OtherVersion | null {
  if (worker === own) return null;
  const isWorkerOlder = isOlder(worker, own);
  const newer = isWorkerOlder ? own : worker;
  return {
    message: `the worker is version ${worker}, this command is version ${own}: what only one of them knows is refused`,
    remedy: isWorkerOlder
      ? `Install ${newer} where the worker runs too, and start the worker again.`
      : `Install ${newer} here too.`,
  };
}

/** By the numbers of `major.minor.patch`; what follows them does not count. */
function isOlder(a: string, b: string): boolean {
  const [numbersOfA, numbersOfB] = [a, b].map((version) => (version.match(/\d+/g) ?? []).slice(0, 3).map(Number));
  for (const place of [0, 1, 2]) {
    const difference = (numbersOfA?.[place] ?? 0) - (numbersOfB?.[place] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
