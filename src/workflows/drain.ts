import type { DrainPlan } from '../domain/operation.js';
import type { Operation } from './operation.js';
import { watches } from './proxies.js';

/**
 * Waits until no old HAProxy worker can send a visitor to the plan's color, which was stood down by the reload at
 * `standDownReloadedAt`; at the plan's deadline it ends the connections that are left.
 */
export async function drainColor(
  operation: Operation,
  plan: DrainPlan,
  standDownReloadedAt: string | null,
): Promise<void> {
  if (plan.switchedAwayAt === null) return operation.saga.skip('drain');
  const notBeforeMs = Date.parse(standDownReloadedAt ?? new Date().toISOString()) + plan.httpKeepAliveMs;
  const untilMs = Math.max(Date.parse(plan.switchedAwayAt) + plan.drainMs, notBeforeMs);
  const atMostMs = Math.max(untilMs - Date.now(), 0);
  await operation.whileWaiting('drain', atMostMs, () =>
    operation.saga.step(
      'drain',
      watches.drainColor,
      {
        environment: operation.environment,
        color: plan.target,
        until: new Date(untilMs).toISOString(),
        atMostMs,
      },
      describeShut,
    ),
  );
}

/** What the drain had to end at its deadline. */
function describeShut(shut: { ofThisColor: number; others: number; workers?: number }): string | null {
  const { ofThisColor, others, workers = 0 } = shut;
  if (ofThisColor + others + workers === 0) return null;
  const ended = workers === 0 ? '' : `, ended ${workers} old HAProxy ${workers === 1 ? 'worker' : 'workers'}`;
  return `shut ${ofThisColor} sessions of this color, ${others} others${ended}`;
}
