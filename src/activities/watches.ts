import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { Color } from '../domain/edge-state.js';
import type { CountedTraffic, PlannedComponent, ReleasePlan } from '../domain/operation.js';
import { addCounters, judgeTraffic, type TrafficCounters } from '../domain/traffic-judge.js';
import { BasculeError } from '../errors.js';
import { drainOldWorkers, type Shut } from '../haproxy/drain.js';
import { type Edge, runtimeSocket } from '../haproxy/edge.js';
import { findServers, readServers, type ServerStatus } from '../haproxy/runtime.js';
import { stateOf, waitUntilUp } from '../haproxy/up.js';
import { readInstance } from '../instances/drivers.js';
import { instanceOf } from '../instances/places.js';
import { asActivities } from './as-activities.js';
import { poolServer, poolServers } from './pools.js';
import { loadProject, type Project, type WorkerContext } from './project.js';

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

    /**
     * Waits until every server of the new color is UP on the edge by checks of the new instance, all in one worker.
     * Answers what the other color was asked there so far.
     *
     * @throws `instance-restarted` where one has ended by itself since its start
     */
    async waitUntilUpOnEdge(wait: {
      environment: string;
      plan: ReleasePlan;
      markedDownIn: readonly MarkedDown[];
      owner: string;
    }): Promise<CountedTraffic | null> {
      const project = await loadProject(context);
      const { edge } = project;
      const servers = poolServers(wait.environment, wait.plan);
      const pids = new Set(wait.markedDownIn.map((one) => one.pid));
      await waitUntilUp(runtimeSocket(edge), servers, {
        environment: wait.environment,
        markedDownIn: pids.size === 1 ? ([...pids][0] ?? null) : null,
        deadlineMs: Math.max(...wait.plan.components.map((one) => one.configuration.startDeadlineMs)),
        signal: Context.current().cancellationSignal,
      });
      const [ended] = await endedByThemselves(project, wait);
      if (ended) throw new BasculeError('instance-restarted', ended);
      return await countActive(edge, wait.environment, wait.plan);
    },

    /**
     * Watches the new color until `until`: its health, whether what runs there ends by itself, and its share of errors
     * beside that of the release before.
     */
    async watchSoak(soak: {
      environment: string;
      plan: ReleasePlan;
      until: string;
      owner: string;
      baseline: readonly CountedTraffic[];
    }): Promise<void> {
      const project = await loadProject(context);
      const { edge } = project;
      const { cancellationSignal: signal } = Context.current();
      const servers = poolServers(soak.environment, soak.plan);
      const until = performance.now() + Math.min(Date.parse(soak.until) - Date.now(), soak.plan.soak.forMs);
      // Counters begin at zero in each HAProxy worker: the last ones of each are added up.
      const counters = new Map<number, TrafficCounters>();
      const baseline = addCounters([...new Map(soak.baseline.map((one) => [one.pid, one])).values()]);
      for (;;) {
        const seen = await readServers(runtimeSocket(edge));
        const mine = servers.map((one) => stateOf(seen.servers, one));
        const isLast = performance.now() >= until;
        // One that ended a moment ago is started again: only at the end there is no time left to see that.
        const [ended] = (await endedByThemselves(project, soak)).filter(({ restarts }) => restarts > 0 || isLast);
        if (ended) throw new BasculeError('unhealthy-in-soak', { ...ended, status: describeEnd(ended) });
        // After that: to the edge one that was started again is down as well, which does not say why.
        for (const server of mine) {
          if (server.status.startsWith('DOWN')) throw unhealthyInSoak(soak, server);
        }
        counters.set(seen.pid, countersOf(mine));
        refuseErrors(soak, addCounters([...counters.values()]), baseline);
        if (isLast) return;
        await sleep(Math.min(soakPollMs, Math.max(until - performance.now(), 1)), undefined, { signal });
      }
    },
  });
}

/** What the servers of the active color have been asked in the HAProxy worker that serves; null where it does not answer. */
export async function countActive(
  edge: Edge,
  environment: string,
  plan: Pick<ReleasePlan, 'components'>,
): Promise<CountedTraffic | null> {
  const seen = await findServers(runtimeSocket(edge));
  if (seen === null) return null;
  const inactive = plan.components.map((component) => poolServer(environment, component));
  const isActive = ({ backend, name }: ServerStatus): boolean =>
    inactive.some((one) => one.backend === backend) && !inactive.some(({ server }) => server === name);
  return { pid: seen.pid, ...countersOf(seen.servers.filter(isActive)) };
}

/** What the edge answers itself, where a server broke off, is an error to the user as well. */
function countersOf(servers: readonly ServerStatus[]): TrafficCounters {
  return addCounters(
    servers.map(({ requests, responses5xx, responseErrors, connectionErrors }) => ({
      requests: requests + responseErrors,
      errors: responses5xx + responseErrors,
      connectionErrors,
    })),
  );
}

function refuseErrors(
  { environment, plan }: { environment: string; plan: ReleasePlan },
  counters: TrafficCounters,
  baseline: TrafficCounters,
): void {
  const { errorShare: maxErrorShare, minRequests } = plan.soak;
  const limits = { maxErrorShare, minRequests, maxLatencyMs: null };
  const fault = judgeTraffic({ ...counters, latencyMs: null }, { ...baseline, latencyMs: null }, limits);
  if (fault === null) return;
  const { measure, allowed, baseline: before } = fault;
  throw new BasculeError('errors-in-soak', {
    ...{ environment, color: plan.target, ...counters },
    ...{ measure, allowed, allowedShare: maxErrorShare, baseline: before },
  });
}

/** Where a release went; `target` is null in a rolling deploy. */
interface ReleasedTo {
  readonly target: Color | null;
  readonly components: readonly PlannedComponent[];
}

/** Instances of the release whose program ended since its start; a restart of the machine does not count. */
export async function endedByThemselves(
  project: Project,
  { environment, plan, owner }: { environment: string; plan: ReleasedTo; owner: string },
) {
  const found = await Promise.all(
    plan.components.map(async (component) => {
      const instance = instanceOf(project, environment, plan, component);
      const { owner: heldBy, restarts, isAlive } = await readInstance(instance);
      const { name, color } = instance;
      const ended = { environment, instance: name, component: component.name, color, restarts };
      return heldBy === owner && (restarts > 0 || !isAlive) ? [ended] : [];
    }),
  );
  return found.flat();
}

const describeEnd = ({ restarts }: { restarts: number }): string =>
  restarts === 0 ? 'it ended by itself' : `it ended by itself and was started again (${restarts} ×)`;

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
