import {
  type EnvironmentState,
  enqueue,
  leavesReleases,
  type QueuedOperation,
  rememberedMs,
  rollbackRepeatsMs,
  shaOf,
  supersededResult,
} from './environment-queue.js';
import { type OperationKind, shortSha } from './names.js';
import { newestWithin } from './newest.js';
import type { OperationResult, RollbackRequest } from './operation.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** How much is handed on: about 1500 request ids, 100 results of operations, 200 of some that never began. */
const handedOverCharacters = { requests: 150_000, results: 300_000, resultsOfNothing: 150_000 } as const;

/** What an environment remembers: the queue, whose request became which operation, and how operations ended. */
export class EnvironmentBook {
  private readonly written: Mutable<EnvironmentState> & { requests: Mutable<EnvironmentState['requests']> };

  /** @param now answers the time in ms since the epoch */
  constructor(
    private readonly environment: string,
    carried: EnvironmentState,
    private readonly now: () => number,
  ) {
    this.written = { ...carried, requests: { ...carried.requests } };
  }

  get state(): EnvironmentState {
    return this.written;
  }

  /** What one run hands to the next: all of it, but of a day's requests and results the newest. */
  handedOver(): EnvironmentState {
    const { requests, results } = this.written;
    const isOfNothing = ([, { result }]: [string, EnvironmentState['results'][string]]) => result.steps.length === 0;
    const all = Object.entries(results);
    // A result that is left out can be asked of the operation's own workflow, where it had one.
    const began = newestWithin(
      Object.fromEntries(all.filter((one) => !isOfNothing(one))),
      handedOverCharacters.results,
    );
    const ofNothing = Object.fromEntries(all.filter(isOfNothing));
    return {
      ...this.written,
      requests: newestWithin(requests, handedOverCharacters.requests),
      results: { ...began, ...newestWithin(ofNothing, handedOverCharacters.resultsOfNothing) },
    };
  }

  /** The number of the next operation. */
  nextNumber(): number {
    this.written.number += 1;
    return this.written.number;
  }

  /** The operation that a request id became earlier. */
  earlierOperation({ requestId }: { readonly requestId?: string }): string | undefined {
    return requestId ? this.written.requests[requestId]?.operation : undefined;
  }

  rememberRequest({ requestId }: { readonly requestId?: string }, operation: string): void {
    if (!requestId) return;
    this.written.requests[requestId] = { operation, at: this.now() };
  }

  /** The rollback that a request repeats: it succeeded, has just ended, and nothing has begun since. */
  repeatedRollback(request: RollbackRequest): OperationResult | null {
    const { lastRollback, results } = this.written;
    if (request.full || !lastRollback || !isToTheSame(lastRollback, request)) return null;
    if (this.now() - lastRollback.endedAt >= rollbackRepeatsMs) return null;
    return results[lastRollback.operation]?.result ?? null;
  }

  /** Puts an operation where it belongs; what gives way to it has ended as superseded. */
  enqueue(operation: QueuedOperation): void {
    const { queue, superseded } = enqueue(this.written.queue, operation);
    this.written.queue = queue;
    for (const one of superseded) this.keepResult(this.neverBegan(one, operation.id));
  }

  /** Takes the next operation out of the queue. */
  dequeue(): QueuedOperation | undefined {
    const [next, ...rest] = this.written.queue;
    this.written.queue = rest;
    return next;
  }

  /** Ends an operation that waits, as aborted. */
  removeFromQueue(operation: QueuedOperation): void {
    this.written.queue = this.written.queue.filter((other) => other !== operation);
    this.keepResult({ ...this.neverBegan(operation, 'an abort'), code: 'aborted' });
  }

  /** Writes down how an operation that ran has ended. One that never began changes nothing for those that follow. */
  remember(operation: QueuedOperation, result: OperationResult): void {
    this.keepResult(result);
    this.written.last = result;
    const neverBegan = result.outcome === 'failed' && !result.began;
    this.written.stopped = neverBegan && operation.kind === 'deploy' && result.code === 'rolled-back' ? result : null;
    if (neverBegan) return;
    if (operation.kind === 'deploy' && result.outcome !== 'succeeded') {
      this.written.failedDeploy = `the last deploy (${operation.id}) did not succeed, and ${this.environment} serves ${servedAfter(result)}; to leave that too, name the release: bascule rollback ${this.environment} --to SHA`;
      this.written.takenBack = result.outcome === 'failed' ? result : null;
    } else if (isInForce(operation, result)) {
      this.written.failedDeploy = null;
      this.written.takenBack = null;
    }
    this.rememberRollback(operation, result);
  }

  private rememberRollback(operation: QueuedOperation, { outcome, began }: OperationResult): void {
    const { lastRollback } = this.written;
    if (operation.kind === 'rollback' && outcome === 'succeeded') {
      const to = operation.request.to ?? null;
      const isRepeated = !began && this.repeatedRollback(operation.request) !== null;
      this.written.lastRollback = isRepeated ? lastRollback : { operation: operation.id, to, endedAt: this.now() };
    } else if (began) {
      this.written.lastRollback = null;
    }
  }

  /**
   * The deploy that a rollback has to do no more than name: it was stopped before it began, or it is the last change that
   * was tried and was taken back.
   */
  get takenBack(): OperationResult | null {
    return this.written.stopped ?? this.written.takenBack;
  }

  /** Result of an operation of which nothing began. */
  neverBegan(operation: QueuedOperation, inFavorOf: string): OperationResult {
    return supersededResult(this.environment, described(operation), inFavorOf, this.now());
  }

  private keepResult(result: OperationResult): void {
    const isRecent = ([, { at }]: [string, { at: number }]) => this.now() - at < rememberedMs;
    this.written.requests = Object.fromEntries(Object.entries(this.written.requests).filter(isRecent));
    this.written.results = {
      ...Object.fromEntries(Object.entries(this.written.results).filter(isRecent)),
      [result.operation]: { result, at: this.now() },
    };
  }
}

export const described = (operation: QueuedOperation): { id: string; kind: OperationKind; sha: string | null } => ({
  id: operation.id,
  kind: operation.kind,
  sha: shaOf(operation),
});

export const isToTheSame = (a: { to?: string | null }, b: { to?: string | null }): boolean =>
  (a.to ?? null) === (b.to ?? null);

/** What a deploy that did not succeed left active; where it could not be taken back, nobody knows without a look. */
function servedAfter({ outcome, from }: OperationResult): string {
  if (outcome === 'needs-operator') return 'what `bascule status` says';
  return from.color === null && from.sha === null ? 'what it served before' : shortSha(from.sha);
}

/** Whether the operation changed what visitors get (or a deploy found that it need not). */
function isInForce(operation: QueuedOperation, result: OperationResult): boolean {
  if (result.outcome !== 'succeeded') return false;
  if (leavesReleases(operation) || (operation.kind === 'switch' && operation.request.dryRun)) return false;
  return operation.kind === 'deploy' || result.changed !== false;
}
