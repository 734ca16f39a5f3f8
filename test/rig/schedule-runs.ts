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

interface Violation {
  readonly seed: number;
  readonly path: string;
  readonly report: string;
}

/**
 * Acts out random schedules, and reports them as a part of the table. Answers what went against the model, with the
 * shortest schedule that was found for it and what to set to act it out again; an empty text where nothing did.
 */
export async function violationsOf(part: string, options: ScheduleRuns): Promise<string> {
  const { on, runs, lanes, shrinkMs } = options;
  const { CHAOS_PATH: path, CHAOS_REPLAY: replayPath } = process.env;
  const { seed } = chance();
  const count = { schedules: 0, operations: 0, faults: 0 };
  const counting = { ...options, newSite: async () => counted(await options.newSite(), count) };
  if (path) {
    const parameters = { seed, path, endOnFailure: true };
    return (await check({ ...counting, ...(replayPath && { replayPath }) }, parameters))?.report ?? '';
  }
  const numRuns = Math.ceil(runs / lanes);
  const all = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => check(counting, { seed: seed + lane, numRuns, endOnFailure: true })),
  );
  const found = all.filter((one) => one !== null);
  reportCells(`schedules.${part}`, {
    title: 'Random schedules',
    about:
      'Two clients ask for random operations on two environments while random steps fail; how each operation ends, what is ' +
      'served and what is remembered is compared with a model of it all (`test/rig/model.ts`).',
    columns: ['on', 'schedules', 'operations', 'faults', 'against the model'],
    rows: [[on, ...[count.schedules, count.operations, count.faults, found.length].map(String)]],
    operations: count.operations,
    faults: count.faults,
    violations: found.length,
  });
  const [first] = found;
  if (!first) return '';
  const shorter = await check(counting, { seed: first.seed, path: first.path, interruptAfterTimeLimit: shrinkMs });
  return [...(shorter ? [shorter, { report: 'found as' }] : []), ...found].map(({ report }) => report).join('\n\n');
}

const counted = (site: Site, count: { schedules: number; operations: number; faults: number }): Site => {
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
};

async function check(
  { newSite, withinMs, ...options }: ScheduleRuns,
  parameters: fc.Parameters<[Iterable<Command>]>,
): Promise<Violation | null> {
  const acted = fc.asyncProperty(schedules(options), async (commands) => {
    const site = await newSite();
    await actOut(commands, site).finally(() => site.end());
  });
  const found = await fc.check(acted, { ...parameters, timeout: withinMs });
  if (!found.failed || found.counterexamplePath === null) return null;
  const { seed, counterexamplePath: path, counterexample, errorInstance } = found;
  const commands = counterexample?.[0] ?? [];
  const replay = /replayPath="([^"]*)"/.exec(String(commands))?.[1] ?? '';
  const error = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  const lines = [...commands].filter((command) => !('hasRan' in command) || command.hasRan).map((line) => `  ${line}`);
  const repeat = `CHAOS_SEED=${seed} CHAOS_PATH=${path} CHAOS_REPLAY=${replay}`;
  return { seed, path, report: [`${repeat}: ${error}`, 'in the schedule', ...lines].join('\n') };
}
