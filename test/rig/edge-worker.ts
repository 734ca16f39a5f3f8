import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ApplicationFailure } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { vi } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import { changeEdge } from '../../src/client/edge.js';
import { loadConfiguration } from '../../src/config/load.js';
import type { AddressBook } from '../../src/domain/configuration.js';
import type {
  ApplyChange,
  ColorChange,
  EdgeChange,
  EdgeChangeResult,
  StandDown,
} from '../../src/domain/edge-change.js';
import { type Color, colors } from '../../src/domain/edge-state.js';
import { backendName, taskQueue } from '../../src/domain/names.js';
import type { Edge } from '../../src/haproxy/edge.js';
import { stopManagedEdge } from '../../src/haproxy/managed.js';
import { RuntimeApi, readServers } from '../../src/haproxy/runtime.js';
import { type App, type AppProcess, startApp, startAppProcess } from './app.js';
import { ShimmedHost } from './faulty-host.js';
import { freeLoopbackRange, freePort } from './ports.js';
import { killAllOf } from './project.js';
import { startTemporal } from './temporal.js';

const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));
const codePath = fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url));
const changeWithinMs = 150_000;
const upWithinMs = 20_000;

type Asked<C extends EdgeChange> = Omit<C, 'id' | 'operation'>;

/** An edge of its own with a worker within this process, on the Temporal server of the rig. */
export interface EdgeWithWorker {
  readonly edge: Edge;
  readonly port: number;
  readonly host: ShimmedHost;
  readonly hooks: Hooks;
  /** Changes its bascule.yaml. */
  configure(change: (yaml: string) => string): Promise<void>;
  /** Asks the edge's workflow for a change, and waits for its end. */
  change(change: Asked<ColorChange> | Asked<StandDown> | Asked<ApplyChange>): Promise<EdgeChangeResult>;
  /** Starts an instance within this process: it says who it is to every request. */
  startInstance(name: string): Promise<App>;
  /** Ends an instance, and starts it as a process of its own; answers when it is UP on the edge. */
  startAsProcess(name: string): Promise<AppProcess>;
  stopInstance(name: string): Promise<void>;
  untilUp(names: readonly string[]): Promise<void>;
  dispose(): Promise<void>;
}

export interface EdgeWorkerRig {
  /** Its bascule.yaml is in force, HAProxy runs, and both colors of prod and blue of staging are there. */
  newEdge(): Promise<EdgeWithWorker>;
  stop(): Promise<void>;
}

/** A real Temporal server, for edges whose workers' activities can be broken. */
export async function startEdgeWorkerRig(): Promise<EdgeWorkerRig> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const temporal = await startTemporal();
  const connection = await NativeConnection.connect({ address: temporal.address });
  const client = new Client({ connection: await Connection.connect({ address: temporal.address }) });
  const started = new Set<EdgeWithWorker>();
  return {
    async newEdge() {
      const project = `demo${started.size + 1}`;
      const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
      const port = await freePort();
      const configurationFile = join(folder, 'bascule.yaml');
      await writeFile(configurationFile, configurationOf(await readFile(example, 'utf8'), project, port));
      const { edge: configuration } = await loadConfiguration(configurationFile);
      const host = new ShimmedHost();
      const hooks = new Hooks();
      const worker = await Worker.create({
        connection,
        taskQueue: taskQueue(project),
        workflowBundle: { codePath },
        activities: hooks.wrap(
          Object.assign(
            {},
            ...Object.values(createActivities({ configurationFile, project, client, host, version: '1.0.0' })),
          ),
        ),
        maxHeartbeatThrottleInterval: '100ms',
        shutdownGraceTime: '1s',
      });
      const running = worker.run();
      const made = edgeOf({
        client,
        folder,
        edge: { host, project, configuration },
        port,
        host,
        hooks,
        configurationFile,
        async end() {
          worker.shutdown();
          await running;
        },
      });
      started.add(made);
      await prepare(made);
      return made;
    },
    async stop() {
      for (const edge of started) await edge.dispose();
      await connection.close();
      await client.connection.close();
      await temporal.stop();
    },
  };
}

function configurationOf(yaml: string, project: string, port: number): string {
  return yaml
    .replace('project: demo', `project: ${project}`)
    .replace('http: 127.0.0.1:8088', `http: 127.0.0.1:${port}`)
    .replace('127.77.0.0/16', freeLoopbackRange().cidr)
    .replaceAll('interval: 1s, fall: 3, rise: 2', 'interval: 100ms, fall: 2, rise: 1');
}

/** Both colors of prod: `aaaaaaa` was deployed to green, which is active. Staging has blue. */
async function prepare(edge: EdgeWithWorker): Promise<void> {
  await must(edge.change({ kind: 'apply' }));
  const prod = ['api', 'web'].flatMap((name) => colors.map((color) => `demo-${name}-${color}`));
  const instances = [...prod, 'demo-staging-api-blue', 'demo-staging-web-blue'];
  for (const name of instances) await edge.startInstance(name);
  await edge.untilUp(instances);
  const change = { kind: 'color', history: 'push', environment: 'prod' } as const;
  await must(edge.change({ ...change, from: 'blue', to: 'green', sha: 'aaaaaaa' }));
}

async function must(change: Promise<EdgeChangeResult>): Promise<void> {
  const { outcome, message } = await change;
  if (outcome !== 'succeeded') throw new Error(message);
}

interface Parts extends Pick<EdgeWithWorker, 'edge' | 'port' | 'host' | 'hooks'> {
  readonly client: Client;
  readonly folder: string;
  readonly configurationFile: string;
  end(): Promise<void>;
}

function edgeOf({ client, folder, edge, port, host, hooks, configurationFile, end }: Parts): EdgeWithWorker {
  const apps = new Map<string, App>();
  const { files } = edge.configuration;
  let isDisposed = false;
  const placeOf = async (name: string) => {
    const { addresses } = JSON.parse(await readFile(join(files.state, 'applied.json'), 'utf8')) as {
      addresses: AddressBook;
    };
    const place = addresses[name];
    if (!place) throw new Error(`no instance ${name}`);
    return place;
  };
  const stopInstance = async (name: string) => {
    await apps.get(name)?.stop();
    apps.delete(name);
  };
  const untilUp = async (names: readonly string[]) => {
    await vi.waitFor(
      async () => {
        const { servers } = await readServers(files.socket);
        const missing = names.filter((name) => !servers.some((server) => server.isUp && server.name === name));
        if (missing.length > 0) throw new Error(`not UP: ${missing.join(', ')}`);
      },
      { timeout: upWithinMs, interval: 20 },
    );
  };
  return {
    edge,
    port,
    host,
    hooks,
    untilUp,
    stopInstance,
    async configure(change) {
      await writeFile(configurationFile, change(await readFile(configurationFile, 'utf8')));
    },
    async change(change) {
      const id = `${edge.project}/test/${randomUUID()}`;
      const name = { project: edge.project, edge: edge.configuration.name };
      return changeEdge(client, name, { ...change, id, operation: id }, AbortSignal.timeout(changeWithinMs));
    },
    async startInstance(name) {
      const place = await placeOf(name);
      const app = await startApp(place.address, place.port, JSON.stringify(identityOf(name)));
      apps.set(name, app);
      return app;
    },
    async startAsProcess(name) {
      const { address, port: instancePort } = await placeOf(name);
      const { environment, component, color } = identityOf(name);
      await stopInstance(name);
      // Its folder is what ends it with the edge.
      const place = { address, port: instancePort, name };
      const instance = await startAppProcess(join(folder, name), place, {
        BASCULE_ENVIRONMENT: environment,
        BASCULE_COMPONENT: component,
        BASCULE_COLOR: color,
      });
      await new RuntimeApi(files.socket).command(`set server ${backendOf(name)}/${name} health down`);
      await untilUp([name]);
      return instance;
    },
    async dispose() {
      if (isDisposed) return;
      isDisposed = true;
      hooks.clear();
      await host.mend();
      await end();
      await stopManagedEdge(edge);
      for (const name of [...apps.keys()]) await stopInstance(name);
      await killAllOf(folder);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function identityOf(instance: string): { environment: string; component: string; color: Color } {
  const [, staging, component = '', color = ''] = /^demo-(staging-)?(\w+)-(\w+)$/.exec(instance) ?? [];
  return { environment: staging ? 'staging' : 'prod', component, color: color as Color };
}

const backendOf = (instance: string): string => {
  const { environment, component } = identityOf(instance);
  return backendName(environment, component === 'api' ? 'backend_api' : 'web_pool');
};

// biome-ignore lint/suspicious/noExplicitAny: activities differ in what they take.
type Activities = Record<string, (input: any) => Promise<unknown>>;
type When = 'before' | 'after';

/** What a test does before or after an activity of a worker within this process, at each of its tries. */
export class Hooks {
  private readonly acts = new Map<string, () => Promise<void> | void>();

  set(when: When, activity: string, act: () => Promise<void> | void): void {
    this.acts.set(`${when} ${activity}`, act);
  }

  /** Breaks an activity for good, before its effect or after it; the code of the failure is `broken`. */
  break(when: When, activity: string): void {
    this.set(when, activity, () => {
      throw ApplicationFailure.create({ type: 'broken', message: `${activity} is broken`, nonRetryable: true });
    });
  }

  clear(): void {
    this.acts.clear();
  }

  wrap(activities: Activities): Activities {
    const wrapped = Object.entries(activities).map(([name, run]) => [
      name,
      async (input: unknown) => {
        await this.acts.get(`before ${name}`)?.();
        const output = await run(input);
        await this.acts.get(`after ${name}`)?.();
        return output;
      },
    ]);
    return Object.fromEntries(wrapped);
  }
}
