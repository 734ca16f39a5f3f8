import { existsSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a worker kills or stops itself; src/activities/fail-point.ts says what each moment is. */
export interface FailPoint {
  readonly activity: string;
  readonly moment: 'before' | 'during' | 'after';
  /** Counted from 1, over all executions of the activity in one worker since the point was set. */
  readonly nth: number;
  readonly how: 'kill' | 'stop';
}

export const failPointFile = (directory: string): string => join(directory, 'fail-point');

/** From now on the project's worker fails there, once. The project was started with `failPoints`. */
export async function setFailPoint({ directory }: { directory: string }, point: FailPoint): Promise<void> {
  const file = failPointFile(directory);
  await rm(`${file}.hit`, { force: true });
  await writeFile(`${file}.new`, `${point.activity}:${point.moment}:${point.nth}:${point.how}\n`);
  await rename(`${file}.new`, file);
}

/** No point is set any more. */
export async function clearFailPoint({ directory }: { directory: string }): Promise<void> {
  await rm(failPointFile(directory), { force: true });
}

/** Whether the point that was set last was hit: to wait for with `until`. */
export const isFailPointHit = ({ directory }: { directory: string }): boolean =>
  existsSync(`${failPointFile(directory)}.hit`);
