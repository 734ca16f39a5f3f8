import fc from 'fast-check';
import type { Color } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { type Answer, type Ask, type Disturbance, Expectation } from './expectation.js';
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

/**
 * Somebody asks for something. Where nothing else is under way: `faults` hit what begins then, and it stands still at
 * `pauseAt`.
 */
class Asks implements Command {
  constructor(
    private readonly environment: Environment,
    private readonly who: Client,
    private readonly wanted: Aimed,
    private readonly pauseAt: string | null,
    private readonly faults: readonly SiteFault[],
  ) {}

  check = (expectations: Readonly<Expectations>): boolean =>
    expectations[this.environment].openOperations.length < mostOpen;

  async run(expectations: Expectations, site: Site): Promise<void> {
    const expectation = expectations[this.environment];
    const isPausing = expectation.isQuiet && this.pauseAt !== null;
    if (expectation.isQuiet) await goWrong(this.faults, expectation, this.environment, site);
    if (isPausing && this.pauseAt) site.pause(this.environment, this.pauseAt);
    const ask = aimed(this.wanted, expectation);
    const answer = await site.ask(this.environment, this.who, ask);
    expectation.answered(ask, answer, true);
    if (!isPausing || !this.pauseAt) return;
    const begun = answer === 'nothing said' || 'refused' in answer || answer.joined ? null : answer.operation;
    if (await site.hasPaused(this.environment, begun)) expectation.pausesAt(begun ?? '', this.pauseAt);
  }

  toString = (): string =>
    [
      `${this.environment}: ${this.who} asks ${JSON.stringify(this.wanted)}`,
      ...(this.faults.length > 0 ? [inWords(this.faults)] : []),
      ...(this.pauseAt ? [`it stands still at ${this.pauseAt}`] : []),
    ].join(', ');
}

/** Both ask at the same moment. */
class BothAsk implements Command {
  constructor(
    private readonly environment: Environment,
    private readonly first: Aimed,
    private readonly second: Aimed,
  ) {}

  check = (expectations: Readonly<Expectations>): boolean =>
    expectations[this.environment].openOperations.length < mostOpen - 1;

  async run(expectations: Expectations, site: Site): Promise<void> {
    const expectation = expectations[this.environment];
    // Nobody could tell which of two rollbacks is the one that was signalled.
    const second: Client = this.first.kind === 'rollback' && this.second.kind === 'rollback' ? 'ci' : 'operator';
    const answers = await Promise.all(
      ([this.first, this.second] as const).map(async (wanted, index) => {
        const ask = aimed(wanted, expectation);
        return { ask, answer: await site.ask(this.environment, index === 0 ? 'ci' : second, ask) };
      }),
    );
    const order = ({ answer }: { answer: Answer }): number =>
      answer === 'nothing said' || 'refused' in answer
        ? Number.MAX_SAFE_INTEGER
        : 2 * Number(answer.operation.split('/').at(-1)) + (answer.joined ? 1 : 0);
    for (const { ask, answer } of answers.sort((a, b) => order(a) - order(b))) expectation.answered(ask, answer, false);
  }

  toString = (): string =>
    `${this.environment}: at once ${JSON.stringify(this.first)} and ${JSON.stringify(this.second)}`;
}

class GoesWrong implements Command {
  constructor(
    private readonly environment: Environment,
    private readonly faults: readonly SiteFault[],
  ) {}

  /** A step that is to fail has not begun yet; a worker may be killed at any time. */
  check = (expectations: Readonly<Expectations>): boolean =>
    expectations[this.environment].isQuiet || this.faults.every(({ step }) => step === null);

  run = (expectations: Expectations, site: Site): Promise<void> =>
    goWrong(this.faults, expectations[this.environment], this.environment, site);

  toString = (): string => `${this.environment}: ${inWords(this.faults)}`;
}

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

class Settles implements Command {
  constructor(private readonly environment: Environment) {}

  check = (): boolean => true;
  run = (expectations: Expectations, site: Site): Promise<void> =>
    settle(expectations[this.environment], this.environment, site);
  toString = (): string => `${this.environment}: wait`;
}

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
  return named && (ask.kind === 'abort' || ask.kind === 'approve') ? { ...ask, operation: named.id } : ask;
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
const anyColor = fc.constantFrom<Color>('blue', 'green');
const nth = fc.nat({ max: 2 });

/** Only what is set, as a client sends it. */
type Sparse<T> = { [K in keyof T]: Exclude<T[K], undefined> };
const sparse = <T extends object>(value: T): Sparse<T> =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== false && one !== undefined)) as Sparse<T>;

const asks: fc.Arbitrary<Aimed> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .record({ sha: anySha, again: rarely(6), waitForApproval: rarely(6) })
      .map((one): Aimed => ({ kind: 'deploy', ...sparse(one) })),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({ to: fc.option(anySha, { nil: undefined, freq: 2 }), full: rarely(3) })
      .map((one): Aimed => ({ kind: 'rollback', ...sparse(one) })),
  },
  { weight: 2, arbitrary: anyColor.map((color): Aimed => ({ kind: 'switch', color })) },
  { weight: 2, arbitrary: rarely(1).map((standby): Aimed => ({ kind: 'cleanup', ...sparse({ standby }) })) },
  {
    weight: 2,
    arbitrary: fc
      .record({ kind: fc.constantFrom('abort' as const, 'approve' as const), nth: fc.option(nth, { nil: undefined }) })
      .map(({ kind, ...one }): Aimed => ({ kind, ...sparse(one) })),
  },
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
  const asking = fc.tuple(where, who, asks, pauseAt, hit).map((values): Command => new Asks(...values));
  const bothAsking = fc.tuple(where, asks, asks).map((values): Command => new BothAsk(...values));
  const goingWrong = fc.tuple(where, faults).map((values): Command => new GoesWrong(...values));
  const settling = where.map((environment): Command => new Settles(environment));
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
