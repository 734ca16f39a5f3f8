import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { asActivities } from '../../../src/activities/as-activities.js';
import type { BasculeError } from '../../../src/errors.js';

/** What goes wrong with an activity, before or after it had its effect. */
export type Fault =
  /** At its first try, in a way that another try can fix. */
  | 'fails once'
  /** The same, and the first try had its effect. */
  | 'fails once after its effect'
  /** At so many tries. */
  | `fails ${number} times`
  /** For good, without effect. */
  | 'fails'
  /** For good, after its effect. */
  | 'fails after its effect'
  /** Says nothing more after its effect, as if its worker had been killed; the next try fails for good. */
  | 'hangs after its effect'
  /** The same, and the next try is a good one. */
  | 'hangs once after its effect';

/** An activity that has stopped in the middle. */
export interface Held {
  /** Resolves when the activity has stopped there. */
  readonly reached: Promise<void>;
  /** Lets it go on. */
  release(): void;
}

interface Hold {
  readonly released: Promise<void>;
  readonly ignoresCancellation: boolean;
  reach(): void;
}

/** Short, so that a cancellation arrives soon: it comes with the answer to a heartbeat. */
const heartbeatEveryMs = 50;

/**
 * Faults of activities, by the name of the activity (`reloadEdge`), by name and subject (`startInstance web`), or by
 * name and edge change (`reloadEdge of switch`).
 * Also notes each call, in order.
 */
export class Faults {
  /** Each call and each retry, as `<activity> <subject>`, or only `<activity>` where it has no subject. */
  readonly calls: string[] = [];
  private readonly faults = new Map<string, Fault>();
  private readonly errors = new Map<string, { readonly error: BasculeError; readonly times: number }>();
  private readonly holds = new Map<string, Hold>();
  private readonly releases: (() => void)[] = [];

  /** The code of a failure for good is `broken`, its message names the activity. */
  set(step: string, fault: Fault): void {
    this.faults.set(step, fault);
  }

  /** The same, at so many tries, with an error that the activity foresees. */
  throws(step: string, error: BasculeError, times = Number.POSITIVE_INFINITY): void {
    this.errors.set(step, { error, times });
  }

  fix(step: string): void {
    this.faults.delete(step);
    this.errors.delete(step);
  }

  /**
   * Stops an activity before its effect until it is released or cancelled.
   * With `ignoresCancellation` a cancellation does not stop it: it goes on when it is released, and is noted then.
   */
  hold(step: string, options: { ignoresCancellation?: boolean } = {}): Held {
    let release = () => {};
    let reach = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    this.holds.set(step, { released, ignoresCancellation: options.ignoresCancellation ?? false, reach });
    this.releases.push(release);
    return {
      reached,
      release: () => {
        this.holds.delete(step);
        release();
      },
    };
  }

  clear(): void {
    this.faults.clear();
  }

  /** Lets go whatever is held. */
  releaseAll(): void {
    this.holds.clear();
    for (const release of this.releases) release();
  }

  /** Runs an activity's effect with what goes wrong around it. */
  async around<T>(
    activity: string,
    subject: string,
    effect: () => Promise<T> | T,
    { aim = null }: { aim?: string | null } = {},
  ): Promise<T> {
    const step = subject === '' ? activity : `${activity} ${subject}`;
    this.calls.push(step);
    const { attempt } = Context.current().info;
    const fault = this.faults.get(aim ?? step) ?? this.faults.get(step) ?? this.faults.get(activity);
    if (attempt <= triesThatFail(fault)) throw failure(step, false);
    if (fault === 'hangs after its effect' && attempt > 1) throw failure(step, true);
    const foreseen = this.errors.get(step) ?? this.errors.get(activity);
    if (foreseen && attempt <= foreseen.times) await throwAsActivity(foreseen.error);
    const isSilent = attempt === 1 && (fault?.startsWith('hangs') ?? false);
    return withHeartbeats(async () => {
      await this.wait(step, this.holds.get(aim ?? step) ?? this.holds.get(step) ?? this.holds.get(activity));
      if (fault === 'fails') throw failure(step, true);
      const result = await effect();
      if (fault === 'fails after its effect') throw failure(step, true);
      if (fault === 'fails once after its effect' && attempt === 1) throw failure(step, false);
      return result;
    }, isSilent);
  }

  private async wait(step: string, hold: Hold | undefined): Promise<void> {
    if (!hold) return;
    hold.reach();
    if (hold.ignoresCancellation) {
      await hold.released;
      this.calls.push(`${step} goes on`);
      return;
    }
    const { cancellationSignal } = Context.current();
    await Promise.race([hold.released, aborted(cancellationSignal)]);
    if (cancellationSignal.aborted) throw new CancelledFailure('stopped as asked');
  }
}

/** Throws what the worker makes of an activity's error: whether it is tried again, and when. */
async function throwAsActivity(error: BasculeError): Promise<void> {
  const { fail } = asActivities({ fail: () => Promise.reject(error) });
  await fail();
}

function triesThatFail(fault: Fault | undefined): number {
  if (fault === 'fails once') return 1;
  return Number(/^fails (\d+) times$/.exec(fault ?? '')?.[1] ?? 0);
}

function failure(step: string, nonRetryable: boolean): ApplicationFailure {
  return ApplicationFailure.create({
    type: 'broken',
    message: `${step} is broken`,
    nonRetryable,
    details: [{ remedy: `fix ${step}` }],
  });
}

/** A silent one heartbeats no more after its effect and never answers. */
async function withHeartbeats<T>(run: () => Promise<T>, isSilent: boolean): Promise<T> {
  const context = Context.current();
  const heartbeat = setInterval(() => context.heartbeat(), heartbeatEveryMs);
  try {
    const result = await run();
    if (!isSilent) return result;
  } finally {
    clearInterval(heartbeat);
  }
  return new Promise<T>((_, reject) => {
    context.cancellationSignal.addEventListener('abort', () => reject(new CancelledFailure('its worker ended')));
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
