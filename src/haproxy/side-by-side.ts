import { setTimeout as sleep } from 'node:timers/promises';
import { type Edge, masterSocket, runtimeSocket } from './edge.js';
import { readOldWorkers, readWorkers } from './old-workers.js';
import { commandServer, type HaproxySocket, readServers, type ServerPlace } from './runtime.js';
import { stateOf, type Wait, waitUntilAll } from './up.js';

/** Servers of one pool that stand side by side: one is drained and replaced while the others serve. */

const pollMs = 100;
const drain = ['set server % state drain', 'set server % weight 0'];
/** Longer than the first checks after a reload take, which HAProxy spreads over the interval. */
const firstCheckMs = 15_000;

/** What the drain of a server came to. */
export interface Drained {
  /** Requests and tunnels that it had at the deadline: they end with its program. */
  readonly left: number;
  /** No other server of its pool is up: nobody would be served while it waits. */
  readonly isAlone: boolean;
}

/**
 * The edge chooses a server for nobody any more, nor does a cookie lead to one of weight 0; what is under way goes on.
 * A reload has it chosen again.
 *
 * @returns the pid of the HAProxy worker that was told
 * @throws `server-not-on-edge`, `haproxy-command-refused`, `haproxy-unreachable`
 */
export const drainServer = (socket: HaproxySocket, place: ServerPlace): Promise<number> =>
  commandServer(socket, place, drain);

/** The edge chooses a server for everybody, as soon as its checks find it healthy. Throws as `drainServer`. */
export const admitServer = (socket: HaproxySocket, place: ServerPlace): Promise<number> =>
  commandServer(socket, place, ['set server % weight 100%', 'set server % state ready']);

/** Takes a drained server for down until its own checks find it up again. Throws as `drainServer`. */
export const markDrainedDown = (socket: HaproxySocket, place: ServerPlace): Promise<number> =>
  commandServer(socket, place, [...drain, 'set server % health down']);

/**
 * Drains a server by `drain`, in each HAProxy worker anew, and waits, at most until `untilMs` (of `performance.now()`),
 * until it has nothing under way: in the worker that serves, and in those that a reload has replaced. It cuts nothing: what
 * is left then is the program's to end.
 *
 * @throws as `drainServer`
 */
export async function waitUntilDrained(
  edge: Edge,
  place: ServerPlace,
  {
    untilMs,
    signal,
    drain,
  }: { readonly untilMs: number; readonly signal: AbortSignal; readonly drain: () => Promise<number> },
): Promise<Drained> {
  const socket = runtimeSocket(edge);
  let drainedIn = await drain();
  if (!(await isServedByOthers(socket, place, signal))) return { left: 0, isAlone: true };
  for (;;) {
    const { pid, servers } = await readServers(socket);
    if (pid === drainedIn) {
      const left = stateOf(servers, place).sessions + (await sessionsOfOldWorkers(masterSocket(edge), place));
      if (left === 0 || performance.now() >= untilMs) return { left, isAlone: false };
      await sleep(pollMs, undefined, { signal });
    } else {
      drainedIn = await drain();
    }
  }
}

/**
 * Waits until a drained server is healthy by checks of its own in one HAProxy worker. `markedDownIn` is the one in which
 * `markDown` marked it already. Throws `not-up-on-edge` after the deadline, and as `drainServer`.
 */
export async function waitUntilHealthy(
  socket: HaproxySocket,
  place: ServerPlace,
  wait: Wait & { readonly markedDownIn: number | null; readonly markDown: () => Promise<number> },
): Promise<void> {
  await waitUntilAll(socket, [place], { ...wait, isGood: ({ isHealthy }) => isHealthy });
}

/** Admits a server by `admit` and waits until it is UP. Throws `not-up-on-edge` after the deadline, and as `drainServer`. */
export async function waitUntilAdmitted(
  socket: HaproxySocket,
  place: ServerPlace,
  { admit, ...wait }: Wait & { readonly admit: () => Promise<number> },
): Promise<void> {
  await waitUntilAll(socket, [place], { ...wait, markedDownIn: null, isGood: ({ isUp }) => isUp, markDown: admit });
}

/** Whether another server of the pool is up by a check that passed; after a reload its first check is waited for. */
async function isServedByOthers(
  socket: HaproxySocket,
  { backend, server }: ServerPlace,
  signal: AbortSignal,
): Promise<boolean> {
  const until = performance.now() + firstCheckMs;
  for (;;) {
    const others = (await readServers(socket)).servers.filter((one) => one.backend === backend && one.name !== server);
    if (others.some(({ isUp }) => isUp)) return true;
    const areUnchecked = others.some(({ status }) => status.startsWith('UP'));
    if (!areUnchecked || performance.now() > until) return false;
    await sleep(pollMs, undefined, { signal });
  }
}

async function sessionsOfOldWorkers(socket: HaproxySocket, { backend, server }: ServerPlace): Promise<number> {
  // Most of the time there is none, and the master alone knows that.
  if (((await readWorkers(socket))?.old.length ?? 0) === 0) return 0;
  const workers = await readOldWorkers(socket);
  return workers.flatMap(({ sessions }) => sessions).filter((one) => one.backend === backend && one.server === server)
    .length;
}
