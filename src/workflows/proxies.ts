import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';

/**
 * Timeouts and retries of every activity; docs/timeouts.md gives the reason for each row.
 * Every activity heartbeats once a second, so a killed worker is noticed after `heartbeatTimeout`, whatever the
 * activity's own time limit is. What is retryable is decided where errors become ApplicationFailures, not here.
 */
const heartbeatTimeout = '5s';
/** A cancelled step has stopped before anything is taken back; by default a workflow would not wait for that. */
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;
const retry = { initialInterval: '200ms', backoffCoefficient: 2, maximumInterval: '5s', maximumAttempts: 10 } as const;
/** What every group has in common. */
const common = { heartbeatTimeout, cancellationType, retry } as const;

/** The steps of an edge change: short, idempotent, fenced. */
export const edge = proxyActivities<Activities['edge']>({
  startToCloseTimeout: '40s',
  ...common,
});

/** Reading and deciding: no effect outside. To pin an artifact without a checksum file all of it is read. */
export const plans = proxyActivities<Activities['plans']>({
  startToCloseTimeout: '25h',
  ...common,
});

/** Asks the edge for a change and waits for its end, however many changes come before it. */
export const edgeRequests = proxyActivities<Activities['edgeRequests']>({
  startToCloseTimeout: '1h',
  ...common,
  retry: { ...retry, maximumAttempts: 100 },
});

/** Waits that their inputs bound: the drain, the soak. */
export const watches = proxyActivities<Activities['watches']>({
  startToCloseTimeout: '25h',
  ...common,
});

/** Acts on instances: download, unpack, migrate, start. Their inputs bound them. */
export const instances = proxyActivities<Activities['instances']>({
  startToCloseTimeout: '25h',
  ...common,
});

/** A rolling deploy's acts on one instance, with its drain: their inputs bound them. */
export const rolling = proxyActivities<Activities['rolling']>({
  startToCloseTimeout: '25h',
  ...common,
});

/** A failover test: each waits for half a minute or for `startDeadline`. */
export const failover = proxyActivities<Activities['failover']>({
  startToCloseTimeout: '25h',
  ...common,
});

/** Steps of a provisioning: an image is fetched, packages are. */
export const provision = proxyActivities<Activities['provision']>({
  startToCloseTimeout: '30m',
  ...common,
});

/** Planning and waiting for certificates. */
export const certificates = proxyActivities<Activities['certificates']>({
  startToCloseTimeout: '25h',
  ...common,
});

/**
 * What is asked of a certificate authority, for as long as the caller is patient. It says itself when it wants to be asked
 * again (Retry-After); else the waits double, up to five minutes.
 */
export const authority = (patienceMs: number) =>
  proxyActivities<Activities['authority']>({
    startToCloseTimeout: '3m',
    scheduleToCloseTimeout: patienceMs,
    heartbeatTimeout,
    cancellationType,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '5m' },
  });

/** Asked by a person who waits for the answer; `doctor` looks twice where it finds something. */
export const inspection = proxyActivities<Activities['inspection']>({
  startToCloseTimeout: '60s',
  ...common,
  retry: { ...retry, maximumAttempts: 3 },
});

/** Asked from inside an Update, whose caller waits for the answer. */
const fromAnUpdate = { startToCloseTimeout: '5s', retry: { ...retry, maximumAttempts: 3 } } as const;

/**
 * No local activities: two that run at the same time resolve together for the worker that takes over, and one after the
 * other for the one before, whose history it then can't follow.
 */
export const environments = proxyActivities<Activities['environments']>({ ...common, ...fromAnUpdate });

/** What histories from before hold. */
export const environmentsBefore = proxyLocalActivities<Activities['environments']>(fromAnUpdate);
