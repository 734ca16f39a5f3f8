import fc from 'fast-check';
import { chance, reportCells } from './chaos.js';
import { actOut, type Command, type ScheduleOptions, type Site, schedules } from './schedule.js';

export interface ScheduleRuns extends ScheduleOptions {
  /** What is real in it, for the table. */
  readonly on: string;
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
 * Acts out random schedules, and reports them under the name of a part of the table. Answers what went against the model,
 * with the shortest schedule that was found for it and what to set to act it out again (CHAOS_SEED and so on); an empty
 * text where nothing did.
 */
export async function violationsOf(part: string, { newSite, ...options }: ScheduleRuns): Promise<string> {
  const { on, runs, lanes, shrinkMs } = options;
  const count = { schedules: 0, operations: 0, faults: 0 };
  const wanted = { ...options, newSite: async () => counted(await newSite(), count) };
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
  const violations = all.filter((found) => found !== null).length;
  reportCells(`schedules.${part}`, {
    title: 'Random schedules',
    about:
      'Two clients ask for random operations on two environments while random steps fail; how each operation ends, what is ' +
      'served and what is remembered is compared with a model of it all (`test/rig/model.ts`).',
    columns: ['on', 'schedules', 'operations', 'faults', 'against the model'],
    rows: [[on, ...[count.schedules, count.operations, count.faults, violations].map(String)]],
    operations: count.operations,
    faults: count.faults,
    violations,
  });
  if (!first) return '';
  const shorter = await check(wanted, { seed: first.seed, path: first.path, interruptAfterTimeLimit: shrinkMs });
  return [...(shorter ? [`${shorter.said}\nfound as`] : []), ...[first, ...others].map(({ said }) => said)].join(
    '\n\n',
  );
}

function counted(site: Site, count: { schedules: number; operations: number; faults: number }): Site {
  count.schedules += 1;
  return {
    ...site,
    async ask(...what) {
      const answer = await site.ask(...what);
      if (answer !== 'nothing said' && 'operation' in answer && !answer.joined) count.operations += 1;
      return answer;
    },
    disturb(...what) {
      count.faults += 1;
      return site.disturb(...what);
    },
  };
}

async function check(
  { newSite, withinMs, ...options }: Omit<ScheduleRuns, 'on'>,
  parameters: fc.Parameters<[Iterable<Command>]>,
  replayPath?: string,
): Promise<Found | null> {
  const drawn = schedules({ ...options, ...(replayPath ? { replayPath } : {}) });
  const acted = fc.asyncProperty(drawn, async (commands) => {
    const site = await newSite();
    try {
      await actOut(commands, site);
    } finally {
      await site.end();
    }
  });
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
