import type { Color, EnvironmentState } from '../domain/edge-state.js';
import { isBasculeError } from '../errors.js';
import { type HaproxySocket, RuntimeApi, reloadMs, unreachable } from './runtime.js';

export interface Worker {
  readonly pid: number;
  /** Reloads since it was started: 0 for the one that serves. */
  readonly reloads: number;
  /** As HAProxy says it, such as `0d00h03m10s`. */
  readonly uptime: string;
}

export interface Workers {
  /** Pid of the master, the process that is sent SIGHUP. */
  readonly master: number;
  /** Of the program that the master runs, such as `2.8.25-5cf5d0683`: not the one on disk, nor that of older workers. */
  readonly version: string;
  readonly reloads: number;
  /** Reloads since the last good one that failed: while it is not 0, an earlier configuration serves. */
  readonly failedReloads: number;
  /** The worker that serves; null for the moment in which the master starts one. */
  readonly current: Worker | null;
  /** Workers that a reload replaced and that still have connections. */
  readonly old: readonly Worker[];
}

/**
 * A worker that a reload has replaced. It takes no new connection, runs no health check and can't be reconfigured, but
 * it answers the next request of every connection it still has, by its own, earlier configuration.
 *
 * What HAProxy 2.6.12 shows of such a worker:
 * - `show sess all` has one entry for each request under way: a running download is `req.st=MSG_DONE rsp.st=MSG_DATA`, a
 *   request that waits for its answer `rsp.st=MSG_RPBEFORE`, an established WebSocket `MSG_TUNNEL` on both sides. The
 *   CLI's own has `proto=sockpair` and `frontend=GLOBAL`.
 * - An idle kept connection, one on which nothing was sent yet, and one with half a request in it are **not** in it;
 *   `CurrConns` of `show info` counts them (and does not count the CLI's). They can't be shut from outside. Where
 *   `idle-close-on-response` is set a reload does not close them either: they end by `timeout http-keep-alive` and
 *   `timeout http-request`, and the first request that comes on one until then is answered by the earlier configuration.
 * - A download whose headers went out before the reload leaves such an idle connection behind when it ends.
 * - `shutdown session` does nothing to a tunnel of which one side has closed, in 2.8 for good: there neither
 *   `timeout server-fin` ends it. Nor does it end a download that its visitor does not read.
 */
export interface OldWorker {
  readonly pid: number;
  /** Generation of its configuration, 0 where that is none of Bascule's. */
  readonly generation: number;
  /** Requests and tunnels under way. */
  readonly sessions: readonly OldSession[];
  /** Visitors' connections without a request under way, each of which may still send one. */
  readonly idleConnections: number;
}

export interface OldSession {
  /** As `shutdown session` takes it. */
  readonly id: string;
  readonly frontend: string;
  /** Null where none was chosen yet; likewise `server`. */
  readonly backend: string | null;
  readonly server: string | null;
  /** An established tunnel (WebSocket, CONNECT): it stays with its server, and no further request comes over it. */
  readonly isTunnel: boolean;
}

/** A server's place: `<backend>/<server>`. */
export type ServerName = `${string}/${string}`;

/**
 * The processes of a HAProxy in master-worker mode (management guide, "show proc"); null where no master answers.
 *
 * A master that answers here takes the next SIGHUP. One that is sent earlier, while the master still ends the reload
 * before (whose worker answers already), is lost: 20 of 40 on HAProxy 2.6.12.
 *
 * @param retryMs how long to try again where nothing answers
 */
export async function readWorkers(masterSocket: HaproxySocket, retryMs = reloadMs): Promise<Workers | null> {
  try {
    return parseWorkers(await new RuntimeApi(masterSocket, retryMs).command('show proc'));
  } catch (error) {
    if (isBasculeError(error)) return null;
    throw error;
  }
}

/**
 * The old workers that are still there.
 *
 * @throws `haproxy-unreachable`
 */
export async function readOldWorkers(masterSocket: HaproxySocket): Promise<readonly OldWorker[]> {
  const answered = await readWorkers(masterSocket);
  if (answered === null) throw unreachable(masterSocket, 'no master answers');
  const workers = await Promise.all(answered.old.map(({ pid }) => readOldWorker(masterSocket, pid)));
  return workers.filter((worker) => worker !== null);
}

/**
 * Ends a session of an old worker. One that has ended already is done.
 *
 * @throws `haproxy-unreachable`
 */
export async function shutSession(masterSocket: HaproxySocket, pid: number, sessionId: string): Promise<void> {
  await new RuntimeApi(masterSocket).command(`@!${pid} shutdown session ${sessionId}`);
}

/**
 * Ends an old worker with all of its connections. The master asks that one alone, and tells an old worker's end from one
 * of the worker that serves: nobody else is touched. One that has ended already is done.
 *
 * @throws `haproxy-unreachable`
 */
export async function endOldWorker(masterSocket: HaproxySocket, pid: number): Promise<void> {
  await new RuntimeApi(masterSocket).command(`expert-mode on;@!${pid} debug dev exit 0`).catch((error: unknown) => {
    // It ends before it answers.
    if (!isBasculeError(error)) throw error;
  });
}

/** Sessions of an old worker that may still lead a request to one of these servers, or are on one of them. */
export function blockingSessions(
  worker: OldWorker,
  { servers }: { readonly servers: readonly ServerName[] },
): readonly OldSession[] {
  return worker.sessions.filter(
    ({ isTunnel, backend, server }) => !isTunnel || servers.some((name) => name === `${backend}/${server}`),
  );
}

/**
 * Whether an old worker that is still there may lead a request to one of these servers: unless it holds nothing but
 * established tunnels to others. (One that holds nothing at all is about to end.)
 */
export function isBlocking(worker: OldWorker, color: { readonly servers: readonly ServerName[] }): boolean {
  return worker.sessions.length === 0 || worker.idleConnections > 0 || blockingSessions(worker, color).length > 0;
}

/**
 * Whether a configuration may choose servers of a color.
 *
 * @param states those of its header, null where it is not known any more
 */
export function mayChoose(states: readonly EnvironmentState[] | null, environment: string, color: Color): boolean {
  if (states === null) return true;
  const state = states.find(({ name }) => name === environment);
  return state !== undefined && (state.standby !== null || state.color === color);
}

function parseWorkers(answer: string): Workers {
  const master = /^(\d+)\s+master\s+(\d+)(?: \[failed: (\d+)\])?/m.exec(answer);
  const [current = '', old = ''] = answer.split(/^# old workers$/m);
  return {
    master: Number(master?.[1] ?? 0),
    version: /^\d+\s+master\s.*?(\S+)\s*$/m.exec(answer)?.[1] ?? '',
    reloads: Number(master?.[2] ?? 0),
    failedReloads: Number(master?.[3] ?? 0),
    current: workerLines(current)[0] ?? null,
    old: workerLines(old),
  };
}

function workerLines(text: string): readonly Worker[] {
  return [...text.matchAll(/^(\d+)\s+worker\s+(\d+)\s+(\S+)/gm)].map(([, pid, reloads, uptime = '']) => ({
    pid: Number(pid),
    reloads: Number(reloads),
    uptime,
  }));
}

/** Null where it has ended meanwhile. */
async function readOldWorker(masterSocket: HaproxySocket, pid: number): Promise<OldWorker | null> {
  // In this order: what becomes idle in between is counted twice, and nothing is missed.
  const commands = ['show env BASCULE_GENERATION', 'show info', 'show sess all'];
  const answer = await new RuntimeApi(masterSocket).command(commands.map((command) => `@!${pid} ${command}`).join(';'));
  const connections = /^CurrConns: (\d+)$/m.exec(answer)?.[1];
  if (connections === undefined) return null;
  const sessions = parseSessions(answer);
  const busyConnections = new Set(sessions.map(({ source }) => source)).size;
  return {
    pid,
    generation: Number(/^BASCULE_GENERATION=(\d+)$/m.exec(answer)?.[1] ?? 0),
    sessions: sessions.map(({ session }) => session),
    idleConnections: Math.max(0, Number(connections) - busyConnections),
  };
}

/** An entry begins with the session's address at the start of a line; its other lines are indented. */
function parseSessions(answer: string): readonly { readonly source: string; readonly session: OldSession }[] {
  return [...answer.matchAll(/^(0x[0-9a-f]+): \[.*\n(?: .*\n)*/gm)]
    .map(([entry, id = '']) => {
      const field = (name: string) => new RegExp(`\\b${name}=(\\S+)`).exec(entry)?.[1] ?? '';
      const chosen = (name: string) => (field(name).startsWith('<') || field(name) === '' ? null : field(name));
      return {
        // All requests of one HTTP/2 connection have the same source.
        source: field('source'),
        session: {
          id,
          frontend: field('frontend'),
          backend: chosen('backend'),
          server: chosen('server'),
          isTunnel: field('req\\.st') === 'MSG_TUNNEL' && field('rsp\\.st') === 'MSG_TUNNEL',
        },
      };
    })
    .filter(({ session }) => session.frontend !== 'GLOBAL');
}
