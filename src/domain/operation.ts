import type { ComponentConfiguration, InstanceAddress } from './configuration.js';
import type { StepReport } from './edge-change.js';
import type { Color } from './edge-state.js';
import type { FailoverReport } from './failover.js';
import type { OperationKind } from './names.js';
import type { TrafficCounters } from './traffic-judge.js';

export type Outcome = 'succeeded' | 'failed' | 'needs-operator';

/** How an operation ended. Others build on this shape (`schemaVersion: 1`): fields are added, never renamed. */
export interface OperationResult {
  readonly schemaVersion: 1;
  readonly operation: string;
  readonly environment: string;
  readonly kind: OperationKind;
  readonly sha: string | null;
  readonly outcome: Outcome;
  /** Why it is not `succeeded`: aborted, superseded, rolled-back, or an error's code. */
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
  readonly from: Release;
  readonly to: Release;
  /** Generation of the edge's configuration that it put in force, null where it changed nothing. */
  readonly generation: number | null;
  /** Whether it had changed anything when it ended, also what was given back. One that was refused never began. */
  readonly began: boolean;
  readonly startedAt: string;
  readonly durationMs: number;
  /** What a failed operation could not give back: a standby, a migration that ran. */
  readonly lost: readonly string[];
  /** What is not as it should be and kept nothing from going on. */
  readonly warnings: readonly string[];
  readonly components: readonly PinnedComponent[];
  readonly steps: readonly StepReport[];
  readonly changed?: boolean;
  readonly diff?: string;
  /** What a failover test saw, as far as it came. */
  readonly failover?: FailoverReport;
}

export interface Release {
  readonly color: Color | null;
  readonly sha: string | null;
}

export interface PinnedComponent {
  readonly name: string;
  readonly url: string;
  readonly sha256: string;
  readonly instance: string;
}

export interface DeployRequest {
  readonly sha: string;
  readonly requestId?: string;
  readonly waitForApproval?: boolean;
  readonly soakMs?: number;
  readonly drainMs?: number;
  readonly again?: boolean;
  readonly skipMigrate?: boolean;
  readonly by?: string;
  readonly why?: string;
}

export interface RollbackRequest {
  readonly to?: string;
  readonly full?: boolean;
  readonly requestId?: string;
  readonly by?: string;
  readonly why?: string;
}

export interface SwitchRequest {
  readonly color: Color;
  readonly dryRun?: boolean;
  readonly repair?: boolean;
  readonly requestId?: string;
  readonly by?: string;
  readonly why?: string;
}

export interface CleanupRequest {
  /** The standby goes too, although it is healthy. */
  readonly standby?: boolean;
  readonly requestId?: string;
  readonly by?: string;
  readonly why?: string;
}

/** Approves or aborts an operation; without `operation` the one that runs. */
export interface SteerRequest {
  readonly operation?: string;
  readonly by?: string;
  readonly why?: string;
}

/** Answer of the Updates that ask for an operation. */
export interface Accepted {
  readonly operation: string;
  /** Whether it is an operation that was there already. */
  readonly joined: boolean;
  /** 0 while it runs, else its place in the queue. */
  readonly position: number;
  /** Set where it was approved or stopped before, so that nothing is done. */
  readonly already?: true;
}

/** Why a running operation is stopped and taken back. */
export interface StopRequest {
  readonly code: 'aborted' | 'rolled-back';
  readonly by: string | null;
  readonly why: string | null;
}

/** What `environment` hands to an operation's workflow. */
export interface OperationInput<Request> {
  readonly project: string;
  readonly environment: string;
  readonly operation: string;
  readonly request: Request;
}

export interface RollbackInput extends OperationInput<RollbackRequest> {
  /** The deploy that was stopped and taken back by this rollback: then nothing else is rolled back. */
  readonly tookBack: OperationResult | null;
  /** The rollback that this one repeats: then nothing is done. */
  readonly repeats: OperationResult | null;
}

/** Answer of an operation's Query `progress`. */
export interface Progress {
  readonly operation: string;
  readonly kind: OperationKind;
  readonly sha: string | null;
  readonly steps: readonly StepReport[];
  /** Name of the step that runs, null between steps. */
  readonly step: string | null;
  readonly since: string;
  readonly waiting: 'approval' | 'soak' | 'drain' | null;
  /** When the waiting ends by itself, RFC 3339. */
  readonly until: string | null;
}

/** Answer of the Query `status` of `environment`. */
export interface EnvironmentStatus {
  readonly environment: string;
  readonly operation: { readonly id: string; readonly kind: OperationKind; readonly sha: string | null } | null;
  readonly queue: readonly { readonly id: string; readonly kind: OperationKind; readonly sha: string | null }[];
  readonly last: OperationResult | null;
  /** Why a rollback without `--to` is refused now, null where it is not. */
  readonly rollbackRefused: string | null;
}

/** Answer of the Update `wait` and the Query `result`. */
export type OperationAnswer =
  | { readonly state: 'ended'; readonly result: OperationResult }
  | { readonly state: 'running' }
  | { readonly state: 'queued'; readonly position: number }
  | { readonly state: 'unknown' };

/** How long old connections to a color may take until its instances are touched. */
export interface DrainPlan {
  readonly target: Color;
  readonly drainMs: number;
  readonly httpKeepAliveMs: number;
  /** When traffic was switched away from `target`, RFC 3339; null where that never was. */
  readonly switchedAwayAt: string | null;
}

/** What servers were asked in one HAProxy worker since that began. */
export interface CountedTraffic extends TrafficCounters {
  readonly pid: number;
}

/** What pinRelease found and fixed for the whole deploy; the release goes to `target`. */
export interface ReleasePlan extends DrainPlan {
  readonly sha: string;
  readonly active: Release & { readonly color: Color };
  readonly standby: string | null;
  /** The sha is active and healthy with the same checksums and environment. */
  readonly isActiveAlready: boolean;
  readonly components: readonly PlannedComponent[];
  readonly needsApproval: boolean;
  readonly soak: { readonly forMs: number; readonly errorShare: number; readonly minRequests: number };
  /** What the active color was asked when the deploy began; null where that is not known. */
  readonly baseline: CountedTraffic | null;
  readonly warnings: readonly string[];
}

/** What planCleanup found on the inactive color, which is `target`. */
export interface CleanupPlan extends DrainPlan {
  readonly active: Release & { readonly color: Color };
  readonly standby: string | null;
  /** Whether there is a healthy standby that nobody asked to remove: then nothing is. */
  readonly isStandbyKept: boolean;
  readonly instances: readonly UnusedInstance[];
}

/** What planCleanup found where instances stand side by side: those that failed or are stopped. */
export interface SideBySideCleanupPlan {
  readonly topology: 'multi-instance';
  readonly target: null;
  readonly active: Release;
  readonly instances: readonly UnusedInstance[];
}

export interface UnusedInstance {
  /** The component's name. */
  readonly name: string;
  readonly instance: string;
  readonly address: InstanceAddress;
  readonly stopGraceMs: number;
  /** As in PlannedComponent. */
  readonly owner: string | null;
}

export interface PlannedComponent extends PinnedComponent {
  /** What bascule.yaml said of it when the operation began. */
  readonly configuration: ComponentConfiguration;
  readonly address: InstanceAddress;
  /** The owner in the instance's record: whoever claims it next has to name it. */
  readonly owner: string | null;
}

/**
 * The result that an operation's workflow failed with: it fails in Temporal where the operation did, and whoever waited for
 * it gets the same document. Null where the failure is another one.
 */
export function resultOfFailure(failure: unknown): OperationResult | null {
  for (let cause: unknown = failure; cause instanceof Error; cause = cause.cause) {
    const { details } = cause as { details?: readonly ({ readonly result?: OperationResult } | null | undefined)[] };
    const result = details?.[0]?.result;
    if (result?.schemaVersion === 1) return result;
  }
  return null;
}
