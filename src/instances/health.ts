import { setTimeout as delay } from 'node:timers/promises';
import { BasculeError } from '../errors.js';
import type { ProcessIdentity } from '../hosts/process-identity.js';
import { driverOf, readInstance } from './drivers.js';
import type { Instance } from './record.js';

/** While an instance starts it is asked more often than in its `health.interval`. */
const startIntervalMs = 200;

/** How many lines of the log and answers a failure shows. */
const shownLines = 20;
const shownAnswers = 5;

/**
 * Waits until the process that was started answers `rise` times in a row, and puts it on record.
 *
 * @throws `instance-listens-everywhere`, `instance-exited` as soon as that process is gone, `instance-unhealthy` after `deadlineMs`,
 * `instance-fenced` where another operation took the instance
 */
export async function waitHealthy(
  instance: Instance,
  wait: {
    owner: string;
    process: ProcessIdentity;
    path: string;
    /** As HAProxy's checks have it. */
    host: string;
    intervalMs: number;
    rise: number;
    deadlineMs: number;
    stopGraceMs: number;
    signal?: AbortSignal;
  },
): Promise<void> {
  const driver = driverOf(instance);
  const until = performance.now() + wait.deadlineMs;
  const answers: string[] = [];
  let healthyInARow = 0;
  while (healthyInARow < wait.rise) {
    const { isHealthy, detail } = await driver.checkHealth(instance, wait, wait.signal);
    wait.signal?.throwIfAborted();
    healthyInARow = isHealthy ? healthyInARow + 1 : 0;
    answers.push(detail);
    await requireRunning(instance, wait);
    await driver.requireOwnAddress(instance, wait);
    if (healthyInARow >= wait.rise) break;
    if (performance.now() >= until) throw await unhealthy(instance, wait, answers);
    await delay(Math.min(wait.intervalMs, startIntervalMs), undefined, {
      ...(wait.signal ? { signal: wait.signal } : {}),
    });
  }
  await driver.markHealthy(instance, wait.owner, wait.process);
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
    lines: await driverOf(instance).lastLogLines(instance, shownLines),
  });
}

async function unhealthy(
  instance: Instance,
  wait: { path: string; deadlineMs: number; process: ProcessIdentity },
  answers: readonly string[],
): Promise<BasculeError> {
  return new BasculeError('instance-unhealthy', {
    instance: instance.name,
    url: `http://${instance.address}:${instance.port}${wait.path}`,
    deadlineMs: wait.deadlineMs,
    answers: answers.slice(-shownAnswers),
    listensElsewhere: await driverOf(instance).listensElsewhere(instance, wait.process),
    lines: await driverOf(instance).lastLogLines(instance, shownLines),
  });
}
