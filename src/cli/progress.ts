import type { Sight } from '../client/follow.js';
import type { StepReport } from '../domain/edge-change.js';
import { formatClock, formatSeconds } from './format.js';
import { LiveArea } from './live-area.js';
import type { Output } from './output.js';

/** Shows an operation's steps while it runs, on stderr. */
export interface ProgressView {
  show(sight: Sight): void;
  /** The steps of the result: what ended since the last look. Then nothing is drawn any more. */
  finish(steps: readonly StepReport[]): void;
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const drawEveryMs = 100;
const longStepMs = 1_000;

/** Live on a terminal, plain lines elsewhere, nothing with `--quiet`. `environment` is for what to type meanwhile. */
export function createProgressView(output: Output, environment: string): ProgressView {
  if (output.options.quiet) return { show: () => undefined, finish: () => undefined };
  return output.stderr.isTTY && output.canRedraw
    ? new LiveView(output, environment)
    : new PlainView(output, environment);
}

/** Steps in the order in which they come to be known, and which of them were told to have ended. */
class StepLog {
  #told = new Set<number>();

  /** Steps that ended since the last call, and those that run. Steps are only ever added. */
  read(steps: readonly StepReport[]): { ended: readonly StepReport[]; running: readonly StepReport[] } {
    const ended = steps.filter((step, index) => step.outcome !== 'running' && !this.#told.has(index));
    steps.forEach((step, index) => {
      if (step.outcome !== 'running') this.#told.add(index);
    });
    return { ended, running: steps.filter((step) => step.outcome === 'running') };
  }
}

/** A line when a step has ended, and one before where it takes long, with the time since the operation began. */
class PlainView implements ProgressView {
  readonly #log = new StepLog();
  readonly #seenAt = new Map<string, number>();
  #said = '';

  constructor(
    private readonly output: Output,
    private readonly environment: string,
  ) {}

  show(sight: Sight): void {
    if (sight.state === 'queued') {
      this.#say(`waits behind ${sight.behind}`);
      return;
    }
    const hint = waitingHint(sight, this.environment);
    this.#tell(sight.progress.steps, hint === null);
    if (hint) this.#say(hint);
  }

  finish(steps: readonly StepReport[]): void {
    this.#tell(steps, false);
  }

  #tell(steps: readonly StepReport[], isRunningTold: boolean): void {
    const { ended, running } = this.#log.read(steps);
    const startedAt = Date.parse(steps[0]?.startedAt ?? '');
    const line = (atMs: number, text: string) =>
      this.output.note(`${formatSeconds(atMs - startedAt).padStart(8)}  ${text}`);
    for (const step of ended) {
      const endedAt = Date.parse(step.startedAt) + (step.durationMs ?? 0);
      const words = [step.name, step.outcome, formatSeconds(step.durationMs ?? 0), ...(step.note ? [step.note] : [])];
      line(endedAt, words.join('  '));
    }
    for (const step of running) {
      if (isRunningTold && this.#isLong(step.name)) line(Date.parse(step.startedAt), `${step.name} …`);
    }
  }

  /** True once, when the step is seen running for a while: what is over at once needs one line, not two. */
  #isLong(name: string): boolean {
    const seenAt = this.#seenAt.get(name) ?? performance.now();
    const isLong = performance.now() - seenAt >= longStepMs;
    this.#seenAt.set(name, isLong ? Number.POSITIVE_INFINITY : seenAt);
    return isLong;
  }

  #say(text: string): void {
    if (text !== this.#said) this.output.note(`          ${text}`);
    this.#said = text;
  }
}

/** Ended steps stay above; those that run are redrawn below, with a spinner and the time they took so far. */
class LiveView implements ProgressView {
  readonly #log = new StepLog();
  readonly #seenAt = new Map<string, number>();
  readonly #area: LiveArea;
  readonly #timer: NodeJS.Timeout;
  #running: readonly StepReport[] = [];
  #hint = '';
  #frame = 0;

  constructor(
    private readonly output: Output,
    private readonly environment: string,
  ) {
    this.#area = new LiveArea(output.stderr);
    this.#timer = setInterval(() => this.#draw([]), drawEveryMs);
    this.#timer.unref();
  }

  show(sight: Sight): void {
    if (sight.state === 'queued') {
      this.#hint = `waits behind ${sight.behind}`;
      this.#draw([]);
      return;
    }
    this.#hint = waitingHint(sight, this.environment) ?? '';
    this.#take(sight.progress.steps);
  }

  finish(steps: readonly StepReport[]): void {
    clearInterval(this.#timer);
    this.#hint = '';
    this.#take(steps);
    this.#running = [];
    this.#draw([]);
    this.#area.end();
  }

  #take(steps: readonly StepReport[]): void {
    const { ended, running } = this.#log.read(steps);
    this.#running = running;
    for (const { name } of running) if (!this.#seenAt.has(name)) this.#seenAt.set(name, performance.now());
    this.#draw(ended.map((step) => this.#endedLine(step)));
  }

  #endedLine({ name, outcome, durationMs, note }: StepReport): string {
    const { green, red, yellow, dim } = this.output.err;
    const took = dim(formatSeconds(durationMs ?? 0));
    switch (outcome) {
      case 'failed':
      case 'take-back failed':
        return `${red('✘')} ${name}  ${red(outcome)}  ${took}`;
      case 'taken back':
        return `${yellow('↩')} ${name}  ${took}`;
      case 'skipped':
        return dim(`- ${name}  not needed${note ? `: ${note}` : ''}`);
      default:
        return `${green('✔')} ${name}  ${took}${note ? dim(`  ${note}`) : ''}`;
    }
  }

  #draw(permanent: readonly string[]): void {
    const { cyan, dim } = this.output.err;
    const spinner = frames[Math.floor(this.#frame++) % frames.length] ?? '';
    const live = this.#running.map(({ name }) => {
      const elapsedMs = performance.now() - (this.#seenAt.get(name) ?? performance.now());
      return `${cyan(spinner)} ${name}  ${dim(formatSeconds(elapsedMs))}`;
    });
    const hint = this.#hint === '' ? [] : [dim(`  ${this.#hint}`)];
    this.#area.draw([...live, ...hint], permanent);
  }
}

function waitingHint(sight: Sight & { state: 'running' }, environment: string): string | null {
  const { waiting, until } = sight.progress;
  if (waiting === null) return null;
  const end = until === null ? '' : ` until ${formatClock(until)}`;
  if (waiting === 'approval')
    return `waits for approval${end}: bascule approve ${environment}, or bascule abort ${environment}`;
  if (waiting === 'soak') return `soak${end}: bascule rollback ${environment} goes back at once`;
  return `old connections drain${end} at most`;
}
