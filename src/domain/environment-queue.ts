import type { FailoverTestRequest } from './failover.js';
import type { OperationKind } from './names.js';
import type { CleanupRequest, DeployRequest, OperationResult, RollbackRequest, SwitchRequest } from './operation.js';

/** An operation that an environment accepted and has not begun. */
export type QueuedOperation =
  | { readonly id: string; readonly kind: 'deploy'; readonly request: DeployRequest }
  | { readonly id: string; readonly kind: 'rollback'; readonly request: RollbackRequest }
  | { readonly id: string; readonly kind: 'switch'; readonly request: SwitchRequest }
  | { readonly id: string; readonly kind: 'cleanup'; readonly request: CleanupRequest }
  | { readonly id: string; readonly kind: 'failover-test'; readonly request: FailoverTestRequest };

/** Whether an operation leaves what visitors are given as it is: a rollback takes its place. */
export const leavesReleases = ({ kind }: Pick<QueuedOperation, 'kind'>): boolean =>
  kind === 'cleanup' || kind === 'failover-test';

/** A rollback within this time of the end of another one is the same one. */
export const rollbackRepeatsMs = 60_000;

/** How long a request id and a result are remembered. */
export const rememberedMs = 24 * 60 * 60 * 1000;

/** What one run of `environment` hands to the next. */
export interface EnvironmentState {
  readonly number: number;
  readonly queue: readonly QueuedOperation[];
  /** Request ids of the last day, and the operation that each became. */
  readonly requests: Readonly<Record<string, { readonly operation: string; readonly at: number }>>;
  /** Results of the last day, by operation. */
  readonly results: Readonly<Record<string, { readonly result: OperationResult; readonly at: number }>>;
  readonly last: OperationResult | null;
  /** Set while the last change that was tried is a deploy that did not succeed: what that was, for a person. */
  readonly failedDeploy: string | null;
  /** That deploy, where all of it was taken back. */
  readonly takenBack: OperationResult | null;
  /** The operation before, where it is a deploy that a rollback stopped before it began. */
  readonly stopped: OperationResult | null;
  /** The last rollback that succeeded, until another operation begins. */
  readonly lastRollback: { readonly operation: string; readonly to: string | null; readonly endedAt: number } | null;
}

export const emptyEnvironment: EnvironmentState = {
  number: 0,
  queue: [],
  requests: {},
  results: {},
  last: null,
  failedDeploy: null,
  takenBack: null,
  stopped: null,
  lastRollback: null,
};

/**
 * Puts an operation where it belongs: a rollback empties the queue, a deploy replaces the one that waits.
 * @returns the new queue, and what gave way to it.
 */
export function enqueue(
  queue: readonly QueuedOperation[],
  operation: QueuedOperation,
): { queue: readonly QueuedOperation[]; superseded: readonly QueuedOperation[] } {
  if (operation.kind === 'rollback') return { queue: [operation], superseded: queue };
  if (operation.kind !== 'deploy') return { queue: [...queue, operation], superseded: [] };
  const superseded = queue.filter((other) => other.kind === 'deploy');
  return { queue: [...queue.filter((other) => other.kind !== 'deploy'), operation], superseded };
}

/** Whether two deploy requests ask for the same: who asks, why and under which request id does not count. */
export function isSameDeploy(a: DeployRequest, b: DeployRequest): boolean {
  const options = ({ sha, waitForApproval, soakMs, drainMs, again, skipMigrate }: DeployRequest): string =>
    JSON.stringify([sha, !!waitForApproval, soakMs ?? null, drainMs ?? null, !!again, !!skipMigrate]);
  return options(a) === options(b);
}

/** The sha that an operation is about, as far as it is known before it begins. */
export function shaOf(operation: QueuedOperation): string | null {
  if (operation.kind === 'deploy') return operation.request.sha;
  return operation.kind === 'rollback' ? (operation.request.to ?? null) : null;
}

/** Result of an operation that never began. */
export function supersededResult(
  environment: string,
  operation: { id: string; kind: OperationKind; sha: string | null },
  by: string,
  at: number,
): OperationResult {
  const nothing = { color: null, sha: null };
  return {
    schemaVersion: 1,
    operation: operation.id,
    environment,
    kind: operation.kind,
    sha: operation.sha,
    outcome: 'failed',
    code: 'superseded',
    message: `it waited, and ${by} took its place; nothing of it began`,
    remedy: null,
    from: nothing,
    to: nothing,
    generation: null,
    began: false,
    startedAt: new Date(at).toISOString(),
    durationMs: 0,
    lost: [],
    warnings: [],
    components: [],
    steps: [],
  };
}
