import { sep } from 'node:path';
import type { Listener } from '../hosts/host.js';
import { listeningSockets, withProcesses } from '../hosts/listeners.js';
import type { ProcessIdentity } from '../hosts/process-identity.js';
import { type Instance, instanceFiles } from './record.js';

/** What an instance runs and has its port on every address: then no other color or environment could start. */
export async function listensEverywhere(instance: Instance, started: ProcessIdentity): Promise<Listener | null> {
  const wide = (await listeningSockets()).filter((one) => one.port === instance.port && one.isEveryAddress);
  return (await withProcesses(wide)).find((one) => isOf(one, instance, started)) ?? null;
}

/** Where what an instance runs listens, if not where it is to; none where it does, or listens nowhere. */
export async function listensElsewhere(instance: Instance, started: ProcessIdentity): Promise<readonly string[]> {
  const own = (await withProcesses(await listeningSockets())).filter((one) => isOf(one, instance, started));
  const { address, port } = instance;
  if (own.some((one) => one.port === port && (one.isEveryAddress || one.address === address))) return [];
  return [...new Set(own.map(addressOf))];
}

/** As it stands in a URL. */
export const addressOf = ({ address, port }: { address: string; port: number }): string =>
  `${address.includes(':') ? `[${address}]` : address}:${port}`;

/** Also what it started: in its session, or in its folder. */
const isOf = ({ process }: Listener, instance: Instance, started: ProcessIdentity): boolean =>
  process !== null &&
  ([process.pid, process.session].includes(started.pid) ||
    process.folder.startsWith(instanceFiles(instance).releases + sep));
