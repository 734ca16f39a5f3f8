/** What the servers of one release answered in some span of time. */
export interface TrafficCounters {
  /** Requests that reached a server, whether it answered or not. */
  readonly requests: number;
  /** Of those: answers from 500 to 599, and requests that got no answer. */
  readonly errors: number;
  /** Attempts to connect that failed; they are not in `requests`. */
  readonly connectionErrors: number;
}

export interface TrafficSample extends TrafficCounters {
  /** Mean time until an answer began; null where it is not measured. */
  readonly latencyMs: number | null;
}

/** What a release may do to users, beyond what the release before it does. */
export interface TrafficLimits {
  readonly maxErrorShare: number;
  /** Null: latency is not judged. */
  readonly maxLatencyMs: number | null;
  /** No verdict on fewer requests than these, and no baseline either. */
  readonly minRequests: number;
}

/** What makes a release fail. Shares are from 0 to 1, latencies in milliseconds. */
export interface TrafficFault {
  readonly measure: 'errors' | 'connections' | 'latency';
  readonly found: number;
  readonly allowed: number;
  /** What the release before did; null where it was asked too little to say. */
  readonly baseline: number | null;
}

const nothing: TrafficCounters = { requests: 0, errors: 0, connectionErrors: 0 };

/** Adds up what several HAProxy workers have counted, since each begins at zero. */
export function addCounters(counters: readonly TrafficCounters[]): TrafficCounters {
  return counters.reduce(
    (sum, one) => ({
      requests: sum.requests + one.requests,
      errors: sum.errors + one.errors,
      connectionErrors: sum.connectionErrors + one.connectionErrors,
    }),
    nothing,
  );
}

/**
 * Judges a release beside the one before it, the baseline:
 *
 * - errors and failed connections: their share may be `maxErrorShare` above the share of the baseline
 * - latency: above `maxLatencyMs` only as far as the baseline is too
 *
 * @returns the first fault, null where there is none
 */
export function judgeTraffic(
  release: TrafficSample,
  baseline: TrafficSample,
  { maxErrorShare, maxLatencyMs, minRequests }: TrafficLimits,
): TrafficFault | null {
  const isMeasured = attempts(baseline) >= minRequests;
  const fault = (measure: TrafficFault['measure'], found: number, before: number | null, allowed: number) =>
    found > allowed ? { measure, found, allowed, baseline: before } : null;
  const judgeShare = (measure: 'errors' | 'connections', share: (of: TrafficCounters) => number) => {
    const before = isMeasured ? share(baseline) : null;
    return fault(measure, share(release), before, maxErrorShare + (before ?? 0));
  };
  if (attempts(release) < minRequests || attempts(release) === 0) return null;
  const before = isMeasured ? baseline.latencyMs : null;
  return (
    judgeShare('errors', ({ requests, errors }) => errors / Math.max(requests, 1)) ??
    judgeShare('connections', (of) => of.connectionErrors / Math.max(attempts(of), 1)) ??
    (maxLatencyMs === null || release.latencyMs === null
      ? null
      : fault('latency', release.latencyMs, before, Math.max(maxLatencyMs, before ?? 0)))
  );
}

const attempts = ({ requests, connectionErrors }: TrafficCounters): number => requests + connectionErrors;
