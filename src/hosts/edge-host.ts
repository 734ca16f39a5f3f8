import type { EdgeHost } from '../domain/configuration.js';
import type { Host } from './host.js';
import { IncusHost } from './incus.js';

/** One for each instance: it keeps its connections. */
const instances = new Map<string, IncusHost>();

/** Where an edge is. `here` is this machine. */
export function hostOf(where: EdgeHost, here: Host): Host {
  if (where.driver === 'local') return here;
  const key = JSON.stringify(where);
  const host = instances.get(key) ?? new IncusHost(where);
  instances.set(key, host);
  return host;
}
