import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { BasculeError } from '../errors.js';
import type { ProcessIdentity } from '../hosts/process-identity.js';
import { lastLogLines } from './log.js';
import { markHealthy } from './process.js';
import { type Instance, readInstance } from './record.js';

/** How long one answer may take. */
const answerWithinMs = 5_000;

/** While an instance starts it is asked more often than in its `health.interval`. */
const startIntervalMs = 200;

/** How many lines of the log and answers a failure shows. */
const shownLines = 20;
const shownAnswers = 5;

/** Asks an instance for its health: 2xx and 3xx are healthy. `detail` is the status, or why there is none. Never throws. */
export async function checkHealth(
  { address, port }: { address: string; port: number },
  path: string,
  signal?: AbortSignal,
): Promise<{ readonly isHealthy: boolean; readonly detail: string }> {
  const timeout = AbortSignal.timeout(answerWithinMs);
  try {
    const { statusCode, body } = await request(`http://${address}:${port}${path}`, {
      reset: true,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    await body.dump();
    return { isHealthy: statusCode >= 200 && statusCode < 400, detail: String(statusCode) };
  } catch (error) {
    if (timeout.aborted) return { isHealthy: false, detail: `no answer within ${answerWithinMs / 1_000} s` };
    const { code, message } = error as NodeJS.ErrnoException;
    return { isHealthy: false, detail: code ?? message };
  }
}

/**
 * Waits until the process that was started answers `rise` times in a row, and puts it on record.
 *
 * @throws `instance-exited` as soon as that process is gone, `instance-unhealthy` after `deadlineMs`,
 * `instance-fenced` where another operation took the instance
 */
export async function waitHealthy(
  instance: Instance,
  wait: {
    owner: string;
    process: ProcessIdentity;
    path: string;
    intervalMs: number;
    rise: number;
    deadlineMs: number;
    signal?: AbortSignal;
  },
): Promise<void> {
  const until = performance.now() + wait.deadlineMs;
  const answers: string[] = [];
  let healthyInARow = 0;
  while (healthyInARow < wait.rise) {
    const { isHealthy, detail } = await checkHealth(instance, wait.path, wait.signal);
    wait.signal?.throwIfAborted();
    healthyInARow = isHealthy ? healthyInARow + 1 : 0;
    answers.push(detail);
    await requireRunning(instance, wait);
    if (healthyInARow >= wait.rise) break;
    if (performance.now() >= until) throw await unhealthy(instance, wait, answers);
    await delay(Math.min(wait.intervalMs, startIntervalMs), undefined, {
      ...(wait.signal ? { signal: wait.signal } : {}),
    });
  }
  await markHealthy(instance, wait.owner, wait.process);
}

async function requireRunning(
  instance: Instance,
  { owner, process: started }: { owner: string; process: ProcessIdentity },
): Promise<void> {
  const { owner: heldBy, process: found, isAlive } = await readInstance(instance);
  if (heldBy !== owner)
    throw new BasculeError('instance-fenced', { instance: instance.name, act: 'start', owner, heldBy });
  if (isAlive && found?.pid === started.pid && found.startTime === started.startTime) return;
  throw new BasculeError('instance-exited', {
    instance: instance.name,
    lines: await lastLogLines(instance, shownLines),
  });
}

async function unhealthy(
  instance: Instance,
  wait: { path: string; deadlineMs: number },
  answers: readonly string[],
): Promise<BasculeError> {
  return new BasculeError('instance-unhealthy', {
    instance: instance.name,
    url: `http://${instance.address}:${instance.port}${wait.path}`,
    deadlineMs: wait.deadlineMs,
    answers: answers.slice(-shownAnswers),
    lines: await lastLogLines(instance, shownLines),
  });
}
