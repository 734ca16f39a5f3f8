import type { BindAddress, ComponentConfiguration, InstanceAddress } from './configuration.js';
import type { Color } from './edge-state.js';

/** How many requests have to be answered before an instance is stopped, and how many while it is down. */
export const failoverVisits = 5;

/** How long the edge may take to notice that an instance is gone. */
export const failoverDownMs = 30_000;

export interface FailoverTestRequest {
  readonly component: string;
  /** Of several side by side; the first one where it is not given. */
  readonly instance?: string;
  /** Also where visitors are those of production. */
  readonly yes?: boolean;
  readonly requestId?: string;
  readonly by?: string;
  readonly why?: string;
}

/** What planFailoverTest found: which instance is stopped, and who answers meanwhile. */
export interface FailoverPlan {
  readonly active: { readonly color: Color | null; readonly sha: string | null };
  readonly component: ComponentConfiguration;
  readonly instance: string;
  readonly address: InstanceAddress;
  /** Color of the instance, null where instances stand side by side. */
  readonly target: Color | null;
  /** The owner in the instance's record. */
  readonly owner: string | null;
  readonly release: { readonly sha: string; readonly sha256: string };
  readonly backend: string;
  /** Servers that answer while it is down. */
  readonly others: readonly string[];
  readonly expectedDownMs: number;
  readonly visit: { readonly bind: BindAddress; readonly host: string; readonly path: string };
}

/** One request of the test, by which server it was answered and how. */
export interface FailoverVisit {
  /** RFC 3339. */
  readonly at: string;
  readonly ms: number;
  readonly status: number;
  /** `<backend>/<server>`, null where no server answered. */
  readonly server: string | null;
}

/** What the test saw, as far as it came. Others build on this shape: fields are added, never renamed. */
export interface FailoverReport {
  readonly component: string;
  readonly instance: string;
  readonly others: readonly string[];
  /** `fall` × `interval` of its health check. */
  readonly expectedDownMs: number;
  readonly before: readonly FailoverVisit[];
  /** When it was ended by SIGKILL, RFC 3339. */
  readonly stoppedAt: string | null;
  /** Until the edge had it DOWN. */
  readonly downAfterMs: number | null;
  readonly meanwhile: readonly FailoverVisit[];
  readonly startedAt: string | null;
  /** Until the edge had it UP again. */
  readonly upAfterMs: number | null;
}

/** Whether a visitor was served, as a health check counts it. */
export const isServed = ({ status, server }: FailoverVisit): boolean =>
  server !== null && status >= 200 && status < 400;
