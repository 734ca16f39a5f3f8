import type { Drift } from './edge-change.js';
import type { Color, HistoryLine } from './edge-state.js';
import type { Examination } from './examination.js';
import type { CertificatesStatus } from './issuance.js';
import type { OperationKind } from './names.js';
import type { Progress } from './operation.js';
import type { ReleaseLine } from './rolling.js';

/** What `status`, `history`, `logs` and `doctor` ask the worker for. */
export type InspectRequest =
  | { readonly what: 'ping' }
  | { readonly what: 'status' }
  | { readonly what: 'doctor' }
  | { readonly what: 'certificates' }
  | { readonly what: 'logs'; readonly logs: LogsRequest };

export interface InspectAnswers {
  ping: { readonly version: string };
  status: Status;
  doctor: Examination;
  certificates: CertificatesStatus;
  logs: Logs;
}

export interface LogsRequest {
  readonly environment: string;
  readonly component: string;
  /** The active color where it is not given. */
  readonly color?: Color;
  /** Of several side by side; the first one where it is not given. */
  readonly instance?: string;
  readonly tail?: number;
  readonly sinceMs?: number;
  /** The `offset` of an earlier answer: waits up to 10 s for more. */
  readonly after?: number;
}

export interface Logs {
  readonly instance: string;
  readonly lines: readonly string[];
  /** Up to where the log was read: bytes of a file, or a time where it is a journal (µs since the epoch). */
  readonly offset: number;
}

/** Others build on this shape (`schemaVersion: 1`): fields are added, never renamed. */
export interface Status {
  readonly schemaVersion: 1;
  readonly project: string;
  readonly version: string;
  /** What is wrong with the worker's bascule.yaml, null where nothing is: what it read last stays in force. */
  readonly configurationProblem: string | null;
  /** Whether the worker's bascule.yaml differs from the configuration in force. */
  readonly isConfigurationApplied: boolean;
  readonly edge: EdgeStatus;
  /** In multi-instance one, `default`, of instances side by side. */
  readonly environments: readonly (EnvironmentView | SideBySideView)[];
}

export interface EdgeStatus {
  readonly name: string;
  readonly host: string;
  readonly generation: number | null;
  readonly digest: string | null;
  readonly running: boolean;
  readonly drift: readonly Drift[];
  readonly needsOperator: string | null;
  readonly oldWorkers: number;
  /** When `hard-stop-after` has ended the last of them, at the latest; null where there is none, or nothing ends one. */
  readonly oldWorkersEndBy: string | null;
}

export type ColorState = 'empty' | 'starting' | 'running' | 'standby' | 'failed' | 'stopped';

export interface EnvironmentView {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly active: Color;
  readonly sha: string | null;
  readonly since: string | null;
  readonly blocked: { readonly code: string; readonly remedy: string } | null;
  readonly waiting: Progress['waiting'];
  readonly until: string | null;
  /** Where a rollback without `--to` goes, null where it goes nowhere. */
  readonly rollback: { readonly to: string; readonly fast: boolean; readonly until: string | null } | null;
  /** Why a rollback without `--to` is refused now, null where it is not. */
  readonly rollbackRefused: string | null;
  readonly colors: Readonly<Record<Color, ColorView>>;
  readonly instances: readonly never[];
  readonly operation: {
    readonly id: string;
    readonly kind: OperationKind;
    readonly sha: string | null;
    readonly step: string | null;
    readonly since: string | null;
  } | null;
  readonly queue: readonly { readonly id: string; readonly kind: OperationKind; readonly sha: string | null }[];
  readonly history: readonly HistoryLine[];
}

/** Instances side by side: all of them serve, and none has a color. */
export interface SideBySideView
  extends Omit<EnvironmentView, 'name' | 'hosts' | 'active' | 'colors' | 'instances' | 'history'> {
  readonly name: 'default';
  /** None: every host leads to it. */
  readonly hosts: readonly never[];
  readonly active: null;
  readonly colors: null;
  readonly instances: readonly InstanceView[];
  readonly history: readonly (ReleaseLine & { readonly color: null })[];
}

/** A server of a pool: one of a component's instances. */
export interface InstanceView extends Omit<ComponentView, 'state'> {
  /** The release that it holds, null where it holds none. */
  readonly sha: string | null;
  /** Null where Bascule does not run it, and only leads visitors to it. */
  readonly state: ColorState | null;
}

export interface ColorView {
  readonly sha: string | null;
  readonly state: ColorState;
  readonly components: readonly ComponentView[];
}

export interface ComponentView {
  readonly name: string;
  readonly instance: string;
  /** `address:port`. */
  readonly address: string;
  readonly state: ColorState;
  /** As the edge sees it, such as `UP L7OK`; null where the edge does not know it. */
  readonly health: string | null;
  readonly restarts: number;
  /**
   * Whether its `env` has other values by now than those it was started with; null where that can't be told: it does not
   * run, or a secret is missing.
   */
  readonly environmentChanged: boolean | null;
  /** What keeps the instance from being looked at, null where nothing does. */
  readonly problem: { readonly message: string; readonly remedy: string } | null;
}

/** Whether a rollback to a release is a mere switch: all instances of its color hold it and are UP on the edge. */
export function isFastRollback(
  active: Color,
  views: Readonly<Record<Color, ColorView>>,
  to: { readonly color: Color; readonly sha: string | null },
): boolean {
  const view = views[to.color];
  return (
    to.color !== active &&
    to.sha !== null &&
    view.sha === to.sha &&
    view.components.every(({ health }) => health?.startsWith('UP L'))
  );
}
