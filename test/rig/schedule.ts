import fc from 'fast-check';
import type { Color } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { type Answer, type Ask, type Disturbance, Expectation, isSteer, numberOf } from './expectation.js';
import type { Seen } from './model.js';

export const environments = ['staging', 'prod'] as const;
export type Environment = (typeof environments)[number];

/** Two that act at once: one by Updates, as the command line does; one by signals where there are any. */
export type Client = 'ci' | 'operator';

/** Where a schedule is acted out: the workflows on a world in memory, or all of Bascule. */
export interface Site {
  ask(environment: Environment, who: Client, ask: Ask): Promise<Answer>;
  /** What goes wrong from now on until the environment is quiet again. */
  disturb(environment: Environment, fault: SiteFault): Promise<readonly Disturbance[]>;
  /** Makes the next operation stand still at a step. */
  pause(environment: Environment, step: string): void;
  /** Whether it came to stand still; where it ended without, or nothing began (null), nothing does any more. */
  hasPaused(environment: Environment, operation: string | null): Promise<boolean>;
  /** Lets everything go on, approves what waits for it, and answers how all of these ended. */
  settle(
    environment: Environment,
    operations: readonly { readonly id: string; readonly isWaiting: boolean }[],
  ): Promise<ReadonlyMap<string, OperationResult>>;
  see(environment: Environment): Promise<Seen>;
  /** Throws unless edge, files and instances agree with each other. */
  check(): Promise<void>;
  /** Ends what was started for it. */
  end(): Promise<void>;
}

/** A step, and what goes wrong with it; a step that is null: the worker is killed and started again. */
export interface SiteFault {
  readonly what: string;
  readonly step: string | null;
}

/** What the model knows: one expectation for each environment. */
export type Expectations = Readonly<Record<Environment, Expectation>>;

export type Command = fc.AsyncCommand<Expectations, Site>;

/** `nth` names one of the operations that are open. */
type Aimed = Ask & { readonly nth?: number };

const mostOpen = 4;

const hasRoom =
  (environment: Environment, room: number): Command['check'] =>
  (all) =>
    all[environment].openOperations.length + room <= mostOpen;

/** Somebody asks for something. Where nothing else runs: `faults` hit what begins then, and it stands still at `pauseAt`. */
const asks = (
  environment: Environment,
  who: Client,
  wanted: Aimed,
  pauseAt: string | null,
  faults: readonly SiteFault[],
): Command => ({
  check: hasRoom(environment, 1),
  async run(all, site) {
    const expectation = all[environment];
    const pausing = expectation.isQuiet ? pauseAt : null;
    if (expectation.isQuiet) await goWrong(faults, expectation, environment, site);
    if (pausing) site.pause(environment, pausing);
    const ask = aimed(wanted, expectation);
    const answer = await site.ask(environment, who, ask);
    expectation.answered(ask, answer, true);
    if (!pausing) return;
    const begun = answer === 'nothing said' || 'refused' in answer || answer.joined ? null : answer.operation;
    if (await site.hasPaused(environment, begun)) expectation.pausesAt(begun ?? '', pausing);
  },
  toString: () =>
    [
      `${environment}: ${who} asks ${JSON.stringify(wanted)}`,
      ...(faults.length > 0 ? [inWords(faults)] : []),
      ...(pauseAt ? [`it stands still at ${pauseAt}`] : []),
    ].join(', '),
});

/** Both ask at the same moment. */
const bothAsk = (environment: Environment, first: Aimed, second: Aimed): Command => ({
  check: hasRoom(environment, 2),
  async run(all, site) {
    const expectation = all[environment];
    // Nobody could tell which of two rollbacks is the one that was signalled.
    const other: Client = first.kind === 'rollback' && second.kind === 'rollback' ? 'ci' : 'operator';
    const asking = async (who: Client, wanted: Aimed) => {
      const ask = aimed(wanted, expectation);
      return { ask, answer: await site.ask(environment, who, ask) };
    };
    const answers = await Promise.all([asking('ci', first), asking(other, second)]);
    const order = ({ answer }: { answer: Answer }): number =>
      answer === 'nothing said' || 'refused' in answer
        ? Number.MAX_SAFE_INTEGER
        : 2 * numberOf(answer.operation) + (answer.joined ? 1 : 0);
    for (const { ask, answer } of answers.sort((a, b) => order(a) - order(b))) expectation.answered(ask, answer, false);
  },
  toString: () => `${environment}: at once ${JSON.stringify(first)} and ${JSON.stringify(second)}`,
});

const goesWrong = (environment: Environment, faults: readonly SiteFault[]): Command => ({
  // A step that is to fail has not begun yet; a worker may be killed at any time.
  check: (all) => all[environment].isQuiet || faults.every(({ step }) => step === null),
  run: (all, site) => goWrong(faults, all[environment], environment, site),
  toString: () => `${environment}: ${inWords(faults)}`,
});

const settles = (environment: Environment): Command => ({
  check: () => true,
  run: (all, site) => settle(all[environment], environment, site),
  toString: () => `${environment}: wait`,
});

async function goWrong(
  faults: readonly SiteFault[],
  expectation: Expectation,
  environment: Environment,
  site: Site,
): Promise<void> {
  for (const fault of faults) expectation.disturb(...(await site.disturb(environment, fault)));
}

const inWords = (faults: readonly SiteFault[]): string =>
  faults.map(({ what, step }) => (step ? `${step} ${what}` : what)).join(', ');

async function settle(expectation: Expectation, environment: Environment, site: Site): Promise<void> {
  const operations = expectation.openOperations.map(({ id, request }) => ({
    id,
    isWaiting: request.kind === 'deploy' && request.waitForApproval === true,
  }));
  const results = await site.settle(environment, operations);
  expectation.settle(results, await site.see(environment));
}

function aimed({ nth, ...ask }: Aimed, { openOperations }: Expectation): Ask {
  const named = nth === undefined ? undefined : openOperations[nth];
  return named && isSteer(ask) ? { ...ask, operation: named.id } : ask;
}

/** Shas of which three are good, one is nowhere, and the instances of one never get healthy. */
const good = ['aaaaaa1', 'aaaaaa2', 'aaaaaa3'];
export const shas = { good, unknown: '4040404', unhealthy: 'bad0bad' } as const;

const anySha = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...good) },
  { weight: 1, arbitrary: fc.constant(shas.unknown) },
  { weight: 2, arbitrary: fc.constant(shas.unhealthy) },
);
const rarely = (weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const maybe = <T>(arbitrary: fc.Arbitrary<T>, freq = 5) => fc.option(arbitrary, { nil: undefined, freq });

/** Only what is set, as a client sends it. */
const sparse = (value: object) =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== false && one !== undefined)) as unknown as Aimed;

const request = <T>(kind: Aimed['kind'], options: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(options).map((one) => sparse({ kind, ...one }));

const anyRequest: fc.Arbitrary<Aimed> = fc.oneof(
  { weight: 8, arbitrary: request('deploy', { sha: anySha, again: rarely(6), waitForApproval: rarely(6) }) },
  { weight: 4, arbitrary: request('rollback', { to: maybe(anySha, 2), full: rarely(3) }) },
  { weight: 2, arbitrary: request('switch', { color: fc.constantFrom<Color>('blue', 'green') }) },
  { weight: 2, arbitrary: request('cleanup', { standby: rarely(1) }) },
  { weight: 1, arbitrary: request('abort', { nth: maybe(fc.nat({ max: 2 })) }) },
  { weight: 1, arbitrary: request('approve', { nth: maybe(fc.nat({ max: 2 })) }) },
);

export interface ScheduleOptions {
  readonly maxCommands: number;
  /** Steps at which an operation may stand still; none: nothing does. */
  readonly pauses: readonly string[];
  readonly faults: fc.Arbitrary<readonly SiteFault[]>;
  /** Of a run that was made smaller. */
  readonly replayPath?: string;
}

/** Random schedules. */
export function schedules({
  maxCommands,
  pauses,
  faults,
  replayPath,
}: ScheduleOptions): fc.Arbitrary<Iterable<Command>> {
  const where = fc.constantFrom(...environments);
  const who = fc.constantFrom<Client>('ci', 'operator');
  const pauseAt =
    pauses.length === 0 ? fc.constant(null) : fc.option(fc.constantFrom(...pauses), { nil: null, freq: 1 });
  const hit = fc.oneof(fc.constant<readonly SiteFault[]>([]), faults);
  const asking = fc.tuple(where, who, anyRequest, pauseAt, hit).map((values) => asks(...values));
  const bothAsking = fc.tuple(where, anyRequest, anyRequest).map((values) => bothAsk(...values));
  const goingWrong = fc.tuple(where, faults).map((values) => goesWrong(...values));
  const settling = where.map(settles);
  const commands = fc.commands<Expectations, Site, false>(
    // fast-check takes each kind of command as often as any other.
    [asking, asking, asking, bothAsking, goingWrong, settling, settling],
    { maxCommands, size: 'max', ...(replayPath ? { replayPath } : {}) },
  );
  // Else most are of one or two commands, where there are few runs.
  return fc.noBias(commands);
}

/** Acts out one schedule, waits for all of it, and compares. */
export async function actOut(commands: Iterable<Command>, site: Site): Promise<void> {
  const expectations: Expectations = { staging: new Expectation('staging'), prod: new Expectation('prod') };
  await fc.asyncModelRun(() => ({ model: expectations, real: site }), commands);
  for (const environment of environments) await settle(expectations[environment], environment, site);
  await site.check();
}
