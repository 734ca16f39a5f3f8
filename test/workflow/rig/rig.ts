import { Context } from '@temporalio/activity';
import { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { inject } from 'vitest';
import type { EdgeChange } from '../../../src/domain/edge-change.js';
import { taskQueue } from '../../../src/domain/names.js';
import { resultOfFailure } from '../../../src/domain/operation.js';
import { activitiesAtOnce } from '../../../src/domain/timeouts.js';
import { withoutNotifications } from '../../rig/temporal.js';
import { EdgeWorld } from './edge-world.js';
import { project, World } from './world.js';

const searchAttributes = ['BasculeEnvironment', 'BasculeKind', 'BasculeSha', 'BasculeOutcome'];
/** temporal.api.enums.v1.IndexedValueType */
const keyword = 2;

/** A Temporal server, a worker with the real workflows, and worlds for their activities. */
export interface Rig {
  /** Waits in real time: only `skip` and `resultOf` let the server's time run ahead. */
  readonly client: Client;
  /** A new environment and edge, which no other test knows. */
  newWorld(): World;
  /** Two environments on one edge, which no other test knows. */
  newNeighbors(): readonly [World, World];
  /** Starts a workflow as a person could. */
  start(type: string, workflowId: string, args: unknown[]): Promise<unknown>;
  /**
   * Lets time pass, in no time where no activity runs. Where one runs, `resultOf` has to be waiting too, and the
   * activity must not end before this does: the server counts who holds its time, and fails where the count is off.
   */
  skip(ms: number): Promise<void>;
  /**
   * Waits for a workflow's result; meanwhile time runs ahead where no activity runs. For one at a time: a server of which
   * several ask for that may never answer anybody again.
   */
  resultOf<T>(workflowId: string): Promise<T>;
  /** The same in real time, and for as many at once as there are. */
  resultInRealTime<T>(workflowId: string): Promise<T>;
  /** The server's time. */
  now(): Promise<number>;
  /** `RUNNING`, `COMPLETED` and so on. */
  statusOf(workflowId: string): Promise<string>;
  /** Id of the newest run. */
  runOf(workflowId: string): Promise<string>;
  /** Kinds of the events in a workflow's history. */
  eventsOf(workflowId: string): Promise<readonly string[]>;
  /** A workflow's history in the form that a replay takes; that of its newest run unless one is named. */
  historyOf(workflowId: string, runId?: string): Promise<string>;
  /** Does something while no worker runs, and starts another one. */
  withoutWorker(act: () => Promise<unknown>): Promise<void>;
  /** All who ask for it meanwhile are served by one restart. */
  restartWorker(): Promise<void>;
  stop(): Promise<void>;
}

/** Settings of the worker. */
export type RigOptions = Pick<WorkerOptions, 'maxHeartbeatThrottleInterval' | 'shutdownGraceTime'>;

// Without the SDK's warnings: of what the time-skipping server lacks, and of activities that were cancelled on purpose.
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, console: {} } },
});

/** On the time-skipping server. */
export async function startRig(): Promise<Rig> {
  const env = await TestWorkflowEnvironment.createTimeSkipping({
    server: { executable: { type: 'existing-path', path: inject('temporalServers').timeSkipping } },
  });
  await env.connection.operatorService.addSearchAttributes({
    namespace: 'default',
    searchAttributes: Object.fromEntries(searchAttributes.map((name) => [name, keyword])),
  });
  return rigOf(env);
}

/** On the dev server, which has the limits of a real one. Its time is the real one. */
export const startRigWithLimits = (options: RigOptions = {}): Promise<Rig> => startOnDevServer([], options);

/** The same, and it suggests continue-as-new after so many events. */
export const startRigThatContinuesAsNew = (suggestAfterEvents: number): Promise<Rig> =>
  startOnDevServer([`limit.historyCount.suggestContinueAsNew=${suggestAfterEvents}`]);

async function startOnDevServer(settings: readonly string[], options: RigOptions = {}): Promise<Rig> {
  const rates = ['history.transferProcessorMaxPollRPS=2000', 'history.transferProcessorMaxPollHostRPS=4000'];
  const env = await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: inject('temporalServers').dev },
      log: { format: 'pretty', level: 'error' },
      extraArgs: [
        ...searchAttributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
        ...[...rates, ...settings].flatMap((setting) => ['--dynamic-config-value', setting]),
      ],
    },
  });
  return rigOf(env, options);
}

async function rigOf(env: TestWorkflowEnvironment, options: RigOptions = {}): Promise<Rig> {
  const client = new Client({ connection: env.connection });
  const worlds = new Map<string, World>();
  const activities = dispatching(new World('any', client), worlds);
  const startWorker = async () => {
    const worker = await Worker.create({
      sinks: withoutNotifications,
      connection: env.nativeConnection,
      taskQueue: taskQueue(project),
      identity: 'test',
      workflowBundle: { codePath: inject('workflowBundle') },
      activities,
      maxConcurrentActivityTaskExecutions: activitiesAtOnce,
      maxHeartbeatThrottleInterval: '50ms',
      shutdownGraceTime: '200ms',
      // What a worker that ended had in its cache is given to the next one after this time, by default 10 s.
      stickyQueueScheduleToStartTimeout: '500ms',
      ...options,
    });
    return { worker, ended: worker.run() };
  };
  let running = await startWorker();
  const stopWorker = () => {
    running.worker.shutdown();
    return running.ended;
  };
  const withoutWorker: Rig['withoutWorker'] = async (act) => {
    await stopWorker();
    await act();
    running = await startWorker();
  };
  let restart: Promise<void> | null = null;
  return {
    client,
    newWorld() {
      const name = `env${worlds.size + 1}`;
      const world = new World(name, client);
      worlds.set(name, world);
      return world;
    },
    newNeighbors() {
      const names = [`env${worlds.size + 1}`, `env${worlds.size + 2}`] as const;
      const shared = { edge: new EdgeWorld(names), edgeName: names[0] };
      const [first, second] = [new World(names[0], client, shared), new World(names[1], client, shared)];
      worlds.set(first.name, first).set(second.name, second);
      return [first, second];
    },
    start: (type, workflowId, args) => client.workflow.start(type, { workflowId, args, taskQueue: taskQueue(project) }),
    skip: (ms) => env.sleep(ms),
    resultOf: (workflowId) => env.client.workflow.getHandle(workflowId).result().catch(resultOrThrow),
    resultInRealTime: (workflowId) => client.workflow.getHandle(workflowId).result().catch(resultOrThrow),
    now: () => env.currentTimeMs(),
    statusOf: async (workflowId) => (await client.workflow.getHandle(workflowId).describe()).status.name,
    runOf: async (workflowId) => (await client.workflow.getHandle(workflowId).describe()).runId,
    async eventsOf(workflowId) {
      const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
      return (events ?? []).map((event) => event.attributes ?? '');
    },
    historyOf: async (workflowId, runId) =>
      historyToJSON(await client.workflow.getHandle(workflowId, runId).fetchHistory()),
    withoutWorker,
    restartWorker() {
      restart ??= withoutWorker(async () => {}).finally(() => {
        restart = null;
      });
      return restart;
    },
    async stop() {
      for (const world of worlds.values()) world.faults.releaseAll();
      await stopWorker();
      await env.teardown();
    },
  };
}

/** Activities that find the world they are of by their workflow's id. */
function dispatching(sample: World, worlds: ReadonlyMap<string, World>) {
  return Object.fromEntries(
    Object.keys(sample.activities()).map((name) => [
      name,
      (input: unknown) => {
        const id = Context.current().info.workflowExecution?.workflowId ?? '';
        const world = worldOf(worlds, id, input);
        const run = world?.activities()[name];
        if (!run) throw new Error(`no world for ${name} of ${id}`);
        return run(input);
      },
    ]),
  );
}

/** The environment's that a step of an edge change is about, else the one with the name that is in the workflow's id. */
function worldOf(worlds: ReadonlyMap<string, World>, workflowId: string, input: unknown): World | undefined {
  const named = worlds.get(worldNameOf(workflowId));
  if (!workflowId.includes('/edge/')) return named;
  const change = (input as { change?: EdgeChange }).change ?? named?.edge.change;
  return (change && 'environment' in change ? worlds.get(change.environment) : undefined) ?? named;
}

/**
 * `demo/edge/env1/3`, `demo/environment/env1` and `demo/env1/deploy/2` are all of env1; so are `demo/apply/env1`,
 * `demo/certificates/issue/env1`, `demo/provision/dry-run/env1` and `demo/certificates/env1.example.org`.
 */
function worldNameOf(workflowId: string): string {
  const [, first = '', ...more] = workflowId.split('/');
  if (first === 'certificates' || first === 'provision') return more.at(-1)?.split('.')[0] ?? '';
  return ['edge', 'environment', 'apply'].includes(first) ? (more[0] ?? '') : first;
}

/** The result of an operation that did not succeed: its workflow fails with it. */
function resultOrThrow(error: unknown) {
  const result = resultOfFailure(error);
  if (result) return result;
  throw error;
}
