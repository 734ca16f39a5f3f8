import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { isUnanswered } from '../../src/client/connection.js';
import { readProgress } from '../../src/client/operations.js';
import { queryWorkflow } from '../../src/client/query.js';
import type { EnvironmentStatus, OperationResult, Progress } from '../../src/domain/operation.js';
import { type Project, startProject } from './project.js';
import { startVisitors, type Visitors } from './visitors.js';

/** Bound of every wait for a condition: generous, since other tests may keep the machine busy. */
export const generousMs = 60_000;

/** examples/local.yaml with waits so short that a deploy takes two seconds; what starts late on a busy machine has time. */
export function quick(yaml: string): string {
  return quickToStart(yaml)
    .replace('manage: true', 'httpKeepAlive: 1s\n  manage: true')
    .replace('hosts: [staging.localhost]', 'hosts: [staging.localhost], soak: 300ms, drain: 1s')
    .replace('hosts: [localhost, prod.localhost]', 'hosts: [localhost, prod.localhost], soak: 300ms, drain: 1s');
}

/** Only what is waited for until an instance is healthy, or is not. */
export const quickToStart = (yaml: string): string =>
  yaml
    .replaceAll('interval: 1s', 'interval: 300ms')
    .replaceAll('    run: ["node", "server.mjs"]', '    startDeadline: 12s\n    run: ["node", "server.mjs"]');

/** A quick project whose worker runs and whose edge is applied; staging and prod serve `first`. */
export async function startServingProject(
  first: string,
  configure: (yaml: string) => string = quick,
  env: Readonly<Record<string, string>> = {},
): Promise<Project> {
  const project = await startProject({ configure, env, failPoints: true });
  try {
    await serve(project, first);
    return project;
  } catch (error) {
    await project.stop();
    throw error;
  }
}

/** Starts a project's worker, has its edge applied (with what `apply` is told), and staging and prod serve `first`. */
export async function serve(project: Project, first: string, ...applied: readonly string[]): Promise<void> {
  await project.releaseAll(first);
  await project.startWorker();
  await mustSucceed(project, 'apply', ...applied);
  for (const environment of ['staging', 'prod']) await mustSucceed(project, 'deploy', environment, first);
}

export async function mustSucceed(project: Project, ...args: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await project.bascule(...args);
  if (exitCode !== 0) throw new Error(`bascule ${args.join(' ')} exited with ${exitCode}: ${stdout}\n${stderr}`);
}

/** A light load on both environments. */
export function startLightLoad(project: Project, maxSeconds = 600): Promise<Visitors> {
  return startVisitors({
    target: project.edge,
    maxSeconds,
    streams: [
      { host: 'localhost', path: '/', kind: 'keep-alive', perSecond: 10, environment: 'prod' },
      { host: 'localhost', path: '/api/v1/things', kind: 'cookie', perSecond: 10, environment: 'prod' },
      { host: 'prod.localhost', path: '/api/v1/things', kind: 'new', perSecond: 10, environment: 'prod' },
      { host: 'staging.localhost', path: '/', kind: 'keep-alive', perSecond: 5, environment: 'staging' },
    ],
  });
}

/** What Temporal's UI would do: describe workflows and signal them. */
export interface Temporal {
  readonly client: Client;
  signal(workflowId: string, name: string, ...args: readonly unknown[]): Promise<void>;
  /** Waits until a workflow with this id was started; answers when, in ms since the epoch. */
  started(workflowId: string): Promise<number>;
  status(environment: string): Promise<EnvironmentStatus>;
  /** What runs now and its steps; null where nothing runs. */
  progress(environment: string): Promise<Progress | null>;
  /** Waits until nothing runs in an environment and nothing waits. */
  idle(environment: string): Promise<EnvironmentStatus>;
  /** Waits for the result of an operation that was started or will be. */
  result(operation: string): Promise<OperationResult>;
  close(): Promise<void>;
}

export async function connectTemporal(project: Project): Promise<Temporal> {
  const connection = await Connection.connect({ address: project.temporal.address });
  const client = new Client({ connection });
  const started: Temporal['started'] = (workflowId) =>
    until(`${workflowId} is started`, async () => {
      try {
        return (await client.workflow.getHandle(workflowId).describe()).startTime.getTime();
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return null;
        throw error;
      }
    });
  const status: Temporal['status'] = (environment) =>
    queryWorkflow<EnvironmentStatus>(client, `demo/environment/${environment}`, 'status');
  return {
    client,
    status,
    async progress(environment) {
      const { operation } = await status(environment);
      if (!operation) return null;
      // It is accepted a moment before its workflow is there.
      return readProgress(client, operation.id);
    },
    idle: (environment) =>
      until(`nothing runs in ${environment}`, async () => {
        // A worker that was stopped, which Temporal has not missed yet, may have the question.
        const seen = await status(environment).catch((error) => {
          if (isUnanswered(error)) return null;
          throw error;
        });
        return seen?.operation === null && seen.queue.length === 0 ? seen : null;
      }),
    signal: (workflowId, name, ...args) => client.workflow.getHandle(workflowId).signal(name, ...args),
    started,
    async result(operation) {
      await started(operation);
      return (await client.workflow.getHandle(operation).result()) as OperationResult;
    },
    close: () => connection.close(),
  };
}

/** Starts another worker as soon as this one is killed; answers whether it was, and what was to be killed came to. */
export async function restartWhenKilled<T>(
  project: Project,
  where: string,
  running: Promise<T>,
): Promise<{ readonly isKilled: boolean; readonly ended: T }> {
  let hasEnded = false;
  const ending = running.finally(() => {
    hasEnded = true;
  });
  await until(`the worker is killed ${where}`, async () => hasEnded || !project.workerRuns());
  const isKilled = !project.workerRuns();
  if (isKilled) project.spawnWorker();
  return { isKilled, ended: await ending };
}

/** Asks again until the answer is neither null nor false, and answers it. */
export async function until<T>(what: string, ask: () => Promise<T | null | false>, withinMs = generousMs): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await ask();
    if (found !== null && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`after ${withinMs / 1_000} s it was still not so that ${what}`);
    await sleep(20);
  }
}

/** The random of one run, and the seed that gives the same again (CHAOS_SEED). */
export interface Chance {
  readonly seed: number;
  /** From 0 to below 1. */
  next(): number;
  shuffled<T>(values: readonly T[]): T[];
}

export function chance(): Chance {
  const seed = Number(process.env.CHAOS_SEED ?? randomInt(1, 1_000_000));
  // Mulberry32: small, and good enough for moments.
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    seed,
    next,
    shuffled(values) {
      return values
        .map((value) => ({ value, place: next() }))
        .sort((a, b) => a.place - b.place)
        .map(({ value }) => value);
    },
  };
}

/** One random moment in each of `count` equal parts of a duration, in random order: no part is left out. */
export function momentsOf(durationMs: number, count: number, { next, shuffled }: Chance): readonly number[] {
  return shuffled(Array.from({ length: count }, (_, index) => ((index + next()) / count) * durationMs));
}

/** Names of the steps that ran at a moment, and how long after it the next step ended; null where none did. */
export function stepsAt(
  { steps }: Pick<OperationResult, 'steps'>,
  at: number,
): { readonly running: readonly string[]; readonly nextEndMs: number | null } {
  const spans = steps.map(({ name, startedAt, durationMs }) => ({
    name,
    from: Date.parse(startedAt),
    to: Date.parse(startedAt) + (durationMs ?? 0),
  }));
  const ends = spans.map(({ to }) => to).filter((to) => to > at);
  return {
    running: spans.filter(({ from, to }) => from <= at && at < to).map(({ name }) => name),
    nextEndMs: ends.length === 0 ? null : Math.min(...ends) - at,
  };
}

/** A line of the run for whoever reads it; the test says what is right. */
export const say = (line: string): boolean => process.stdout.write(`     ${line}\n`);
