import { setTimeout as sleep } from 'node:timers/promises';
import { inFull } from '../domain/incus-place.js';
import {
  deviceOf,
  isForwarded,
  markOfEdge,
  markOfProject,
  missingPackages,
  type ProvisionActId,
  type ProvisionFound,
  type ProvisionWanted,
} from '../domain/provision.js';
import { BasculeError } from '../errors.js';
import { refusedFor } from '../hosts/incus-client.js';
import { findImage } from '../hosts/incus-images.js';
import { installPackages, lookInside, makeFolders, startService, writeUpgrades } from './inside.js';
import type { ProvisionPlace, SideBySideInstance } from './look.js';

/** From the start of an instance until its system has booted and has an address. */
const bootMs = 120_000;
const pollMs = 200;

export interface ProvisionAct {
  readonly place: ProvisionPlace;
  readonly wanted: ProvisionWanted;
  /** What was found just now: only what differs from it is done. */
  readonly found: ProvisionFound;
  readonly signal: AbortSignal;
}

/** What each step does, where there is something to do; the edge's configuration is put in force by its own workflow. */
export const provisionActs: Readonly<Record<ProvisionActId, (act: ProvisionAct) => Promise<void>>> = {
  project: makeProject,
  storage: makeStorage,
  network: makeNetwork,
  profile: makeProfile,
  instance: launchInstance,
  packages: providePackages,
  folders: ({ place, wanted }) => makeFolders(place.host, wanted),
  instances: launchSideBySide,
  service: async ({ place, wanted }) => startService(place.host, wanted, await lookInside(place.host, wanted)),
  ports: leadPorts,
};

const markOf = ({ project }: ProvisionWanted) => ({ [markOfProject]: project });

/** Images and networks are those of the default project; profiles are its own. */
async function makeProject({ place, wanted }: ProvisionAct): Promise<void> {
  const config = { ...markOf(wanted), 'features.images': 'false', 'features.networks': 'false' };
  await place.client.change('/projects', { method: 'POST', body: { name: wanted.place.project, config } });
}

async function makeStorage({ place, wanted }: ProvisionAct): Promise<void> {
  const body = { name: wanted.storage, driver: 'dir', config: markOf(wanted) };
  await place.client.change('/storage-pools', { method: 'POST', body });
}

async function makeNetwork({ place, wanted, found }: ProvisionAct): Promise<void> {
  const domain = wanted.domain === null ? {} : { 'dns.domain': wanted.domain };
  const { network: name } = wanted;
  if (found.network !== null) {
    await place.client.change(`/networks/${name}`, { method: 'PATCH', body: { config: domain } });
    return;
  }
  const config = {
    ...markOf(wanted),
    ...domain,
    'ipv4.address': wanted.subnet ?? 'auto',
    'ipv4.nat': 'true',
    'ipv6.address': 'none',
  };
  try {
    await place.client.change('/networks', { method: 'POST', body: { name, type: 'bridge', config } });
  } catch (error) {
    if (refusedFor(error, /unused IPv4 subnet/i) === null) throw error;
    throw new BasculeError('incus-no-subnet', { network: name });
  }
}

async function makeProfile({ place, wanted, found }: ProvisionAct): Promise<void> {
  const { profile: name, storage, network } = wanted;
  const devices = {
    ...(found.profile?.pool ? {} : { root: { type: 'disk', path: '/', pool: storage } }),
    eth0: { type: 'nic', network, name: 'eth0' },
  };
  if (found.profile !== null) {
    await place.client.change(`/profiles/${name}`, { method: 'PATCH', body: { devices } });
    return;
  }
  await place.client.change('/profiles', { method: 'POST', body: { name, config: markOf(wanted), devices } });
}

async function launchInstance({ place, wanted, found, signal }: ProvisionAct): Promise<void> {
  const { instance: name } = wanted.place;
  const path = `/instances/${name}`;
  const start = { 'boot.autostart': 'true' };
  if (found.instance === null) {
    const config = { ...markOf(wanted), [markOfEdge]: wanted.edge, ...start };
    const body = {
      name,
      type: 'container',
      source: await findImage(place.client, wanted.image),
      profiles: [wanted.profile],
      config,
    };
    await place.client.change('/instances', { method: 'POST', body });
  } else if (!found.instance.startsByItself) {
    await place.client.change(path, { method: 'PATCH', body: { config: start } });
  }
  if (!found.instance?.isRunning) {
    await place.client.start();
  }
  await untilBooted({ place, wanted, signal });
}

/** Waits until its system has booted and it has an address, so that packages can be fetched. */
async function untilBooted({ place, wanted, signal }: Omit<ProvisionAct, 'found'>): Promise<void> {
  const named = inFull(wanted.place);
  const deadline = performance.now() + bootMs;
  for (;;) {
    const { system } = await lookInside(place.host, wanted);
    if (system === 'none') {
      const next = 'run `bascule provision`';
      throw new BasculeError('incus-image-unfit', { ...named, image: wanted.image, key: 'provision.image', next });
    }
    const hasBooted = system === 'running' || system === 'degraded';
    if (hasBooted && (await place.client.addresses()).some((address) => !isLocal(address))) return;
    if (performance.now() > deadline) {
      const state = hasBooted ? 'it has no address' : `its system is ${system ?? 'not up'}`;
      throw new BasculeError('instance-not-booted', { ...named, state, timeoutMs: bootMs });
    }
    await sleep(pollMs, undefined, { signal });
  }
}

/** Of itself alone, or of a link. */
const isLocal = (address: string): boolean => /^(?:127\.|::1$|fe80:)/.test(address);

async function providePackages({ place, wanted, found, signal }: ProvisionAct): Promise<void> {
  const missing = missingPackages(wanted, found.inside?.packages ?? []);
  if (missing.length > 0) await installPackages(place.host, missing, signal);
  await writeUpgrades(place.host, wanted);
}

async function launchSideBySide({ place, found, signal }: ProvisionAct): Promise<void> {
  const isMissing = ({ name }: SideBySideInstance) => ['none', 'stopped'].includes(found.sideBySide[name] ?? 'none');
  await Promise.all(place.sideBySide.filter(isMissing).map(async (one) => await one.provide(signal)));
}

async function leadPorts({ place, wanted, found }: ProvisionAct): Promise<void> {
  const path = `/instances/${wanted.place.instance}`;
  const present = found.instance?.devices ?? {};
  const missing = wanted.forwards.filter((forward) => !isForwarded(forward, present));
  const address = missing.some(({ nat }) => nat) ? await fixedAddress(place, wanted, present) : {};
  const devices = Object.fromEntries(missing.map((forward) => [forward.device, deviceOf(forward)]));
  await place.client.change(path, { method: 'PATCH', body: { devices: { ...address, ...devices } } });
}

/** What packets are led to has to be the same after its next start: the address that it was given stays its own. */
async function fixedAddress(
  { client }: ProvisionPlace,
  { network }: ProvisionWanted,
  devices: NonNullable<ProvisionFound['instance']>['devices'],
) {
  if (devices.eth0?.['ipv4.address']) return {};
  const given = (await client.addresses()).find((address) => address.includes('.') && !isLocal(address));
  const own = given === undefined ? {} : { 'ipv4.address': given };
  return { eth0: { type: 'nic', network, name: 'eth0', ...devices.eth0, ...own } };
}
