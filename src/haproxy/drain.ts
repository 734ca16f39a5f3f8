import { setTimeout as sleep } from 'node:timers/promises';
import type { Color } from '../domain/edge-state.js';
import { backendName, instanceName } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { type Edge, masterSocket } from './edge.js';
import { readApplied, readInstalled, readKept } from './installed.js';
import {
  blockingSessions,
  isBlocking,
  mayChoose,
  type OldWorker,
  readOldWorkers,
  readWorkers,
  type ServerName,
  shutSession,
} from './old-workers.js';

const pollMs = 200;

/**
 * Connections on which no request is under way can't be shut from outside: they end by `timeout http-keep-alive` or
 * `timeout http-request` once nothing is under way. After this long something is wrong.
 */
const lastConnectionsMs = 60_000;

/** How many sessions had to be shut at the deadline. */
export interface Shut {
  readonly ofThisColor: number;
  readonly others: number;
}

/**
 * Waits until no old HAProxy worker can send a visitor to a color: each in whose configuration that color may be chosen
 * has ended, or holds only established tunnels to other servers. From `until` on (RFC 3339), and after `atMostMs` in any
 * case, whatever else such a worker holds is shut: a clock that is set meanwhile makes it neither sooner nor later.
 *
 * @throws `drain-stuck` where connections stay although all was shut, `drain-too-late` where the installed configuration
 * may choose the color by now, `haproxy-unreachable`
 */
export async function drainOldWorkers(
  edge: Edge,
  drain: { environment: string; color: Color; until: string; atMostMs?: number; signal: AbortSignal },
): Promise<Shut> {
  const servers = await serversOf(edge, drain.environment, drain.color);
  const leftMs = Math.min(Date.parse(drain.until) - Date.now(), drain.atMostMs ?? Number.POSITIVE_INFINITY);
  const until = performance.now() + leftMs;
  const shut = { ofThisColor: 0, others: 0 };
  for (;;) {
    const installed = await readInstalled(edge);
    if (installed && mayChoose(installed.states, drain.environment, drain.color)) {
      throw new BasculeError('drain-too-late', { environment: drain.environment, color: drain.color });
    }
    const blocking = await blockingWorkers(edge, drain.environment, drain.color, servers);
    if (blocking.length === 0) return shut;
    if (performance.now() >= until) {
      for (const worker of blocking) await shutSessions(edge, worker, servers, shut);
    }
    if (performance.now() > until + lastConnectionsMs) {
      throw new BasculeError('drain-stuck', {
        environment: drain.environment,
        color: drain.color,
        workers: blocking.map(({ pid, sessions, idleConnections }) => ({
          pid,
          connections: sessions.length + idleConnections,
        })),
      });
    }
    await sleep(pollMs, undefined, { signal: drain.signal });
  }
}

async function blockingWorkers(
  edge: Edge,
  environment: string,
  color: Color,
  servers: readonly ServerName[],
): Promise<readonly OldWorker[]> {
  const master = masterSocket(edge);
  // Most of the time there is none, and the master alone knows that.
  if (((await readWorkers(master))?.old.length ?? 0) === 0) return [];
  const blocking: OldWorker[] = [];
  for (const worker of await readOldWorkers(master)) {
    const kept = await readKept(edge, worker.generation);
    if (mayChoose(kept?.states ?? null, environment, color) && isBlocking(worker, { servers })) blocking.push(worker);
  }
  return blocking;
}

async function shutSessions(
  edge: Edge,
  worker: OldWorker,
  servers: readonly ServerName[],
  shut: { ofThisColor: number; others: number },
): Promise<void> {
  for (const { id, backend, server } of blockingSessions(worker, { servers })) {
    await shutSession(masterSocket(edge), worker.pid, id);
    if (servers.includes(`${backend}/${server}`)) shut.ofThisColor += 1;
    else shut.others += 1;
  }
}

async function serversOf(edge: Edge, environment: string, color: Color): Promise<readonly ServerName[]> {
  const configuration = (await readApplied(edge))?.applied.configuration;
  const found = configuration?.environments.find(({ name }) => name === environment);
  if (!configuration || !found) return [];
  return configuration.components.map(
    ({ name, pool }): ServerName => `${backendName(environment, pool)}/${instanceName(found, name, color)}`,
  );
}
