import { AsyncLocalStorage } from 'node:async_hooks';
import { readFileSync, renameSync } from 'node:fs';
import type { Host } from '../hosts/host.js';
import { hasSystemCode } from '../system-error.js';

/**
 * For tests alone: where a worker is to be killed or stopped. BASCULE_FAIL_POINT, which no configuration can set, names
 * a file, and while that file says `<activity>:<before|during|after>:<nth>:<kill|stop>`, the worker ends itself by
 * SIGKILL (or stops itself by SIGSTOP) there, in the nth execution of the activity since the file said so. The file is
 * renamed to `<file>.hit` before, so each point is hit once, by one worker, and a test can wait for it.
 *
 * - `before`: nothing of it has run.
 * - `during`: its first command on the host has begun, which goes on without the worker and without the rest of its
 *   input; or it has run for `duringAfterMs`, as one that waits; or it ends without either, as one that only reads.
 * - `after`: all of it has run, and Temporal knows nothing of that yet.
 */
const file = process.env.BASCULE_FAIL_POINT;

/** Also for tests alone, and only with a fail point: how long a lease stays its worker's; null for the usual time. */
export const testLeaseMs: number | null = file ? Number(process.env.BASCULE_LEASE_MS ?? 0) || null : null;

const duringAfterMs = 250;

const format = /^(\w+):(before|during|after):(\d+):(kill|stop)\s*$/;

type Moment = 'before' | 'during' | 'after';

interface Execution {
  readonly activity: string;
  readonly nth: number;
}

const executions = new AsyncLocalStorage<Execution>();
/** What the file said last, and how often the activity that it names has run since. */
let counted = { said: '', times: 0 };

/** Runs an activity's body, which a test may have this process killed or stopped in. */
export async function withFailPoint<T>(activity: string, body: () => Promise<T>): Promise<T> {
  if (!file) return await body();
  const execution = { activity, nth: countExecution(activity) };
  reach(execution, 'before');
  const waiting = setTimeout(() => reach(execution, 'during'), duringAfterMs);
  try {
    return await executions.run(execution, body);
  } finally {
    clearTimeout(waiting);
    reach(execution, 'during');
    reach(execution, 'after');
  }
}

/** A host as activities act on it: whatever it is, a test may have this process killed while a command runs there. */
export function withFailPoints(host: Host): Host {
  if (!file) return host;
  const run: Host['run'] = (argv, options) => {
    const execution = executions.getStore();
    return host.run(argv, {
      ...options,
      onStarted: () => {
        options.onStarted?.();
        if (execution) reach(execution, 'during');
      },
    });
  };
  return new Proxy(host, { get: (target, name) => (name === 'run' ? run : bound(target, name)) });
}

/** A method keeps its own host: what it calls there is no command of an activity. */
function bound(host: Host, name: string | symbol): unknown {
  const value: unknown = Reflect.get(host, name);
  return typeof value === 'function' ? value.bind(host) : value;
}

function countExecution(activity: string): number {
  const said = readPoint();
  if (said !== counted.said) counted = { said, times: 0 };
  if (said.startsWith(`${activity}:`)) counted.times += 1;
  return counted.times;
}

function reach({ activity, nth }: Execution, moment: Moment): void {
  const said = readPoint();
  if (!file || !said.startsWith(`${activity}:${moment}:${nth}:`)) return;
  try {
    renameSync(file, `${file}.hit`);
  } catch (error) {
    // Another worker is there before.
    if (hasSystemCode(error, 'ENOENT')) return;
    throw error;
  }
  process.kill(process.pid, said.trimEnd().endsWith(':stop') ? 'SIGSTOP' : 'SIGKILL');
}

/** Empty where no point is set. */
function readPoint(): string {
  let said: string;
  try {
    said = readFileSync(file ?? '', 'utf8');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return '';
    throw error;
  }
  if (!format.test(said)) throw new Error(`BASCULE_FAIL_POINT: ${file} says ${JSON.stringify(said)}, not ${format}`);
  return said;
}
