import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import type { AppliedConfiguration, EdgeConfiguration, InstanceAddress } from '../../src/domain/configuration.js';
import type { Claim, EdgeChange, EdgeRecord, RenderPlan, TakeBack } from '../../src/domain/edge-change.js';
import type { Color } from '../../src/domain/edge-state.js';
import { instanceName } from '../../src/domain/names.js';
import type { Edge } from '../../src/haproxy/edge.js';
import { installConfiguration, restoreConfiguration } from '../../src/haproxy/install.js';
import { ensureManagedEdge, findProcesses, stopManagedEdge } from '../../src/haproxy/managed.js';
import { readEdge } from '../../src/haproxy/read-edge.js';
import { refuseUnlessReady } from '../../src/haproxy/readiness.js';
import { recordColors, restoreColors } from '../../src/haproxy/record.js';
import { reloadEdge, reloadRestored } from '../../src/haproxy/reload.js';
import { renderPlan } from '../../src/haproxy/render-plan.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import { verifyTraffic } from '../../src/haproxy/verify.js';
import type { Host } from '../../src/hosts/host.js';
import { appliedConfiguration, component, environment } from './applied.js';
import { freeLoopbackRange, freePort } from './ports.js';
import { testPlace } from './test-host.js';

export interface TestEdge {
  readonly edge: Edge;
  readonly folder: string;
  readonly applied: AppliedConfiguration;
  /** Every file of the edge with its content. */
  files(): Promise<Readonly<Record<string, string>>>;
  /** Starts instances that answer with their name, and answers how to end one. */
  serve(environment: string, color: Color): Promise<() => Promise<void>>;
  dispose(): Promise<void>;
}

/** A project with two environments and two components on an edge of its own; nothing is installed or running yet. */
export async function createTestEdge(
  options: { host?: Host; project?: string; folder?: string; edge?: Partial<EdgeConfiguration> } = {},
): Promise<TestEdge> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'bascule-')));
  const applied = await testConfiguration(folder, options.project ?? 'demo', options.edge);
  const { edge: configuration, project } = applied.configuration;
  const edge: Edge = { host: options.host ?? testPlace().host, project, configuration };
  const servers = new Set<Server>();
  return {
    edge,
    folder,
    applied,
    files: () => readFiles(join(folder, 'edge')),
    async serve(environment, color) {
      const started = await Promise.all(instancesOf(applied, environment, color).map(startInstance));
      for (const server of started) servers.add(server);
      return async () => void (await Promise.all(started.map(stopInstance)));
    },
    async dispose() {
      await stopManagedEdge(edge);
      await Promise.all([...servers].map(stopInstance));
      // A folder that was given is the giver's to remove.
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whether one edge may serve several tests; in an instance of Incus its files are not ours to put back. */
export const isShareable = (): boolean => testPlace().instances === null;

/** Keeps the files of an edge; answers how they are put back, and loaded again where HAProxy has loaded others since. */
export async function keepFiles({
  edge,
  folder,
}: TestEdge): Promise<{ restore(): Promise<void>; remove(): Promise<void> }> {
  const { socket } = edge.configuration.files;
  const isKept = (path: string) => !/\.(?:sock|log)$/.test(path);
  const copy = `${folder}-copy`;
  await cp(folder, copy, { recursive: true, filter: isKept });
  const served = await readRunning(socket, 0);
  return {
    async restore() {
      for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if ((entry.isFile() || entry.isSymbolicLink()) && isKept(path)) await rm(path);
      }
      await cp(copy, folder, { recursive: true });
      if (served === null) return;
      const before = await readRunning(socket, 0);
      if (before?.pid === served.pid) return;
      // A master in the middle of a reload answers a moment later; a signal that comes before is lost.
      const master = before && (await findProcesses(edge, 5_000))?.master;
      if (master) await edge.host.run(['kill', '-s', 'HUP', String(master)], { timeoutMs: 5_000 });
      else await ensureManagedEdge(edge);
      await vi.waitFor(async () => {
        const { pid, digest } = (await readRunning(socket, 0)) ?? {};
        expect({ digest, isOld: pid === before?.pid }).toEqual({ digest: served.digest, isOld: false });
      }, 20_000);
    },
    remove: () => rm(copy, { recursive: true, force: true }),
  };
}

export const withEnvironments = (applied: AppliedConfiguration, names: readonly string[]): AppliedConfiguration => ({
  ...applied,
  configuration: {
    ...applied.configuration,
    environments: applied.configuration.environments.filter(({ name }) => names.includes(name)),
  },
});

export const applyChange: EdgeChange = { id: 'apply', operation: 'apply', kind: 'apply' };

export const switchChange = (from: Color, to: Color, sha: string | null = 'aaaaaaa'): EdgeChange => ({
  id: 'switch',
  operation: 'switch',
  kind: 'color',
  environment: 'prod',
  from,
  to,
  sha,
  history: sha === null ? 'back' : 'push',
});

export interface Planned {
  readonly change: EdgeChange;
  readonly record: EdgeRecord;
  readonly plan: RenderPlan;
  readonly owner: string;
  readonly version: string;
  readonly takeBack: TakeBack;
  readonly wantedApplied?: AppliedConfiguration;
}

/** Version of Bascule that the tests' edges are written by. */
export const version = '1.0.0';

/** Reads the edge and plans a change of it, as the first two steps of switchEdge do. */
export async function planned(
  test: TestEdge,
  run: string,
  change: EdgeChange,
  wanted?: AppliedConfiguration,
): Promise<Planned> {
  const { edge } = test;
  const wantedApplied: { wantedApplied?: AppliedConfiguration } =
    change.kind === 'apply' ? { wantedApplied: wanted ?? test.applied } : {};
  const record = await readEdge(edge, { probe: true, version, ...wantedApplied });
  const plan = await renderPlan(edge, { change, record, at: '2026-01-01T00:00:00Z', version, ...wantedApplied });
  const owner = `${run}/do`;
  const takeBack = { change, record, doOwner: owner, undoOwner: `${run}/undo` };
  return { change, record, plan, owner, version, takeBack, ...wantedApplied };
}

const timeoutMs = 8_000;

/** All steps of switchEdge. */
export async function change(
  test: TestEdge,
  run: string,
  what: EdgeChange,
  wanted?: AppliedConfiguration,
): Promise<Claim> {
  const { edge } = test;
  const step = await planned(test, run, what, wanted);
  await refuseUnlessReady(edge, what, step.record);
  const claim = await stageConfiguration(edge, step);
  await load(test, step, claim);
  await verifyTraffic(edge, { ...step, timeoutMs });
  await recordColors(edge, { claim, ...step });
  return claim;
}

export async function load(test: TestEdge, step: Planned, claim: Claim): Promise<void> {
  const target = await installConfiguration(test.edge, { claim, ...step });
  await reloadEdge(test.edge, { claim, target, timeoutMs });
}

/** As the saga takes a change back, newest step first. */
export async function takeBackAll(edge: Edge, { takeBack }: Planned): Promise<void> {
  await restoreColors(edge, takeBack);
  await restoreConfiguration(edge, takeBack);
  await reloadRestored(edge, takeBack, timeoutMs);
  await unstageConfiguration(edge, takeBack);
}

async function testConfiguration(
  folder: string,
  project: string,
  changed: Partial<EdgeConfiguration> = {},
): Promise<AppliedConfiguration> {
  const range = freeLoopbackRange();
  const { address, instances: bridge } = testPlace();
  const file = (name: string) => join(folder, 'edge', name);
  const health = { path: '/health', intervalMs: 100, fall: 2, rise: 1 };
  const { configuration, addresses, ...rest } = appliedConfiguration({
    environments: ['staging', 'prod'].map((name) => environment(name, [`${name}.localhost`])),
    components: [
      component('api', { port: 8081, health, routes: [{ prefix: '/api/v1' }] }),
      component('web', { port: 8082, health, isDefault: true }),
    ],
    address: (number) => range.address(number + 1),
    edge: {
      http: { address, port: await freePort() },
      files: {
        config: file('haproxy.cfg'),
        state: file('state'),
        certificates: file('certificates'),
        socket: file('haproxy.sock'),
        masterSocket: file('master.sock'),
      },
      httpKeepAliveMs: 1_000,
      hardStopAfterMs: 10_000,
      ...changed,
    },
  });
  const onBridge =
    bridge && Object.keys(addresses).map(async (name) => [name, { address: bridge, port: await freePort(bridge) }]);
  return {
    ...rest,
    addresses: onBridge ? Object.fromEntries(await Promise.all(onBridge)) : addresses,
    configuration: {
      ...configuration,
      project,
      instances: {
        driver: 'process',
        addresses: { address: range.address(0), prefixLength: 24 },
        directory: join(folder, 'instances'),
        addressBook: join(folder, 'addresses.json'),
        releasesKept: 5,
      },
    },
  };
}

function instancesOf(applied: AppliedConfiguration, environment: string, color: Color) {
  const { environments, components } = applied.configuration;
  const { prefix } = environments.find(({ name }) => name === environment) ?? { prefix: '' };
  return components.map((each) => {
    const name = instanceName({ prefix }, each.name, color);
    const address = applied.addresses[name];
    if (!address) throw new Error(`no address for ${name}`);
    return { name, ...address };
  });
}

async function startInstance(instance: { name: string } & InstanceAddress): Promise<Server> {
  const server = createServer((_request, response) => response.end(instance.name));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(instance.port, instance.address, resolve);
  });
  return server;
}

async function stopInstance(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

async function readFiles(folder: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== 'haproxy.log');
  const contents = files.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    return [path.slice(folder.length + 1), await readFile(path, 'utf8')] as const;
  });
  return Object.fromEntries((await Promise.all(contents)).sort(([a], [b]) => a.localeCompare(b)));
}
