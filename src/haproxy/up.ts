import { setTimeout as sleep } from 'node:timers/promises';
import { BasculeError } from '../errors.js';
import { type HaproxySocket, markServersDown, readServers, type ServerPlace, type ServerStatus } from './runtime.js';

const pollMs = 200;

/**
 * Waits until servers are UP by checks of their own in one HAProxy worker. `markedDownIn` is the worker in which they
 * were marked down already, where there is one: another one has started them UP, unchecked, and they are marked there.
 * `deadlineMs` counts from when a worker began to check them: where others reload the edge meanwhile, that is not theirs.
 *
 * @throws `not-up-on-edge` after the deadline, `server-not-on-edge`, `server-in-use`, `haproxy-unreachable`
 */
export async function waitUntilUp(
  socket: HaproxySocket,
  servers: readonly ServerPlace[],
  wait: Wait & { readonly markedDownIn: number | null },
): Promise<void> {
  await waitUntilAll(socket, servers, {
    ...wait,
    isGood: ({ isUp }) => isUp,
    markDown: () => markServersDown(socket, servers),
  });
}

export interface Wait {
  readonly environment: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** As `waitUntilUp`, by another measure, and with another way of marking servers as down. */
export async function waitUntilAll(
  socket: HaproxySocket,
  servers: readonly ServerPlace[],
  wait: Wait & {
    readonly markedDownIn: number | null;
    readonly isGood: (server: ServerStatus) => boolean;
    /** Answers the pid of the worker in which they are marked. */
    readonly markDown: () => Promise<number>;
  },
): Promise<void> {
  let pid = wait.markedDownIn;
  let until = performance.now() + wait.deadlineMs;
  for (;;) {
    const seen = await readServers(socket);
    if (seen.pid !== pid) {
      // After a reload servers are UP without a check: the release before must not pass for the new one.
      pid = await wait.markDown();
      until = performance.now() + wait.deadlineMs;
    } else {
      const notUp = servers.map((one) => stateOf(seen.servers, one)).filter((one) => !wait.isGood(one));
      if (notUp.length === 0) return;
      if (performance.now() > until) {
        throw new BasculeError('not-up-on-edge', {
          environment: wait.environment,
          seconds: wait.deadlineMs / 1000,
          servers: notUp.map((one) => `${one.backend}/${one.name}: ${one.status} ${one.lastCheck}`),
        });
      }
    }
    await sleep(pollMs, undefined, { signal: wait.signal });
  }
}

/** Throws `server-not-on-edge`. */
export function stateOf(servers: readonly ServerStatus[], { backend, server }: ServerPlace): ServerStatus {
  const found = servers.find((one) => one.backend === backend && one.name === server);
  if (!found) throw new BasculeError('server-not-on-edge', { backend, server });
  return found;
}
