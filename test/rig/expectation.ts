import { rollbackRepeatsMs } from '../../src/domain/environment-queue.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { journey, neverDeployed, type Request, type Seen, type State } from './model.js';

/** Without a request: steers what runs, or the operation that is named. */
export type Ask = Request | Steer<'approve'> | Steer<'abort'>;

interface Steer<Kind> {
  readonly kind: Kind;
  readonly operation?: string;
}

/** What the one who asked was told; a signal that was dropped, or joined, says nothing. */
export type Answer =
  | { readonly operation: string; readonly joined: boolean }
  | { readonly refused: string }
  | 'nothing said';

/** What goes wrong with a step. Where it says so, the step or its take-back fails for good. */
export interface Disturbance {
  readonly step: string;
  readonly isForGood: boolean;
}

type Certainty = 'never' | 'maybe' | 'surely';

interface Operation {
  readonly id: string;
  readonly request: Request;
  /** Codes that stops of it give. */
  readonly stops: Set<string>;
  /** The step at which it stood still when it was stopped. */
  stoppedAt: string | null;
  /** Something else took its place in the queue. */
  overtaken: Certainty;
  /** It may have been aborted while it waited. */
  mayBeRemoved: boolean;
}

interface Ending {
  readonly outcome: OperationResult['outcome'];
  readonly code: string | null;
  readonly after: State;
}

/** What one environment may be, by the model and by what was answered so far. */
export class Expectation {
  /** Those that nothing has ruled out. */
  private possible: readonly State[] = [neverDeployed];
  private open: Operation[] = [];
  private disturbances: Disturbance[] = [];
  private paused: { operation: Operation; step: string } | null = null;
  /** When something was asked for last that was taken: no operation that is known ended before. */
  private takenAt = Date.now();

  constructor(readonly environment: string) {}

  get isQuiet(): boolean {
    return this.open.length === 0;
  }

  get openOperations(): readonly { readonly id: string; readonly request: Request }[] {
    return this.open;
  }

  disturb(...disturbances: readonly Disturbance[]): void {
    const isNew = ({ step }: Disturbance): boolean => disturbances.every((other) => other.step !== step);
    this.disturbances = [...this.disturbances.filter(isNew), ...disturbances];
  }

  /** An operation stands still at a step, so that all others wait. */
  pausesAt(id: string, step: string): void {
    const operation = this.open.find((one) => one.id === id);
    if (operation) this.paused = { operation, step };
  }

  /** @param isAlone whether nobody else asked at the same moment */
  answered(ask: Ask, answer: Answer, isAlone: boolean): void {
    if (!isAlone) this.paused = null;
    if (ask.kind === 'approve') this.approveAnswered(ask, answer);
    else if (ask.kind === 'abort') this.abortAnswered(ask, answer);
    else if (answer === 'nothing said' || 'refused' in answer) this.notTaken(ask, answer, isAlone);
    else if (answer.joined) this.joined(ask, answer.operation, isAlone);
    else this.accepted(ask, answer.operation, isAlone);
  }

  /** Compares with what came of all that was open, and with what is seen now that nothing runs. */
  settle(results: ReadonlyMap<string, OperationResult>, seen: Seen): void {
    let possible = this.possible;
    for (const operation of this.open) {
      const result = results.get(operation.id);
      if (!result) throw this.violation(`${operation.id} has no result`);
      const allowed = possible.flatMap((before) =>
        this.endings(operation, before).map((ending) => ({ ...ending, before })),
      );
      possible = distinct(allowed.filter((ending) => isThat(ending, ending.before, result)).map(({ after }) => after));
      if (possible.length === 0) {
        const { outcome, code, message, to, lost } = result;
        throw this.violation(
          `${operation.id} ended as ${JSON.stringify({ outcome, code, message, to, lost })}`,
          allowed.map(({ before, ...ending }) => ending),
        );
      }
    }
    const agreeing = possible.filter((state) => text(seenOf(state)) === text(seenOf(seen)));
    if (agreeing.length === 0) throw this.violation(`it is ${text(seenOf(seen))}`, possible.map(seenOf));
    this.possible = agreeing;
    this.open = [];
    this.disturbances = [];
    this.paused = null;
  }

  private approveAnswered(ask: { operation?: string }, answer: Answer): void {
    if (answer === 'nothing said' || !('refused' in answer)) return;
    if (answer.refused !== 'nothing-to-steer') throw this.violation(`an approval was refused with ${answer.refused}`);
    if (this.runsSurely(ask.operation)) throw this.violation('an approval was refused while an operation ran');
  }

  private abortAnswered(ask: { operation?: string }, answer: Answer): void {
    if (answer !== 'nothing said' && 'refused' in answer) {
      if (answer.refused !== 'nothing-to-steer') throw this.violation(`an abort was refused with ${answer.refused}`);
      if (this.runsSurely(ask.operation)) throw this.violation('an abort was refused while an operation ran');
      return;
    }
    if (answer !== 'nothing said' && this.isQuiet) throw this.violation('an abort was taken where nothing ran');
    for (const operation of this.open.filter(({ id }) => !ask.operation || id === ask.operation)) {
      const { paused } = this;
      if (paused && operation !== paused.operation) operation.mayBeRemoved = ask.operation === operation.id;
      else this.stop(operation, 'aborted');
    }
  }

  /** Whether the last rollback may have ended so long ago that another one is not the same. */
  private get isLongAgo(): boolean {
    return Date.now() - this.takenAt > rollbackRepeatsMs;
  }

  /** Whether the operation, or where none is named any, stands still in the middle of its work. */
  private runsSurely(operation: string | undefined): boolean {
    return this.paused !== null && (operation ?? this.paused.operation.id) === this.paused.operation.id;
  }

  private notTaken(request: Request, answer: Exclude<Answer, { operation: string }>, isAlone: boolean): void {
    const why = answer === 'nothing said' ? 'dropped' : answer.refused;
    if (request.kind !== 'rollback' || !['dropped', 'rollback-refused'].includes(why)) {
      throw this.violation(`${text(request)} was refused with ${why}`);
    }
    if (!isAlone || (!this.isQuiet && !this.paused)) return;
    if (this.paused) {
      if (why === 'dropped' && this.isAskedAlready(request)) return;
      throw this.violation(`${text(request)} was ${why} while an operation ran`);
    }
    this.keep(
      (state) =>
        isRefused(request, state) ||
        (why === 'dropped' && isRepeated(request, state)) ||
        (this.isLongAgo && mustBeNamed(request, state)),
      `${text(request)} was ${why}`,
    );
  }

  private joined(request: Request, id: string, isAlone: boolean): void {
    const same = this.open.find((one) => one.id === id);
    if (same) {
      const isSame =
        request.kind === 'rollback' ? isToTheSame(request, same.request) : text(request) === text(same.request);
      if (!isSame) throw this.violation(`${text(request)} joined ${id}, which is ${text(same.request)}`);
      return;
    }
    if (!isAlone || !this.isQuiet) return;
    this.keep(
      (state) => isRepeated(request, state) && state.last?.id === id,
      `${text(request)} joined ${id}, which had ended`,
    );
  }

  private accepted(request: Request, id: string, isAlone: boolean): void {
    if (this.paused && this.isAskedAlready(request))
      throw this.violation(`${text(request)} did not join, and is ${id}`);
    if (isAlone && this.isQuiet) {
      this.keep(
        (state) => !isRefused(request, state) && (!isRepeated(request, state) || this.isLongAgo),
        `${text(request)} was taken as ${id}`,
      );
    }
    this.takenAt = Date.now();
    for (const other of this.open) this.givesWay(other, request);
    this.open.push({ id, request, stops: new Set(), stoppedAt: null, overtaken: 'never', mayBeRemoved: false });
    this.open.sort((a, b) => numberOf(a.id) - numberOf(b.id));
  }

  /** A rollback stops what runs and empties the queue; a deploy takes the place of one that waits. */
  private givesWay(other: Operation, request: Request): void {
    const { paused } = this;
    const mayRun = !paused || paused.operation === other;
    const mayWait = paused?.operation !== other;
    const certainty = paused ? 'surely' : 'maybe';
    if (request.kind === 'rollback') {
      if (mayWait && other.overtaken !== 'surely') other.overtaken = certainty;
      if (mayRun && other.request.kind === 'deploy') this.stop(other, 'rolled-back');
      if (mayRun && other.request.kind === 'cleanup') this.stop(other, 'aborted');
    }
    if (request.kind === 'deploy' && other.request.kind === 'deploy' && mayWait && other.overtaken !== 'surely') {
      other.overtaken = certainty;
    }
  }

  private stop(operation: Operation, code: string): void {
    operation.stops.add(code);
    if (this.paused?.operation !== operation) return;
    operation.stoppedAt = this.paused.step;
  }

  private isAskedAlready(request: Request): boolean {
    return this.open.some(
      (one) =>
        one.stops.size === 0 &&
        one.overtaken === 'never' &&
        !one.mayBeRemoved &&
        (request.kind === 'rollback' ? isToTheSame(request, one.request) : text(request) === text(one.request)) &&
        request.kind !== 'switch',
    );
  }

  private endings(operation: Operation, before: State): readonly Ending[] {
    const { request, stops, overtaken, mayBeRemoved, stoppedAt } = operation;
    const untouched = (code: string): Ending => ({ outcome: 'failed', code, after: before });
    if (overtaken === 'surely') return [untouched('superseded'), ...(mayBeRemoved ? [untouched('aborted')] : [])];
    const endings: Ending[] = [];
    if (overtaken === 'maybe') endings.push(untouched('superseded'));
    if (mayBeRemoved || stops.has('aborted')) endings.push(untouched('aborted'));

    const ended = (outcome: Ending['outcome'], code: string | null, after: State): Ending => {
      const to = request.kind === 'rollback' ? (request.to ?? null) : null;
      return { outcome, code, after: { ...after, last: { id: operation.id, kind: request.kind, outcome, to } } };
    };
    const { rows, done } = journey(request, before);
    for (const [index, row] of rows.entries()) {
      const hits = this.disturbances.filter(({ step, isForGood }) => isForGood && row.step.test(step));
      const isStoppedHere = stoppedAt !== null && row.step.test(stoppedAt);
      const codes = [...(row.fails ? [row.fails] : []), ...(hits.length > 0 ? ['broken'] : []), ...stops];
      // What was stopped may have ended well all the same: then the next step is where it ends.
      const left = isStoppedHere ? [...row.left, ...(rows[index + 1]?.left ?? [])] : row.left;
      const failing = (row.undoSteps ?? []).filter((one) => this.disturbances.some(({ step }) => one.step.test(step)));
      for (const code of codes) {
        endings.push(...left.map((state) => ended('failed', code, state)));
        for (const { outcome, left } of failing) {
          const told = outcome === 'failed' ? code : 'needs-operator';
          endings.push(...left.map((state) => ended(outcome, told, state)));
        }
      }
      // A request that had its effect is found to be in force.
      const isSure = hits.some(({ step }) => !step.startsWith('requestEdgeChange'));
      if (row.fails || isSure || isStoppedHere) return endings;
    }
    return [...endings, ended('succeeded', null, done)];
  }

  private keep(isSo: (state: State) => boolean, what: string): void {
    const kept = this.possible.filter(isSo);
    if (kept.length === 0) throw this.violation(what, this.possible);
    this.possible = kept;
  }

  private violation(what: string, allowed?: readonly unknown[]): Error {
    const model = allowed ? `; the model allows\n  ${distinct(allowed).map(text).join('\n  ')}` : '';
    return new Error(`${this.environment}: ${what}${model}`);
  }
}

function isThat({ outcome, code, after }: Ending, before: State, result: OperationResult): boolean {
  if (outcome !== result.outcome) return false;
  if (code === null ? result.code !== null : !code.split('|').includes(result.code ?? '')) return false;
  if (outcome === 'succeeded')
    return result.to.color === null || (result.to.color === after.color && result.to.sha === after.sha);
  const isLost = before.standby !== null && after.standby === null;
  return outcome === 'needs-operator' || isLost === result.lost.some((one) => one.startsWith('the standby'));
}

const mustBeNamed = (request: Request, state: State): boolean =>
  request.kind === 'rollback' && !request.to && state.mustName;
const isRefused = (request: Request, state: State): boolean =>
  mustBeNamed(request, state) && !isRepeated(request, state);

/** Within a minute of the end of the one before. */
function isRepeated(request: Request, { last }: State): boolean {
  if (request.kind !== 'rollback' || request.full || last?.kind !== 'rollback') return false;
  return last.outcome === 'succeeded' && last.to === (request.to ?? null);
}

const isToTheSame = (a: { readonly to?: string }, b: Request): boolean => b.kind === 'rollback' && a.to === b.to;
const numberOf = (id: string): number => Number(id.split('/').at(-1));
const text = (value: unknown): string => JSON.stringify(value);
const seenOf = ({ color, sha, standby, history, held }: Seen): Seen => ({
  color,
  sha,
  standby,
  history,
  held: { blue: held.blue, green: held.green },
});

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [text(value), value])).values()];
}
