import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import { appliedConfiguration, component, environment } from './applied.js';
import { freeLoopbackRange, freePort } from './ports.js';

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
