import { type ActivityOptions, CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { StepReport } from '../domain/edge-change.js';
import { stepTable } from '../domain/step-table.js';
import { describeFailure, type Failure } from './failure.js';

/** A proxied activity: one object in, one object out. */
interface Activity<Input, Output> {
  executeWithOptions(options: ActivityOptions, args: [Input]): Promise<Output>;
}

interface TakeBackStep {
  readonly name: string;
  readonly run: () => Promise<unknown>;
  /** For what visitors can't notice: its failure is told here, and counts as none. */
  readonly tell?: ((failure: Failure) => void) | undefined;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The steps of one workflow and how to take them back. A take-back is registered *before* its step runs, since a step
 * that timed out may have had its effect; so each take-back has to do nothing where there is nothing to take back.
 * The steps stand as a table in the workflow's current details.
 */
export class Saga {
  readonly steps: Mutable<StepReport>[] = [];
  /** Whether there was ever something to take back. */
  hasBegun = false;
  private readonly takeBacks: TakeBackStep[] = [];

  constructor(private readonly title: string) {}

  /** Runs an activity as a step, with the step's name as its summary; `note` is what its answer is worth saying. */
  step<Input, Output>(
    name: string,
    activity: Activity<Input, Output>,
    input: Input,
    note?: (output: Output) => string | null,
  ): Promise<Output> {
    return this.phase(name, () => activity.executeWithOptions({ summary: name }, [input]), note);
  }

  /** A step that is more than one activity, or none. */
  async phase<Output>(
    name: string,
    run: () => Promise<Output>,
    note: (output: Output) => string | null = () => null,
  ): Promise<Output> {
    const step = this.begin(name);
    try {
      const output = await run();
      const said = note(output);
      if (said !== null) step.note = said;
      this.end(step, 'done');
      return output;
    } catch (error) {
      this.end(step, 'failed');
      throw error;
    }
  }

  /** A step that is not needed; `why` where that may surprise. */
  skip(name: string, why?: string): void {
    const step = this.begin(name);
    if (why !== undefined) step.note = why;
    this.end(step, 'skipped');
  }

  /** Registers what takes back the step that follows. */
  takeBackWith<Input>(
    name: string,
    activity: Activity<Input, unknown>,
    input: Input,
    tell?: (failure: Failure) => void,
  ): void {
    this.hasBegun = true;
    this.takeBacks.push({ name, run: () => activity.executeWithOptions({ summary: name }, [input]), tell });
  }

  takeBackBy(name: string, run: () => Promise<unknown>): void {
    this.hasBegun = true;
    this.takeBacks.push({ name, run });
  }

  /**
   * Takes back all that was registered, newest first, whatever cancels the workflow meanwhile. One that fails does not
   * keep the others from running.
   * @returns what could not be taken back; empty when all was that visitors could notice.
   */
  async takeBack(): Promise<Failure[]> {
    const failures: Failure[] = [];
    await CancellationScope.nonCancellable(async () => {
      for (const { name, run, tell } of this.takeBacks.splice(0).reverse()) {
        const step = this.begin(name);
        try {
          await run();
          this.end(step, 'taken back');
        } catch (error) {
          this.end(step, 'take-back failed');
          const failure = describeFailure(error);
          if (tell) tell(failure);
          else failures.push({ ...failure, message: `${name}: ${failure.message}` });
        }
      }
    });
    return failures;
  }

  private begin(name: string): Mutable<StepReport> {
    const step: Mutable<StepReport> = {
      name,
      startedAt: new Date().toISOString(),
      durationMs: null,
      outcome: 'running',
    };
    this.steps.push(step);
    this.show();
    return step;
  }

  private end(step: Mutable<StepReport>, outcome: StepReport['outcome']): void {
    step.durationMs = Date.now() - Date.parse(step.startedAt);
    step.outcome = outcome;
    this.show();
  }

  private show(): void {
    setCurrentDetails(stepTable(this.title, this.steps));
  }
}

/** Runs all at once; the first failure stops the others, and is thrown when they have stopped. */
export async function inParallel<T>(runs: readonly (() => Promise<T>)[]): Promise<T[]> {
  const scope = new CancellationScope();
  return scope.run(async () => {
    const running = runs.map((run) => run());
    try {
      return await Promise.all(running);
    } catch (error) {
      scope.cancel();
      await Promise.allSettled(running);
      throw error;
    }
  });
}
