import fc from 'fast-check';
import { chance } from './chaos.js';
import { actOut, type Command, type ScheduleOptions, type Site, schedules } from './schedule.js';

export interface ScheduleRuns extends ScheduleOptions {
  readonly runs: number;
  /** How many are acted out at once. */
  readonly lanes: number;
  /** One that takes longer stands still somewhere. */
  readonly withinMs: number;
  /** How long a shorter schedule is looked for that goes against the model too. */
  readonly shrinkMs: number;
  /** Where one schedule is acted out. */
  readonly newSite: () => Promise<Site>;
}

interface Found {
  readonly seed: number;
  readonly path: string;
  readonly said: string;
}

/**
 * Acts out random schedules. Answers what went against the model, with the shortest schedule that was found for it and
 * what to set to act it out again (CHAOS_SEED and so on); an empty text where nothing did.
 */
export async function violationsOf(wanted: ScheduleRuns): Promise<string> {
  const { runs, lanes, shrinkMs } = wanted;
  const { CHAOS_PATH: path, CHAOS_REPLAY: replayPath } = process.env;
  const { seed } = chance();
  if (path) {
    const replayed = await check(wanted, { seed, path, endOnFailure: true }, replayPath);
    return replayed?.said ?? '';
  }
  const all = await Promise.all(
    Array.from({ length: lanes }, (_, lane) =>
      check(wanted, { seed: seed + lane, numRuns: Math.ceil(runs / lanes), endOnFailure: true }),
    ),
  );
  const [first, ...others] = all.filter((found) => found !== null);
  if (!first) return '';
  const shorter = await check(wanted, { seed: first.seed, path: first.path, interruptAfterTimeLimit: shrinkMs });
  return [...(shorter ? [`${shorter.said}\nfound as`] : []), ...[first, ...others].map(({ said }) => said)].join(
    '\n\n',
  );
}

async function check(
  { newSite, withinMs, ...options }: ScheduleRuns,
  parameters: fc.Parameters<[Iterable<Command>]>,
  replayPath?: string,
): Promise<Found | null> {
  const drawn = schedules({ ...options, ...(replayPath ? { replayPath } : {}) });
  const acted = fc.asyncProperty(drawn, async (commands) => actOut(commands, await newSite()));
  const found = await fc.check(acted, { ...parameters, timeout: withinMs });
  if (!found.failed || found.counterexamplePath === null) return null;
  const { seed, counterexamplePath, counterexample, errorInstance } = found;
  const commands = counterexample?.[0] ?? [];
  const replay = /replayPath="([^"]*)"/.exec(String(commands))?.[1] ?? '';
  const again = `CHAOS_SEED=${seed} CHAOS_PATH=${counterexamplePath} CHAOS_REPLAY=${replay}`;
  const error = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const lines = [...commands].filter((command) => !('hasRan' in command) || command.hasRan);
  return {
    seed,
    path: counterexamplePath,
    said: [`${again}: ${error}`, 'in the schedule', ...lines.map((line) => `  ${String(line)}`)].join('\n'),
  };
}
