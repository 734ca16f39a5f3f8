import { setTimeout as sleep } from 'node:timers/promises';
import type { Color } from '../domain/edge-state.js';
import { backendName, instanceName } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { type Edge, masterSocket } from './edge.js';
import { readApplied, readInstalled, readKept } from './installed.js';
import {
  blockingSessions,
  endOldWorker,
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
 * `timeout http-request` once nothing is under way. What is there after this long is ended with its worker.
 */
const lastConnectionsMs = 15_000;

/**
 * The same where such a worker also holds WebSockets to others, which are cut with it: longer than `timeout client`, by
 * which HAProxy itself ends what a visitor does not read.
 */
const besideTunnelsMs = 75_000;

/** How long a tunnel may take to end that was shut. One of which a side has closed does not: HAProxy ignores it. */
const tunnelEndMs = 1_000;

/** How long a worker takes to be gone that was ended. */
const workerEndMs = 10_000;

/** How many sessions had to be shut at the deadline. */
export interface Shut {
  readonly ofThisColor: number;
  readonly others: number;
  /** Old workers that were ended as a whole, since some of their connections could not be shut; left out where none was. */
  readonly workers?: number;
}

/**
 * Waits until no old HAProxy worker can send a visitor to a color: each in whose configuration that color may be chosen
 * has ended, or holds only established tunnels to other servers. From `until` on (RFC 3339), and after `atMostMs` in any
 * case, whatever else such a worker holds is shut: a clock that is set meanwhile makes it neither sooner nor later.
 * What HAProxy does not shut holds nobody up: a tunnel leads to no other server and ends with its instance, and of
 * anything else the worker itself is ended.
 *
 * @throws `drain-stuck` where an old worker stays although it was ended, `drain-too-late` where the installed
 * configuration may choose the color by now, `haproxy-unreachable`
 */
export async function drainOldWorkers(
  edge: Edge,
  drain: {
    environment: string;
    color: Color;
    until: string;
    atMostMs?: number;
    signal: AbortSignal;
    /** How long the last connections may take; `lastConnectionsMs` where it is not given. */
    lastMs?: number;
  },
): Promise<Shut> {
  const servers = await serversOf(edge, drain.environment, drain.color);
  const leftMs = Math.min(Date.parse(drain.until) - Date.now(), drain.atMostMs ?? Number.POSITIVE_INFINITY);
  const until = performance.now() + leftMs;
  const shutting = new Shutting(edge, servers);
  for (;;) {
    const installed = await readInstalled(edge);
    if (installed && mayChoose(installed.states, drain.environment, drain.color)) {
      throw new BasculeError('drain-too-late', { environment: drain.environment, color: drain.color });
    }
    const overMs = performance.now() - until;
    const blocking = await blockingWorkers(edge, drain, overMs > tunnelEndMs ? [] : servers);
    if (blocking.length === 0) return shutting.result();
    if (overMs >= 0) for (const worker of blocking) await shutting.shutSessions(worker);
    for (const worker of blocking) {
      const lastMs = worker.sessions.some(({ isTunnel }) => isTunnel)
        ? besideTunnelsMs
        : (drain.lastMs ?? lastConnectionsMs);
      if (overMs > lastMs) await shutting.end(worker);
      if (overMs > lastMs + workerEndMs) throw stuck(drain, blocking);
    }
    await sleep(pollMs, undefined, { signal: drain.signal });
  }
}

/** What one drain ends, each of it counted once. */
class Shutting {
  private readonly sessions = new Map<string, boolean>();
  private readonly workers = new Set<number>();

  constructor(
    private readonly edge: Edge,
    private readonly servers: readonly ServerName[],
  ) {}

  async shutSessions(worker: OldWorker): Promise<void> {
    const { servers } = this;
    for (const { id, backend, server } of blockingSessions(worker, { servers })) {
      await shutSession(masterSocket(this.edge), worker.pid, id);
      this.sessions.set(`${worker.pid} ${id}`, servers.includes(`${backend}/${server}`));
    }
  }

  async end({ pid }: OldWorker): Promise<void> {
    await endOldWorker(masterSocket(this.edge), pid);
    this.workers.add(pid);
  }

  result(): Shut {
    const ofThisColor = [...this.sessions.values()].filter((isOfThisColor) => isOfThisColor).length;
    const others = this.sessions.size - ofThisColor;
    return { ofThisColor, others, ...(this.workers.size > 0 && { workers: this.workers.size }) };
  }
}

function stuck(
  { environment, color }: { environment: string; color: Color },
  blocking: readonly OldWorker[],
): BasculeError {
  const workers = blocking.map(({ pid, sessions, idleConnections }) => ({
    pid,
    connections: sessions.length + idleConnections,
  }));
  return new BasculeError('drain-stuck', { environment, color, workers });
}

/** Those that may still lead a visitor to the color, or hold a tunnel to one of these servers. */
async function blockingWorkers(
  edge: Edge,
  { environment, color }: { environment: string; color: Color },
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

async function serversOf(edge: Edge, environment: string, color: Color): Promise<readonly ServerName[]> {
  const configuration = (await readApplied(edge))?.applied.configuration;
  const found = configuration?.environments.find(({ name }) => name === environment);
  if (!configuration || !found) return [];
  return configuration.components.map(
    ({ name, pool }): ServerName => `${backendName(environment, pool)}/${instanceName(found, name, color)}`,
  );
}
