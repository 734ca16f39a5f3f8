import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { Color } from '../domain/edge-state.js';
import type { ReleasePlan } from '../domain/operation.js';
import { BasculeError } from '../errors.js';
import { drainOldWorkers, type Shut } from '../haproxy/drain.js';
import { runtimeSocket } from '../haproxy/edge.js';
import { readServers, type ServerStatus } from '../haproxy/runtime.js';
import { stateOf, waitUntilUp } from '../haproxy/up.js';
import { asActivities } from './as-activities.js';
import { poolServers } from './pools.js';
import { loadProject, type WorkerContext } from './project.js';

const soakPollMs = 1_000;

/** The HAProxy worker in which servers were marked down: another one has started them UP, unchecked. */
export interface MarkedDown {
  readonly pid: number | null;
}

/** Waits: each ends by itself, and goes on where it was when the worker is started again. */
export function watchActivities(context: WorkerContext) {
  return asActivities({
    /** Waits until no old HAProxy worker can send a visitor to this color; at `until` it shuts what is left. */
    async drainColor(drain: { environment: string; color: Color; until: string; atMostMs?: number }): Promise<Shut> {
      const { edge } = await loadProject(context);
      const { cancellationSignal } = Context.current();
      return drainOldWorkers(edge, { ...drain, signal: cancellationSignal });
    },

    /** Waits until every server of the new color is UP on the edge by checks of the new instance, all in one worker. */
    async waitUntilUpOnEdge(wait: {
      environment: string;
      plan: ReleasePlan;
      markedDownIn: readonly MarkedDown[];
    }): Promise<void> {
      const { edge } = await loadProject(context);
      const servers = poolServers(wait.environment, wait.plan);
      const pids = new Set(wait.markedDownIn.map((one) => one.pid));
      await waitUntilUp(runtimeSocket(edge), servers, {
        environment: wait.environment,
        markedDownIn: pids.size === 1 ? ([...pids][0] ?? null) : null,
        deadlineMs: Math.max(...wait.plan.components.map((one) => one.configuration.startDeadlineMs)),
        signal: Context.current().cancellationSignal,
      });
    },

    /** Watches the new color's health and its share of 5xx answers until `until`. */
    async watchSoak(soak: { environment: string; plan: ReleasePlan; until: string }): Promise<void> {
      const { edge } = await loadProject(context);
      const { cancellationSignal: signal } = Context.current();
      const servers = poolServers(soak.environment, soak.plan);
      const until = performance.now() + Math.min(Date.parse(soak.until) - Date.now(), soak.plan.soak.forMs);
      // Counters begin at zero in each HAProxy worker: the last ones of each are added up.
      const counters = new Map<number, { requests: number; errors: number }>();
      for (;;) {
        const seen = await readServers(runtimeSocket(edge));
        const mine = servers.map((one) => stateOf(seen.servers, one));
        for (const server of mine) {
          if (server.status.startsWith('DOWN')) throw unhealthyInSoak(soak, server);
        }
        counters.set(seen.pid, {
          requests: mine.reduce((sum, one) => sum + one.requests + one.responseErrors, 0),
          // What the edge answers itself, where the server broke off, is an error to the visitor as well.
          errors: mine.reduce((sum, one) => sum + one.responses5xx + one.responseErrors, 0),
        });
        refuseErrors(soak.environment, soak.plan, [...counters.values()]);
        if (performance.now() >= until) return;
        await sleep(Math.min(soakPollMs, Math.max(until - performance.now(), 1)), undefined, { signal });
      }
    },
  });
}

function refuseErrors(
  environment: string,
  { soak, target: color }: ReleasePlan,
  counters: readonly { requests: number; errors: number }[],
): void {
  const requests = counters.reduce((sum, one) => sum + one.requests, 0);
  const errors = counters.reduce((sum, one) => sum + one.errors, 0);
  if (requests < soak.minRequests || errors / Math.max(requests, 1) <= soak.errorShare) return;
  throw new BasculeError('errors-in-soak', { environment, color, requests, errors, allowedShare: soak.errorShare });
}

function unhealthyInSoak(
  { environment, plan }: { environment: string; plan: ReleasePlan },
  server: ServerStatus,
): BasculeError {
  const component = plan.components.find(({ instance }) => instance === server.name)?.configuration.name ?? 'COMPONENT';
  const status = `${server.status} ${server.lastCheck}`;
  return new BasculeError('unhealthy-in-soak', {
    ...{ environment, component, color: plan.target, instance: server.name, status },
  });
}
