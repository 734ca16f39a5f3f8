import * as z from 'zod';
import { inFull } from '../domain/incus-place.js';
import {
  type FoundSideBySide,
  markOfProject,
  type ProvisionFound,
  type ProvisionStep,
  type ProvisionWanted,
  planProvision,
} from '../domain/provision.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import type { IncusClient } from '../hosts/incus-client.js';
import { lookInside } from './inside.js';

const config = z.record(z.string(), z.string()).nullish();
const devices = z.record(z.string(), z.record(z.string(), z.string()));

const networkSchema = z.object({ managed: z.boolean(), config });
const profileSchema = z.object({ config, devices });
const instanceSchema = z.object({ status: z.string(), config, devices });

/** Where the edge is to be: Incus's API, and the instance itself. */
export interface ProvisionPlace {
  readonly client: IncusClient;
  readonly host: Host;
  readonly sideBySide: readonly SideBySideInstance[];
}

/** One of those that stand side by side; what it is made of is their driver's matter. */
export interface SideBySideInstance {
  readonly name: string;
  look(): Promise<FoundSideBySide>;
  /** Makes it, and has it run. */
  provide(signal: AbortSignal): Promise<void>;
}

/**
 * What there is, and what is to be done. What somebody else made is never changed, and where it is in the way nothing is.
 *
 * @throws `not-of-bascule`, and as `IncusClient` and `Host.run`
 */
export async function planFrom(
  place: ProvisionPlace,
  wanted: ProvisionWanted,
): Promise<{ readonly found: ProvisionFound; readonly steps: readonly ProvisionStep[] }> {
  const found = await lookAtIncus(place, wanted);
  const { steps, obstacle } = planProvision(wanted, found);
  if (obstacle === null) return { found, steps };
  const { project, remote } = inFull(wanted.place);
  throw new BasculeError('not-of-bascule', { project, remote, ...obstacle });
}

/** All that there is of what is wanted. Throws as `IncusClient`, and as `Host.run`. */
async function lookAtIncus(
  { client, host, sideBySide }: ProvisionPlace,
  wanted: ProvisionWanted,
): Promise<ProvisionFound> {
  const { place } = wanted;
  const isOwnProject = place.project !== undefined && place.project !== 'default';
  const [project, storage, network, profile, instance, others] = await Promise.all([
    isOwnProject ? client.find(`/projects/${place.project}`) : null,
    client.find(`/storage-pools/${wanted.storage}`),
    client.find(`/networks/${wanted.network}`),
    client.find(`/profiles/${wanted.profile}`),
    client.find(`/instances/${place.instance}`),
    Promise.all(sideBySide.map(async (one) => [one.name, await one.look()] as const)),
  ]);
  const found = instance === null ? null : instanceSchema.parse(instance);
  const isRunning = found?.status === 'Running';
  return {
    incusProject: isOwnProject ? { isThere: project !== null } : null,
    storage: { isThere: storage !== null },
    network: network === null ? null : networkOf(networkSchema.parse(network)),
    profile: profile === null ? null : profileOf(profileSchema.parse(profile)),
    instance: found && {
      owner: ownerOf(found.config),
      isRunning,
      devices: found.devices,
      startsByItself: found.config?.['boot.autostart'] === 'true',
    },
    inside: isRunning ? await lookInside(host, wanted) : null,
    sideBySide: Object.fromEntries(others),
  };
}

const ownerOf = (values: z.infer<typeof config>): string | null => values?.[markOfProject] ?? null;

const networkOf = ({ managed, config: values }: z.infer<typeof networkSchema>) => ({
  owner: ownerOf(values),
  isManaged: managed,
  domain: values?.['dns.domain'] ?? null,
});

function profileOf({ config: values, devices: of }: z.infer<typeof profileSchema>) {
  const all = Object.values(of);
  return {
    owner: ownerOf(values),
    pool: all.find(({ type, path }) => type === 'disk' && path === '/')?.pool ?? null,
    network: of.eth0?.network ?? of.eth0?.parent ?? null,
  };
}
