import type {
  AddressBook,
  AppliedConfiguration,
  ComponentConfiguration,
  EdgeConfiguration,
  EnvironmentConfiguration,
} from '../../src/domain/configuration.js';
import { type Color, colors, type EnvironmentState } from '../../src/domain/edge-state.js';
import { instanceName } from '../../src/domain/names.js';
import { freeLoopbackRange, freePort } from './ports.js';

/** A component with every default that a test does not care about. */
export function component(name: string, changed: Partial<ComponentConfiguration> = {}): ComponentConfiguration {
  return {
    name,
    pool: `${name}_pool`,
    port: 8080,
    health: { path: '/health', intervalMs: 100, fall: 2, rise: 2 },
    routes: [],
    isDefault: false,
    balance: { kind: 'roundrobin' },
    timeouts: {},
    run: ['true'],
    env: {},
    startDeadlineMs: 10_000,
    stopGraceMs: 1_000,
    ...changed,
  };
}

export function environment(name: string, hosts: readonly string[]): EnvironmentConfiguration {
  return {
    name,
    prefix: `demo-${name}-`,
    hosts,
    approval: false,
    soak: { forMs: 0, errorShare: 0.05, minRequests: 50 },
    drainMs: 1_000,
  };
}

/** A configuration of an edge in force, in which instance n has the n-th address. */
export function appliedConfiguration(of: {
  readonly environments: readonly EnvironmentConfiguration[];
  readonly components: readonly ComponentConfiguration[];
  readonly edge?: Partial<EdgeConfiguration>;
  readonly socket?: string;
  readonly address?: (number: number) => string;
  readonly port?: number;
}): AppliedConfiguration {
  const { environments, components, address = (number) => `127.77.0.${number}` } = of;
  const socket = of.socket ?? '/run/bascule/haproxy.sock';
  const instances = environments.flatMap((each) =>
    components.flatMap(({ name, port }) => colors.map((color) => ({ name: instanceName(each, name, color), port }))),
  );
  return {
    schemaVersion: 1,
    configuration: {
      project: 'demo',
      edge: {
        name: 'local',
        host: { driver: 'local' },
        manage: true,
        http: { address: '127.0.0.1', port: 8088 },
        files: { config: '/c', state: '/s', certificates: '/t', socket, masterSocket: `${socket}.master` },
        httpKeepAliveMs: 5_000,
        hardStopAfterMs: 3_600_000,
        ...of.edge,
      },
      topology: 'blue-green',
      environments,
      components,
      artifacts: { url: 'file:/{component}/{sha}', maxBytes: 1, timeoutMs: 1 },
      instances: {
        driver: 'process',
        addresses: { address: '127.77.0.0', prefixLength: 16 },
        directory: '/i',
        addressBook: '/a',
        releasesKept: 5,
      },
    },
    addresses: Object.fromEntries(
      instances.map(({ name, port }, index) => [name, { address: address(index + 1), port: of.port ?? port }]),
    ) satisfies AddressBook,
  };
}

/** State of an environment whose active release is `aaaaaaa`, with or without the standby `bbbbbbb`. */
export function stateOf(
  name: string,
  color: Color,
  { hasStandby }: { readonly hasStandby: boolean },
): EnvironmentState {
  return { name, color, sha: 'aaaaaaa', standby: hasStandby ? 'bbbbbbb' : null };
}

export const largeEnvironments = ['staging', 'prod'];

/** An edge with so many components in two environments: each has a route of its own, and a loopback address an instance. */
export async function largeConfiguration(components: number, socket: string): Promise<AppliedConfiguration> {
  const range = freeLoopbackRange();
  const prefix = range.cidr.split('.').slice(0, 2).join('.');
  return appliedConfiguration({
    environments: largeEnvironments.map((name) => environment(name, [`${name}.localhost`])),
    components: Array.from({ length: components }, (_, number) =>
      component(`c${number}`, {
        routes: [{ prefix: `/c${number}` }],
        isDefault: number === 0,
        health: { path: '/health', intervalMs: 60_000, fall: 3, rise: 2 },
      }),
    ),
    socket,
    address: (number) => `${prefix}.${Math.floor(number / 250)}.${(number % 250) + 1}`,
    port: await freePort(range.address(1)),
    edge: { http: { address: '127.0.0.1', port: await freePort() } },
  });
}
