import { randomInt } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import { isUnanswered } from '../../src/client/connection.js';
import { readProgress } from '../../src/client/operations.js';
import { queryWorkflow } from '../../src/client/query.js';
import type { EnvironmentStatus, OperationResult, Progress } from '../../src/domain/operation.js';
import { resultOfFailure } from '../../src/domain/operation.js';
import { processesOf } from '../../src/hosts/processes.js';
import { killAllOf, type Project, startProject } from './project.js';
import { isWhole, scaled } from './tier.js';
import { startVisitors, type Visitors } from './visitors.js';

/** Bound of every wait for a condition: generous, since other tests may keep the machine busy. */
export const generousMs = scaled(60_000);

/** examples/local.yaml with waits so short that a deploy takes two seconds; what starts late on a busy machine has time. */
export function quick(yaml: string): string {
  return quickToStart(yaml)
    .replace('manage: true', 'httpKeepAlive: 1s\n  manage: true')
    .replace('hosts: [staging.localhost]', 'hosts: [staging.localhost], soak: 300ms, drain: 1s')
    .replace('hosts: [localhost, prod.localhost]', 'hosts: [localhost, prod.localhost], soak: 300ms, drain: 1s');
}

/** `quick` with the default keep-alive: a client that stands still for a second on a busy machine keeps its connections. */
export const quickUnderLoad = (yaml: string): string => quick(yaml).replace('httpKeepAlive: 1s', 'httpKeepAlive: 5s');

/** Only what is waited for until an instance is healthy, or is not. */
export const quickToStart = (yaml: string): string =>
  yaml
    .replaceAll('interval: 1s', 'interval: 300ms')
    .replaceAll('    run: ["node", "server.mjs"]', '    startDeadline: 12s\n    run: ["node", "server.mjs"]');

/** A quick project whose worker runs and whose edge is applied; staging and prod serve `first`. */
export async function startServingProject(
  first: string,
  configure: (yaml: string) => string = quickUnderLoad,
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
      try {
        return (await client.workflow.getHandle(operation).result()) as OperationResult;
      } catch (error) {
        const failed = resultOfFailure(error);
        if (failed) return failed;
        throw error;
      }
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

/** SIGKILL of HAProxy, the instances, the worker and Temporal at once, as a power cut has it. */
export async function killEverything(project: Project): Promise<void> {
  await Promise.all([project.killWorker(), project.temporal.kill(), killAllOf(project.directory)]);
  // What the worker started in its last moment has to go too.
  await until('nothing runs any more', async () => {
    await killAllOf(project.directory);
    return (await processesOf(project.directory)).length === 0;
  });
}

/** examples/local.yaml with these environments instead of its own, each with one component and the host `<name>.localhost`. */
export function withEnvironments(yaml: string, names: readonly string[]): string {
  const lines = names.map(
    (name) => `  ${name}: { prefix: ${name}-, hosts: [${name}.localhost], soak: 300ms, drain: 1s }`,
  );
  return yaml
    .replace(/^environments:\n(?: .*\n)+/m, `environments:\n${lines.join('\n')}\n`)
    .replace(/^ {2}api:\n(?: {4}.*\n)+/m, '');
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

/** Random values, and the seed that gives the same ones again. */
export interface Chance {
  readonly seed: number;
  /** From 0 to below 1. */
  next(): number;
  shuffled<T>(values: readonly T[]): T[];
}

/** Random in `make test-all`, where CHAOS_SEED repeats a run; the same values each time in `make test`. */
export function chance(): Chance {
  const seed = Number(process.env.CHAOS_SEED ?? (isWhole ? randomInt(1, 1_000_000) : 1));
  // Mulberry32.
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const shuffled: Chance['shuffled'] = (values) => {
    const drawn = values.map((value) => ({ value, place: next() }));
    return drawn.sort((a, b) => a.place - b.place).map(({ value }) => value);
  };
  return { seed, next, shuffled };
}

/** A section of docs/reliability.md: what a chaos test did and found. */
export interface Section {
  readonly title: string;
  /** A sentence or two above the table. */
  readonly about: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly operations: number;
  readonly faults: number;
  readonly violations: number;
}

/**
 * Writes `<CHAOS_RESULTS>/<name>.json`, of which `script/chaos` makes the tables; nothing where that is not set.
 * The parts of a section are named `<section>.<part>`: their rows make one table.
 */
export function reportCells(name: string, section: Section): void {
  const folder = process.env.CHAOS_RESULTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(section, null, 2));
}

/** Prints a line beside the report of the run. */
export const say = (line: string): boolean => process.stdout.write(`     ${line}\n`);
