import type { BasculeError } from '../errors.js';
import type { ProcessIdentity } from '../hosts/process-identity.js';
import type { Claim, InstanceRelease, Program } from './claims.js';
import type { LogPart } from './log.js';
import type { Instance, InstanceRecord, InstanceStatus } from './record.js';

/** How an operation ends what runs: `stopGraceMs` is how long it has. */
export interface Ending extends Claim {
  readonly stopGraceMs: number;
  readonly signal?: AbortSignal;
}

/** Which lines of a log: the last ones, those of the last `sinceMs`, or those behind the offset of an earlier answer. */
export interface LogWish {
  readonly tail?: number;
  readonly sinceMs?: number;
  readonly after?: number;
}

export interface HealthRequest {
  readonly path: string;
  /** The header Host. */
  readonly host: string;
}

/** What an answer to a question for its health was. */
export interface HealthAnswer {
  readonly isHealthy: boolean;
  /** The status, or why there is none. */
  readonly detail: string;
}

/**
 * How the instances of a project are run. Each act names the operation that it is done for, and is refused with
 * `instance-fenced` where another one has the instance, with `instance-active` where visitors are given its color; one that
 * was done already does nothing.
 */
export interface InstanceDriver {
  /** What is on record of an instance, nothing of one of Incus that does not run; it is asked for once a second. */
  readRecord(instance: Instance): Promise<InstanceRecord>;
  /** The same, and whether it runs. */
  readInstance(instance: Instance): Promise<InstanceStatus>;

  /** Takes an instance that serves, which goes on running; multi-instance, as the two behind it. */
  reserveInstance(instance: Instance, claim: Claim): Promise<InstanceRecord>;
  /** The same for a take-back, from whichever of `claims` is in force. */
  retakeInstance(instance: Instance, claim: Claim & { readonly claims: readonly string[] }): Promise<InstanceRecord>;
  /** Lets the edge lead visitors to it again. */
  admitInstance(instance: Instance, owner: string): Promise<void>;

  /** Takes an instance, which is made where there is none, and ends what runs in it. */
  recreateInstance(instance: Instance, ending: Ending): Promise<InstanceRecord>;
  /** Takes an instance that serves and ends its program by SIGKILL. */
  killInstance(instance: Instance, claim: Claim): Promise<void>;

  /** Unpacks an artifact as the release that the instance holds. */
  prepareRelease(
    instance: Instance,
    release: InstanceRelease & {
      readonly artifact: string;
      readonly maxBytes?: number;
      readonly signal?: AbortSignal;
      /** Where the artifact is brought there: bytes so far, and of how many. */
      readonly onProgress?: (bytes: number, size: number) => void;
    },
  ): Promise<void>;
  /** Removes all releases but the last `kept`. */
  pruneReleases(instance: Instance, prune: { owner: string; kept: number }): Promise<void>;
  /** Runs the migration of the release that it holds, to its end. */
  migrateRelease(
    instance: Instance,
    migration: InstanceRelease & Program & { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<void>;
  /** Starts the release that it holds, and answers its process. */
  startInstance(
    instance: Instance,
    start: InstanceRelease & Program & { readonly stopGraceMs: number },
  ): Promise<ProcessIdentity>;
  /** Puts on record that this process was healthy. */
  markHealthy(instance: Instance, owner: string, healthy: ProcessIdentity): Promise<void>;

  /** Keeps what a failed operation left for a look; false where another one has it. */
  markFailed(instance: Instance, claim: Claim): Promise<boolean>;
  /** As `markFailed`, and leaves it as it is. */
  disownInstance(instance: Instance, claim: Claim): Promise<boolean>;
  /** Ends what runs in it, and removes it with all that it holds. */
  removeInstance(instance: Instance, ending: Ending): Promise<void>;

  /** Asks an instance for its health as HAProxy does: 2xx and 3xx are healthy. */
  checkHealth(instance: Instance, ask: HealthRequest, signal?: AbortSignal): Promise<HealthAnswer>;
  /** Ends what took its port on every address, also those of others. Throws `instance-listens-everywhere`. */
  requireOwnAddress(
    instance: Instance,
    of: {
      readonly owner: string;
      readonly process: ProcessIdentity;
      readonly stopGraceMs: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<void>;
  /** Where its program listens, if that is not where it is to. */
  listensElsewhere(instance: Instance, started: ProcessIdentity): Promise<readonly string[]>;
  /** What is not as it should be with an instance. */
  examineInstance(instance: Instance): Promise<readonly BasculeError[]>;

  readLog(instance: Instance, wish: LogWish): Promise<LogPart>;
  /** The last lines that the release on record wrote. */
  lastLogLines(instance: Instance, count: number): Promise<readonly string[]>;
  /** Runs a program as the component's own one runs, with this process's streams; answers its exit code. */
  runInRelease(
    instance: Instance,
    release: { readonly sha: string; readonly sha256: string; readonly env: Readonly<Record<string, string>> },
    argv: readonly [string, ...string[]],
  ): Promise<number>;
}
