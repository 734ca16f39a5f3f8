import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { BasculeError, isBasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { LocalHost } from '../hosts/local.js';

/** The configuration that a HAProxy worker runs, by its own word. */
export interface RunningConfiguration {
  readonly pid: number;
  /** 0 where it is no configuration of Bascule. */
  readonly generation: number;
  /** Empty where it is no configuration of Bascule. */
  readonly digest: string;
}

/** A server as one worker sees it; counters are those of that worker, and start at 0 with it. */
export interface ServerStatus {
  readonly backend: string;
  /** Its own name, without the backend's. */
  readonly name: string;
  /** `UP`, `DOWN`, `MAINT`, …; `UP 1/3` where the next failed check makes it DOWN, as in a server not checked yet. */
  readonly status: string;
  /** `L7OK`, `L4CON`, `L7STS`, …; empty where nothing was checked yet. */
  readonly checkStatus: string;
  /** UP by a check that passed: a server that was not checked yet counts as UP for HAProxy, not here. */
  readonly isUp: boolean;
  /** As `isUp`, also where it is drained. */
  readonly isHealthy: boolean;
  readonly isBackup: boolean;
  /** 0 for one that is never chosen. */
  readonly weight: number;
  /** What the last check said, for a person. */
  readonly lastCheck: string;
  /** Requests and tunnels that it has now. */
  readonly sessions: number;
  /** Answers that it gave. */
  readonly requests: number;
  /** Answers from 500 to 599 that it gave. */
  readonly responses5xx: number;
  /** Requests that it took and did not answer (visitors got a 502 or 504, or a retry). */
  readonly responseErrors: number;
  readonly connectionErrors: number;
  readonly downtimeSeconds: number;
}

/** A server's own name and its backend's. */
export interface ServerPlace {
  readonly backend: string;
  readonly server: string;
}

/** One of HAProxy's Unix sockets and the host that it is on; a path alone is one of this machine. */
export type HaproxySocket = string | { readonly host: Host; readonly path: string };

/** Longer than a busy HAProxy takes to answer, in milliseconds. */
const answerTimeoutMs = 2_000;
const reachTimeoutMs = 30_000;
/** Connections that have another end. */
const reached = new WeakSet<Duplex>();
/** A master refuses connections for about 100 ms while it re-executes itself; this is long enough for a busy machine. */
export const reloadMs = 1_000;
/** How long one is tried that may not run at all, where nobody has just reloaded it. */
const idleMs = 200;
const retryEveryMs = 20;

/** One of HAProxy's Unix sockets: the runtime API, or the master CLI. */
export class RuntimeApi {
  /** @param retryMs how long to try again where nothing answers, as in the middle of a reload */
  constructor(
    readonly socket: HaproxySocket,
    private readonly retryMs: number = reloadMs,
  ) {}

  /**
   * Sends one line over a connection of its own and answers all that HAProxy says. Commands joined by `;` are carried
   * out by the same worker; on the master CLI each needs its own `@!<pid>`.
   *
   * @throws `haproxy-unreachable`
   */
  async command(text: string): Promise<string> {
    return await retryUnreachable(this.retryMs, () => exchange(this.socket, text));
  }
}

const askRunning = 'show info;show env BASCULE_GENERATION;show env BASCULE_DIGEST';
/** -1 4 -1: all proxies, servers only, by any id. */
const askServers = 'show stat -1 4 -1 typed';

/**
 * What HAProxy serves now, all of it from one worker; null where nothing answers.
 *
 * @param retryMs how long to try again where nothing answers
 */
export async function readRunning(socket: HaproxySocket, retryMs = idleMs): Promise<RunningConfiguration | null> {
  try {
    return parseRunning(await new RuntimeApi(socket, retryMs).command(askRunning));
  } catch (error) {
    if (isBasculeError(error)) return null;
    throw error;
  }
}

/** What HAProxy serves now, and every server of it, all from one worker. */
export interface RunningServers extends RunningConfiguration {
  readonly servers: readonly ServerStatus[];
}

/**
 * Every server of the worker that serves now, and which worker that is.
 *
 * @throws `haproxy-unreachable`
 */
export async function readServers(socket: HaproxySocket, retryMs = reloadMs): Promise<RunningServers> {
  const answer = await new RuntimeApi(socket, retryMs).command(`${askRunning};${askServers}`);
  return { ...parseRunning(answer), servers: parseServers(answer) };
}

/** As `readServers`; null where nothing answers. */
export async function findServers(socket: HaproxySocket): Promise<RunningServers | null> {
  try {
    return await readServers(socket, idleMs);
  } catch (error) {
    if (isBasculeError(error)) return null;
    throw error;
  }
}

/** The random that makes a request a probe, as the running configuration has it; empty where it has none. */
export async function readProbe(socket: HaproxySocket): Promise<string> {
  const answer = await new RuntimeApi(socket).command('show env BASCULE_PROBE');
  return /^BASCULE_PROBE=(\S+)$/m.exec(answer)?.[1] ?? '';
}

/**
 * Takes servers for down until their own checks find them up again (`rise` of them): from then on UP means the instance
 * that answers now. Only where HAProxy may choose none of them: all of it is looked at and done in one worker, whose
 * servers keep their roles as long as it runs, so that whoever comes late takes nothing from visitors.
 *
 * @returns the worker's pid
 * @throws `server-in-use`, `server-not-on-edge`, `haproxy-command-refused`, `haproxy-unreachable`
 */
export async function markServersDown(socket: HaproxySocket, servers: readonly ServerPlace[]): Promise<number> {
  return await retryUnreachable(reloadMs, () =>
    inOneWorker(socket, async (ask) => {
      const { pid } = parseRunning(await ask('show info'));
      const seen = parseServers(await ask(askServers));
      for (const { backend, server } of servers) {
        const found = seen.find((one) => one.backend === backend && one.name === server);
        if (!found) throw new BasculeError('server-not-on-edge', { backend, server });
        if (!found.isBackup || found.weight > 0) throw new BasculeError('server-in-use', { backend, server });
      }
      for (const { backend, server } of servers) {
        await carryOut(socket, ask, `set server ${backend}/${server} health down`);
      }
      return pid;
    }),
  );
}

/**
 * Has the worker that serves carry out commands about a server, all of them in that one. `backend/server` takes the
 * place of `%`.
 *
 * @returns the worker's pid
 * @throws `server-not-on-edge`, `haproxy-command-refused`, `haproxy-unreachable`
 */
export async function commandServer(
  socket: HaproxySocket,
  { backend, server }: ServerPlace,
  commands: readonly string[],
): Promise<number> {
  return await retryUnreachable(reloadMs, () =>
    inOneWorker(socket, async (ask) => {
      const { pid } = parseRunning(await ask('show info'));
      const seen = parseServers(await ask(askServers));
      if (!seen.some((one) => one.backend === backend && one.name === server))
        throw new BasculeError('server-not-on-edge', { backend, server });
      for (const command of commands) await carryOut(socket, ask, command.replace('%', `${backend}/${server}`));
      return pid;
    }),
  );
}

/** Throws `haproxy-command-refused`, `haproxy-unreachable`. */
async function carryOut(
  socket: HaproxySocket,
  ask: (command: string) => Promise<string>,
  command: string,
): Promise<void> {
  const answer = (await ask(command)).trim();
  // A worker that a reload is replacing right now: the next one can be asked in a moment.
  if (answer === 'Proxy is disabled.') {
    throw unreachable(socket, 'its worker is being replaced');
  }
  if (answer !== '')
    throw new BasculeError('haproxy-command-refused', { socket: placeOf(socket).path, command, answer });
}

function parseRunning(answer: string): RunningConfiguration {
  return {
    pid: Number(/^Pid: (\d+)$/m.exec(answer)?.[1] ?? 0),
    generation: Number(/^BASCULE_GENERATION=(\d+)$/m.exec(answer)?.[1] ?? 0),
    digest: /^BASCULE_DIGEST=([0-9a-f]{64})$/m.exec(answer)?.[1] ?? '',
  };
}

/** Lines `S.<proxy>.<server>.<position>.<field>.<process>:<tags>:<type>:<value>` (management guide, "show stat typed"). */
function parseServers(answer: string): readonly ServerStatus[] {
  const rows = new Map<string, Map<string, string>>();
  for (const [, id = '', field = '', value = ''] of answer.matchAll(
    /^S\.(\d+\.\d+)\.\d+\.(\w+)\.\d+:\w+:\w+:(.*)$/gm,
  )) {
    const row = rows.get(id) ?? new Map<string, string>();
    rows.set(id, row.set(field, value));
  }
  return [...rows.values()].map(serverStatus);
}

function serverStatus(row: ReadonlyMap<string, string>): ServerStatus {
  const text = (field: string) => row.get(field) ?? '';
  const number = (field: string) => Number(row.get(field) ?? 0);
  const status = text('status');
  // A check that is under way shows as `* ` before the result of the last one.
  const checkStatus = text('check_status').replace(/^\* /, '');
  const isPassed = /^L[467]OK$/.test(checkStatus);
  return {
    backend: text('pxname'),
    name: text('svname'),
    status,
    checkStatus,
    isUp: /^UP\b/.test(status) && isPassed,
    isHealthy: /^(?:UP|DRAIN)\b/.test(status) && isPassed,
    isBackup: number('bck') > 0,
    weight: number('weight'),
    lastCheck: [checkStatus, text('check_code'), text('last_chk')].filter((part) => part !== '').join(' '),
    sessions: number('scur'),
    requests: ['hrsp_1xx', 'hrsp_2xx', 'hrsp_3xx', 'hrsp_4xx', 'hrsp_5xx', 'hrsp_other']
      .map(number)
      .reduce((sum, count) => sum + count, 0),
    responses5xx: number('hrsp_5xx'),
    responseErrors: number('eresp'),
    connectionErrors: number('econ'),
    downtimeSeconds: number('downtime'),
  };
}

async function retryUnreachable<T>(forMs: number, run: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + forMs;
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!isBasculeError(error) || error.code !== 'haproxy-unreachable' || performance.now() >= deadline) throw error;
      await pause(retryEveryMs);
    }
  }
}

/** Commands over one connection, so that one worker carries out all of them, each after the answer to the one before. */
async function inOneWorker<T>(
  socket: HaproxySocket,
  converse: (ask: (command: string) => Promise<string>) => Promise<T>,
): Promise<T> {
  const prompt = '\n> ';
  const connection = open(socket);
  const chunks: AsyncIterator<string> = connection[Symbol.asyncIterator]();
  const ask = async (command: string) => {
    const endWaiting = limitWaiting(connection);
    connection.write(`${command}\n`);
    let answer = '';
    while (!answer.endsWith(prompt)) {
      const { value, done } = await chunks.next().catch((error: Error) => {
        throw unreachable(socket, error.message, error);
      });
      if (done) throw unreachable(socket, 'it closed the connection');
      answer += value;
    }
    endWaiting();
    return answer.slice(0, -prompt.length);
  };
  try {
    await ask('prompt');
    return await converse(ask);
  } finally {
    connection.destroy();
  }
}

/** HAProxy ends the connection after its answer; the master CLI does so only once our side is closed. */
async function exchange(socket: HaproxySocket, text: string): Promise<string> {
  const connection = open(socket);
  const endWaiting = limitWaiting(connection);
  let answer = '';
  try {
    connection.end(`${text}\n`);
    for await (const chunk of connection) answer += chunk;
  } catch (error) {
    throw unreachable(socket, error instanceof Error ? error.message : String(error), error);
  } finally {
    endWaiting();
  }
  // A worker that is being replaced lets go of a connection without a word.
  if (answer === '') throw unreachable(socket, 'it closed the connection without an answer');
  return answer;
}

const open = (socket: HaproxySocket): Duplex => {
  const { host, path } = placeOf(socket);
  const connection = host.connect({ path }).setEncoding('utf8');
  return connection.once('ready', () => reached.add(connection));
};

/**
 * Breaks a connection off that says nothing for too long; what is answered ends the waiting. How long it takes to get to
 * HAProxy's host, as through a busy Incus, says nothing about HAProxy.
 */
function limitWaiting(connection: Duplex): () => void {
  const limit = (ms: number) => setTimeout(() => connection.destroy(new Error(`no answer within ${ms / 1_000} s`)), ms);
  let timer = limit(reached.has(connection) ? answerTimeoutMs : reachTimeoutMs);
  const whenReached = (): void => {
    clearTimeout(timer);
    timer = limit(answerTimeoutMs);
  };
  connection.once('ready', whenReached);
  return () => {
    clearTimeout(timer);
    connection.off('ready', whenReached);
  };
}

const placeOf = (socket: HaproxySocket): { readonly host: Host; readonly path: string } =>
  typeof socket === 'string' ? { host: new LocalHost(), path: socket } : socket;

/** The error of a socket on which nobody answers as HAProxy does. */
export const unreachable = (socket: HaproxySocket, reason: string, cause?: unknown): BasculeError =>
  new BasculeError('haproxy-unreachable', { socket: placeOf(socket).path, reason }, { cause });
