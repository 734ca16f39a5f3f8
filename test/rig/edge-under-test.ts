import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  EdgeConfiguration,
  EnvironmentConfiguration,
  ServerAddress,
} from '../../src/domain/configuration.js';
import type { EnvironmentState } from '../../src/domain/edge-state.js';
import { stampConfiguration } from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { RuntimeApi, readServers, type ServerStatus } from '../../src/haproxy/runtime.js';
import { type App, type AppProcess, startApp, startAppProcess } from './app.js';
import { appliedConfiguration } from './applied.js';
import { type Answer, ask } from './ask.js';
import { type Haproxy, type HaproxyPlaces, haproxyPlaces, startHaproxy } from './haproxy.js';
import { freeLoopbackRange, freePort } from './ports.js';

export interface EdgeUnderTest {
  readonly haproxy: Haproxy;
  readonly applied: AppliedConfiguration;
  readonly port: number;
  /** The app of each instance that was started, by instance name. */
  readonly apps: Map<string, App>;
  /** Starts an app that answers with its instance's name. */
  startInstance(name: string): Promise<void>;
  /** Starts an instance, or starts it again, as a process of its own; answers when it is UP on the edge. */
  startProcess(name: string, env?: Readonly<Record<string, string>>): Promise<AppProcess>;
  stopInstance(name: string): Promise<void>;
  /** The file for a state, as generation `generation`. */
  text(states: readonly EnvironmentState[], generation: number): string;
  reload(states: readonly EnvironmentState[], generation: number): Promise<void>;
  ask(host: string, path: string, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Until every one of these servers is UP by a check. */
  untilUp(names: readonly string[]): Promise<void>;
  /** Until the edge takes every one of them for down. */
  untilDown(names: readonly string[]): Promise<void>;
  dispose(): Promise<void>;
}

/** The probe's random of generation n. */
export const probeOf = (generation: number): string => `random${generation}`;

/** A HAProxy of its own that serves what Bascule renders for these, all instances of which are apps within this process. */
export async function startEdgeUnderTest(of: {
  readonly environments: readonly EnvironmentConfiguration[];
  readonly components: readonly ComponentConfiguration[];
  readonly states: readonly EnvironmentState[];
  readonly httpKeepAliveMs?: number;
  readonly edge?: Partial<EdgeConfiguration>;
}): Promise<EdgeUnderTest> {
  const places = await haproxyPlaces();
  const range = freeLoopbackRange();
  const port = await freePort();
  const applied = appliedConfiguration({
    environments: of.environments,
    components: of.components,
    socket: places.socket,
    address: range.address,
    port: await freePort(range.address(1)),
    edge: { http: { address: '127.0.0.1', port }, httpKeepAliveMs: of.httpKeepAliveMs ?? 5_000, ...of.edge },
  });
  return await startEdgeOf(applied, { places, states: of.states });
}

/**
 * The same for a whole configuration, whose sockets and certificates lie in `places` and whose addresses are on loopback.
 * `more` are servers beside the instances that apps are started for.
 */
export async function startEdgeOf(
  applied: AppliedConfiguration,
  of: {
    readonly places: HaproxyPlaces;
    readonly states: readonly EnvironmentState[];
    readonly more?: Readonly<Record<string, ServerAddress>>;
  },
): Promise<EdgeUnderTest> {
  const { places, states: firstStates, more = {} } = of;
  const { http } = applied.configuration.edge;
  const text: EdgeUnderTest['text'] = (states, generation) =>
    stampConfiguration(renderConfiguration(applied, states), {
      project: applied.configuration.project,
      generation,
      probe: probeOf(generation),
      states,
      version: '0.0.0',
    });
  const apps = new Map<string, App>();
  const servers: Readonly<Record<string, ServerAddress>> = { ...applied.addresses, ...more };
  const placeOf = (name: string): ServerAddress => {
    const place = servers[name];
    if (!place) throw new Error(`no instance ${name}`);
    return place;
  };
  const processes = new Map<string, AppProcess>();
  const startInstance = async (name: string) => {
    const { address, port } = placeOf(name);
    apps.set(name, await startApp(address, port, name));
  };
  const stopInstance = async (name: string) => {
    await apps.get(name)?.stop();
    await processes.get(name)?.kill();
    apps.delete(name);
    processes.delete(name);
  };
  for (const name of Object.keys(servers)) await startInstance(name);
  const haproxy = await startHaproxy(places, text(firstStates, 1));
  const untilAll = async (names: readonly string[], isSo: (server: ServerStatus) => boolean) => {
    await vi.waitFor(
      async () => {
        const { servers } = await readServers(haproxy.socket);
        const missing = names.filter((name) => !servers.some((server) => server.name === name && isSo(server)));
        if (missing.length > 0) throw new Error(`the edge sees other than asked for: ${missing.join(', ')}`);
      },
      { timeout: 20_000, interval: 20 },
    );
  };
  const untilUp: EdgeUnderTest['untilUp'] = async (names) => await untilAll(names, ({ isUp }) => isUp);
  return {
    haproxy,
    applied,
    port: http.port,
    apps,
    startInstance,
    startProcess: async (name, env) => {
      await stopInstance(name);
      const instance = await startAppProcess(join(places.folder, name), { ...placeOf(name), name }, env);
      processes.set(name, instance);
      const known = (await readServers(haproxy.socket)).servers.filter((server) => server.name === name);
      const api = new RuntimeApi(haproxy.socket);
      for (const { backend } of known) await api.command(`set server ${backend}/${name} health down`);
      await untilUp([name]);
      return instance;
    },
    stopInstance,
    text,
    reload: async (states, generation) => await haproxy.reload(text(states, generation)),
    ask: async (host, path, headers = {}) => await ask(http, host, path, headers),
    untilUp,
    untilDown: async (names) => await untilAll(names, ({ status }) => status.startsWith('DOWN')),
    dispose: async () => {
      await haproxy.stop();
      await Promise.all([...apps.keys(), ...processes.keys()].map(stopInstance));
      await rm(places.folder, { recursive: true, force: true });
    },
  };
}
