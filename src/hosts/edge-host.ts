import type { EdgeHost } from '../domain/configuration.js';
import type { IncusPlace } from '../domain/incus-place.js';
import type { Host } from './host.js';
import { IncusHost } from './incus.js';

/** One for each instance: it keeps its connections. */
const instances = new Map<string, IncusHost>();

/** Where an edge is. `here` is this machine. */
export function hostOf(where: EdgeHost, here: Host): Host {
  return where.driver === 'local' ? here : incusHostOf(where);
}

export function incusHostOf({ instance, project, remote }: IncusPlace): IncusHost {
  const key = JSON.stringify([instance, project, remote]);
  const place = { instance, ...(project !== undefined && { project }), ...(remote !== undefined && { remote }) };
  const host = instances.get(key) ?? new IncusHost(place);
  instances.set(key, host);
  return host;
}
