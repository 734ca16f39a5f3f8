import { rollbackRepeatsMs } from '../../src/domain/environment-queue.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { journey, neverDeployed, type Request, type Seen, type State } from './model.js';

/** Without a request: steers what runs, or the operation that is named. */
export type Ask = Request | Steer;

interface Steer {
  readonly kind: 'approve' | 'abort';
  readonly operation?: string;
}

export const isSteer = (ask: Ask): ask is Steer => ask.kind === 'approve' || ask.kind === 'abort';

/** What the client was answered; a signal that was dropped, or joined, says nothing. */
export type Answer =
  | { readonly operation: string; readonly joined: boolean }
  | { readonly refused: string }
  | 'nothing said';

/** What goes wrong with a step. Where it says so, the step or its undo fails for good. */
export interface Disturbance {
  readonly step: string;
  readonly isForGood: boolean;
}

interface Operation {
  readonly id: string;
  readonly request: Request;
  /** Codes that stops of it give. */
  readonly stops: Set<string>;
  /** The step at which it stood still when it was stopped. */
  stoppedAt: string | null;
  /** Whether something else took its place in the queue. */
  overtaken: 'never' | 'maybe' | 'surely';
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
  /** When a request was taken last: no operation that is known ended before. */
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
    if (isSteer(ask)) this.steered(ask, answer);
    else if (answer === 'nothing said' || 'refused' in answer) this.notTaken(ask, answer, isAlone);
    else if (answer.joined) this.joined(ask, answer.operation, isAlone);
    else this.accepted(ask, answer.operation, isAlone);
  }

  /** Compares with how all that was open ended, and with what is seen now that nothing runs. */
  settle(results: ReadonlyMap<string, OperationResult>, seen: Seen): void {
    let possible = this.possible;
    for (const operation of this.open) {
      const result = results.get(operation.id);
      if (!result) throw this.violation(`${operation.id} has no result`);
      const allowed = possible.flatMap((before) =>
        this.endings(operation, before).map((ending) => ({ ending, isSo: isThat(ending, before, result) })),
      );
      possible = distinct(allowed.filter(({ isSo }) => isSo).map(({ ending }) => ending.after));
      if (possible.length === 0) {
        const { outcome, code, message, to, lost } = result;
        throw this.violation(
          `${operation.id} ended as ${text({ outcome, code, message, to, lost })}`,
          allowed.map(({ ending }) => ending),
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

  private steered(ask: Steer, answer: Answer): void {
    const { paused } = this;
    if (answer !== 'nothing said' && 'refused' in answer) {
      const runs = paused !== null && (ask.operation ?? paused.operation.id) === paused.operation.id;
      if (runs || answer.refused !== 'nothing-to-steer') throw this.violation(`${text(ask)} got ${text(answer)}`);
      return;
    }
    if (ask.kind === 'approve') return;
    if (answer !== 'nothing said' && this.isQuiet) throw this.violation('an abort was taken where nothing ran');
    for (const operation of this.open.filter(({ id }) => !ask.operation || id === ask.operation)) {
      if (paused && operation !== paused.operation) operation.mayBeRemoved = ask.operation === operation.id;
      else this.stop(operation, 'aborted');
    }
  }

  /** Whether the last rollback may have ended so long ago that another one is not the same. */
  private get isLongAgo(): boolean {
    return Date.now() - this.takenAt > rollbackRepeatsMs;
  }

  private notTaken(request: Request, answer: Exclude<Answer, { operation: string }>, isAlone: boolean): void {
    const why = answer === 'nothing said' ? 'dropped' : answer.refused;
    const what = `${text(request)} was ${why}`;
    if (request.kind !== 'rollback' || !['dropped', 'rollback-refused'].includes(why)) throw this.violation(what);
    if (this.paused && isAlone) {
      if (why === 'dropped' && this.isAskedAlready(request)) return;
      throw this.violation(`${what} while an operation ran`);
    }
    if (!isAlone || !this.isQuiet) return;
    this.keep(
      (state) =>
        isRefused(request, state) ||
        (why === 'dropped' && isRepeated(request, state)) ||
        (this.isLongAgo && mustBeNamed(request, state)),
      what,
    );
  }

  private joined(request: Request, id: string, isAlone: boolean): void {
    const same = this.open.find((one) => one.id === id);
    if (same && !isSame(request, same.request)) {
      throw this.violation(`${text(request)} joined ${id}, which is ${text(same.request)}`);
    }
    if (same || !isAlone || !this.isQuiet) return;
    this.keep(
      (state) => isRepeated(request, state) && state.last?.id === id,
      `${text(request)} joined ${id}, which had ended`,
    );
  }

  private accepted(request: Request, id: string, isAlone: boolean): void {
    const what = `${text(request)} was taken as ${id}`;
    if (this.paused && this.isAskedAlready(request)) throw this.violation(`${what}, and did not join`);
    if (isAlone && this.isQuiet) {
      this.keep((state) => !isRefused(request, state) && (!isRepeated(request, state) || this.isLongAgo), what);
    }
    this.takenAt = Date.now();
    for (const other of this.open) this.givesWay(other, request);
    this.open.push({ id, request, stops: new Set(), stoppedAt: null, overtaken: 'never', mayBeRemoved: false });
    this.open.sort((a, b) => numberOf(a.id) - numberOf(b.id));
  }

  /** A rollback stops what runs and empties the queue; a deploy takes the place of one that waits. */
  private givesWay(other: Operation, { kind }: Request): void {
    const isPaused = this.paused?.operation === other;
    const isDeploy = other.request.kind === 'deploy';
    if (kind === 'rollback' || (kind === 'deploy' && isDeploy)) {
      if (!isPaused && other.overtaken !== 'surely') other.overtaken = this.paused ? 'surely' : 'maybe';
    }
    if (kind !== 'rollback' || (this.paused && !isPaused)) return;
    if (isDeploy) this.stop(other, 'rolled-back');
    if (other.request.kind === 'cleanup') this.stop(other, 'aborted');
  }

  private stop(operation: Operation, code: string): void {
    operation.stops.add(code);
    if (this.paused?.operation === operation) operation.stoppedAt = this.paused.step;
  }

  private isAskedAlready(request: Request): boolean {
    const goesOn = ({ stops, overtaken, mayBeRemoved }: Operation) =>
      stops.size === 0 && overtaken === 'never' && !mayBeRemoved;
    return request.kind !== 'switch' && this.open.some((one) => goesOn(one) && isSame(request, one.request));
  }

  private endings(operation: Operation, before: State): readonly Ending[] {
    const { id, request, stops, overtaken, mayBeRemoved, stoppedAt } = operation;
    const untouched = (code: string): Ending => ({ outcome: 'failed', code, after: before });
    if (overtaken === 'surely') return [untouched('superseded'), ...(mayBeRemoved ? [untouched('aborted')] : [])];
    const endings: Ending[] = [];
    if (overtaken === 'maybe') endings.push(untouched('superseded'));
    if (mayBeRemoved || stops.has('aborted')) endings.push(untouched('aborted'));

    const to = request.kind === 'rollback' ? (request.to ?? null) : null;
    const ended = (outcome: Ending['outcome'], code: string | null, after: State): Ending => ({
      outcome,
      code,
      after: { ...after, last: { id, kind: request.kind, outcome, to } },
    });
    const { rows, done } = journey(request, before);
    for (const [index, row] of rows.entries()) {
      const hits = this.disturbances.filter(({ step, isForGood }) => isForGood && row.step.test(step));
      const isStoppedHere = stoppedAt !== null && row.step.test(stoppedAt);
      const codes = [...(row.fails ? [row.fails] : []), ...(hits.length > 0 ? ['broken'] : []), ...stops];
      // What was stopped may have ended well all the same: then the next step is where it ends.
      const left = isStoppedHere ? [...row.left, ...(rows[index + 1]?.left ?? [])] : row.left;
      const undoFails = (row.undoSteps ?? []).filter((one) =>
        this.disturbances.some(({ step }) => one.step.test(step)),
      );
      for (const code of codes) {
        endings.push(...left.map((state) => ended('failed', code, state)));
        for (const { outcome, left } of undoFails) {
          const known = outcome === 'failed' ? code : 'needs-operator';
          endings.push(...left.map((state) => ended(outcome, known, state)));
        }
      }
      // A request that had its effect is found to be done.
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
  if (outcome === 'succeeded') {
    return result.to.color === null || (result.to.color === after.color && result.to.sha === after.sha);
  }
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

const isSame = (a: Request, b: Request): boolean =>
  a.kind === 'rollback' ? b.kind === 'rollback' && a.to === b.to : text(a) === text(b);
export const numberOf = (operation: string): number => Number(operation.split('/').at(-1));
const text = (value: unknown): string => JSON.stringify(value);
const seenOf = ({ color, sha, standby, history, held: { blue, green } }: Seen): Seen => ({
  ...{ color, sha, standby, history },
  held: { blue, green },
});
const distinct = <T>(values: readonly T[]): T[] => [...new Map(values.map((value) => [text(value), value])).values()];
