import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { isHostName, isInRange, readAddressRange } from '../domain/addresses.js';
import { inFull } from '../domain/incus-place.js';
import { BasculeError, isBasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { type IncusClient, refusedFor } from '../hosts/incus-client.js';
import { findImage } from '../hosts/incus-images.js';
import {
  containerDefinition,
  type Devices,
  dataVolumeName,
  freeAddress,
  type Marks,
  markedFor,
  marksOf,
  type NetworkCard,
  networkCardOf,
  rootPoolOf,
} from './container-definition.js';
import type { IncusPart, Instance } from './record.js';
import { sharedFolder } from './unit.js';

/** An instance that runs in Incus. */
export type IncusInstance = Instance & { readonly incus: IncusPart; readonly edgeHost: Host };

type InIncus = Pick<IncusInstance, 'incus'>;

/** What Incus knows of an instance. */
export interface Container {
  readonly isRunning: boolean;
  /** It does not run, and does not end just now either. */
  readonly isStopped: boolean;
  /** It was paused, by hand. */
  readonly isFrozen: boolean;
  /** For which operation it was made. */
  readonly creator: string;
  /** Its own network card, with the address that it was given. */
  readonly card: NetworkCard | null;
  readonly profiles: readonly string[];
}

/** How long an instance's system may take to end before it is ended by force. */
const endsWithinMs = 30_000;
const pollMs = 200;

/** Of an instance: the disk with its component's data. */
const dataDevice = 'bascule-data';

const deviceSchema = z.record(z.string(), z.record(z.string(), z.string()));
const instanceSchema = z.object({
  status: z.string(),
  config: z.record(z.string(), z.string()),
  devices: deviceSchema,
  profiles: z.array(z.string()),
});
const devicesSchema = z.object({ expanded_devices: deviceSchema });
const volumeSchema = z.object({ config: z.record(z.string(), z.string()) });
const profileSchema = z.object({ devices: deviceSchema });
const networkSchema = z.object({ managed: z.boolean(), config: z.record(z.string(), z.string()) });
const leasesSchema = z.array(z.object({ hostname: z.string(), address: z.string() })).nullable();

/** As Incus says that somebody else makes or made it. */
const isThere = /already exists|already being created/i;

/** As Incus and the programs of an instance say it. */
export const noRoom =
  /no space left|out of disk space|quota exceeded|exceeds.*(?:quota|limit)|not enough (?:space|free)/i;

/**
 * The instance as Incus has it, null where there is none.
 *
 * @throws `incus-instance-foreign` where it is not Bascule's, or another component's, and those of `IncusClient`
 */
export async function findContainer(instance: IncusInstance): Promise<Container | null> {
  const found = await ifPresent(instance.incus.client.askInstance(''));
  if (found === null) return null;
  const { status, config, devices, profiles } = instanceSchema.parse(found);
  const isOurs = Object.entries(marksOf(marksFor(instance))).every(([key, value]) => config[key] === value);
  if (!isOurs) {
    const expected = markedFor(marksOf(marksFor(instance))) ?? '';
    throw new BasculeError('incus-instance-foreign', {
      ...placeOf(instance),
      expected,
      found: markedFor(config),
    });
  }
  return {
    isRunning: status === 'Running',
    isStopped: status === 'Stopped',
    isFrozen: status === 'Frozen',
    creator: config['user.bascule.owner'] ?? '',
    card: networkCardOf(devices),
    profiles,
  };
}

/**
 * Makes the instance for an operation where there is none, with an address of its own.
 *
 * @throws `incus-instance-foreign`, `incus-image-missing`, `incus-network-unfit`, `incus-address-unfit`,
 * `incus-full`, `incus-volume-foreign`, and those of `IncusClient`
 */
export async function ensureContainer(
  instance: IncusInstance,
  owner: string,
  signal?: AbortSignal,
): Promise<Container> {
  const found = await findContainer(instance);
  if (found !== null) {
    assertLedTo(instance, found);
    await attachData(instance);
    return found;
  }
  const { incus, name } = instance;
  const { client, image, profiles } = incus;
  const devices = await profileDevices(instance);
  const card = networkCard(instance, devices);
  const source = await findImage(client, image);
  const address = await addressOf(instance, card);
  const marks = marksFor(instance);
  const body = containerDefinition({ name, marks, owner, source, profiles, card, address });
  try {
    await client.change('/instances', { method: 'POST', body, ...(signal ? { signal } : {}) });
  } catch (error) {
    if (refusedFor(error, isThere) === null) await removeRemains(instance, owner);
    throw await creationError(instance, error);
  }
  await attachData(instance);
  // Another worker may have made it in the same moment: then it is for whom it was made.
  return (
    (await findContainer(instance)) ?? {
      isRunning: false,
      isStopped: true,
      isFrozen: false,
      creator: owner,
      card: networkCardOf(body.devices),
      profiles,
    }
  );
}

/**
 * Gives the instance the profiles that it is to have, where it was made with others. Throws `incus-profile-missing`, and
 * those of `IncusClient`.
 */
export async function alignProfiles(instance: IncusInstance): Promise<void> {
  const { client, profiles } = instance.incus;
  const found = await findContainer(instance);
  if (found === null || isDeepStrictEqual(found.profiles, profiles)) return;
  await Promise.all(profiles.map((name) => profileOf(instance, name)));
  await client.changeInstance('', { method: 'PATCH', body: { profiles } });
}

/** Starts the instance where it does not run: it is brought to what its record says. Throws those of `IncusClient`. */
export async function startContainer(instance: IncusInstance, { isRunning, isFrozen }: Container): Promise<void> {
  if (isRunning) return;
  const action = isFrozen ? 'unfreeze' : 'start';
  try {
    await instance.incus.client.start(action);
  } catch (error) {
    throw await asFull(instance, 'to be started', error);
  }
}

/**
 * Deletes an instance whose system is ending, and which `isStillOurs` is asked about where that takes too long. Incus
 * deletes none that runs: should this come late, nothing that is in use is deleted.
 */
export async function deleteContainer(
  instance: IncusInstance,
  { isStillOurs, signal }: { isStillOurs: () => Promise<boolean>; signal?: AbortSignal },
): Promise<void> {
  const { client } = instance.incus;
  const until = performance.now() + endsWithinMs;
  for (;;) {
    const found = await findContainer(instance);
    if (found === null) return;
    if (found.isStopped) {
      if (await isDeleted(client)) return;
    } else if (performance.now() > until && (await isStillOurs())) {
      await client.changeInstance('/state', { method: 'PUT', body: { action: 'stop', timeout: -1, force: true } });
    }
    await delay(pollMs, undefined, { ...(signal ? { signal } : {}) });
  }
}

/** Just after its system has ended Incus may still take it for running. */
async function isDeleted(client: IncusClient): Promise<boolean> {
  try {
    await ifPresent(client.changeInstance('', { method: 'DELETE' }));
    return true;
  } catch (error) {
    if (refusedFor(error, /is running/i) === null) throw error;
    return false;
  }
}

/** Whom errors of Incus are about. */
export const placeOf = ({ incus }: InIncus) => inFull(incus.client.place);

const marksFor = ({ incus, environment, component, color }: IncusInstance): Marks => ({
  project: incus.project,
  environment,
  component,
  color,
});

/** Null where the instance is not there. */
async function ifPresent<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (error) {
    if (isBasculeError(error) && error.code === 'incus-instance-missing') return null;
    throw error;
  }
}

/** Those that its profiles give it. */
async function profileDevices(instance: IncusInstance): Promise<Devices> {
  const { profiles } = instance.incus;
  const found = await Promise.all(profiles.map((name) => profileOf(instance, name)));
  // What a later profile says comes before.
  return Object.assign({}, ...found.map((profile) => profileSchema.parse(profile).devices)) as Devices;
}

/**
 * Gives an instance that there is the volume of its component's data, which is made where there is none. Whoever deletes an
 * instance leaves it. An instance that could not be made leaves none behind.
 *
 * @throws `incus-volume-foreign` where somebody else made it, and those of `IncusClient`
 */
async function attachData(instance: IncusInstance): Promise<void> {
  const { incus, name: of, component } = instance;
  const { expanded_devices: devices } = devicesSchema.parse(await incus.client.askInstance(''));
  const pool = rootPoolOf(devices);
  if (dataDevice in devices || pool === null) return;
  const source = await ensureVolume(instance, pool, dataVolumeName(marksFor(instance), of));
  const path = sharedFolder({ project: incus.project, component });
  const body = { devices: { [dataDevice]: { type: 'disk', pool, source, path } } };
  await incus.client.changeInstance('', { method: 'PATCH', body });
}

async function ensureVolume(instance: IncusInstance, pool: string, name: string): Promise<string> {
  const { client } = instance.incus;
  const volumes = `/storage-pools/${encodeURIComponent(pool)}/volumes/custom`;
  const config = marksOf({ ...marksFor(instance), color: null });
  try {
    await client.change(volumes, {
      method: 'POST',
      body: { name, type: 'custom', content_type: 'filesystem', config },
    });
  } catch (error) {
    if (refusedFor(error, isThere) === null) throw await asFull(instance, 'to have a volume for its data', error);
    const found = volumeSchema.parse(await client.ask(`${volumes}/${encodeURIComponent(name)}`));
    const isOurs = Object.entries(config).every(([key, value]) => found.config[key] === value);
    if (!isOurs) throw new BasculeError('incus-volume-foreign', { ...placeOf(instance), pool, volume: name });
  }
  return name;
}

/** The one of the profiles that leads to the edge. Throws `incus-network-unfit`. */
function networkCard(instance: IncusInstance, devices: Devices): NetworkCard {
  const card = networkCardOf(devices);
  if (card) return card;
  throw unfit(instance, 'none of its profiles has a network card of a network that Incus manages');
}

async function profileOf(instance: IncusInstance, name: string): Promise<unknown> {
  try {
    return await instance.incus.client.ask(`/profiles/${encodeURIComponent(name)}`);
  } catch (error) {
    if (refusedFor(error, /not found/i) === null) throw error;
    throw new BasculeError('incus-profile-missing', { ...placeOf(instance), profile: name });
  }
}

/**
 * The address that belongs to the instance: the one that the edge knows it by; where it knows the name, one that is given
 * out once, by a file on the edge's host that whoever is first makes.
 *
 * @throws `incus-network-unfit`, `incus-address-unfit`
 */
async function addressOf(instance: IncusInstance, { network }: NetworkCard): Promise<string> {
  const { name, edgeHost, incus } = instance;
  const { client, addresses: folder } = incus;
  const { managed, config } = networkSchema.parse(await client.ask(`/networks/${encodeURIComponent(network)}`));
  const bridge = config['ipv4.address'] ?? '';
  if (!managed || !/^[0-9.]+\/\d+$/.test(bridge)) {
    throw unfit(instance, `its network ${network} has no IPv4 subnet of Incus's own`);
  }
  const leases = leasesSchema.parse(await client.ask(`/networks/${encodeURIComponent(network)}/leases`)) ?? [];
  if (!isHostName(instance)) {
    assertFits(instance, { network, bridge, leases });
    return instance.address;
  }
  const taken = new Set(leases.map(({ address }) => address));
  const fileOf = (address: string): string => join(folder, address);
  for (const address of (await edgeHost.readFolder(folder)).toSorted()) {
    if ((await edgeHost.readState(fileOf(address)))?.trim() === name) return address;
    taken.add(address);
  }
  for (;;) {
    const address = freeAddress(bridge, taken);
    if (address === null) throw unfit(instance, `no address is left in ${bridge} of its network ${network}`);
    await edgeHost.createPrivately(fileOf(address), `${name}\n`);
    if ((await edgeHost.readState(fileOf(address)))?.trim() === name) return address;
    taken.add(address);
  }
}

/** Throws `incus-address-unfit` where the edge leads to another address than the instance was made with. */
function assertLedTo(instance: IncusInstance, { card }: Container): void {
  const { name, address } = instance;
  const given = card?.device['ipv4.address'];
  if (isHostName(instance) || !card || given === undefined || given === address) return;
  const reason = `it was made with ${given}; \`incus config device set ${name} ${card.name} ipv4.address=${address}\` and \`incus restart ${name}\` give it the other one`;
  throw new BasculeError('incus-address-unfit', { ...placeOf(instance), address, reason });
}

/** Throws `incus-address-unfit` where the address is not of its network, or another one has it. */
function assertFits(
  instance: IncusInstance,
  of: { network: string; bridge: string; leases: readonly { hostname: string; address: string }[] },
): void {
  const { name, address } = instance;
  const { network, bridge, leases } = of;
  const refuse = (reason: string): never => {
    throw new BasculeError('incus-address-unfit', { ...placeOf(instance), address, reason });
  };
  const range = readAddressRange(bridge);
  if (range.address === address) refuse(`it is that of its network ${network} itself`);
  if (!isInRange(range, address)) refuse(`its network ${network} is ${bridge}`);
  const other = leases.find((lease) => lease.address === address && lease.hostname !== name);
  if (other) refuse(`${other.hostname || 'another instance'} has it`);
}

/** Incus takes back what it has begun to make, but not always. */
async function removeRemains(instance: IncusInstance, owner: string): Promise<void> {
  try {
    const found = await findContainer(instance);
    if (found?.isStopped && found.creator === owner) await isDeleted(instance.incus.client);
  } catch {
    // Why it could not be made counts; who deploys next says what is in the way then.
  }
}

async function creationError(instance: IncusInstance, error: unknown): Promise<unknown> {
  const { image } = instance.incus;
  if (refusedFor(error, isThere) !== null) return error;
  const missing = refusedFor(error, /image.*(?:not found|couldn't be found)|not found.*image|alias/i);
  if (missing !== null)
    return new BasculeError('incus-image-missing', { ...placeOf(instance), image, reason: missing });
  return await asFull(instance, 'to be made', error);
}

/** The error, where it says that there is no room, as `incus-full`. */
export async function asFull(instance: InIncus, what: string, error: unknown): Promise<unknown> {
  const reason = refusedFor(error, noRoom);
  return reason === null ? error : await fullError(instance, what, reason);
}

/** `incus-full`, with the size that the instance's disk may have. */
export async function fullError(instance: InIncus, what: string, reason: string): Promise<BasculeError> {
  const found = await instance.incus.client.askInstance('').catch(() => null);
  const devices = devicesSchema.safeParse(found).data?.expanded_devices ?? {};
  const size = Object.values(devices).find(({ type, path }) => type === 'disk' && path === '/')?.size ?? null;
  return new BasculeError('incus-full', { ...placeOf(instance), what, reason, size });
}

const unfit = (instance: IncusInstance, reason: string): BasculeError =>
  new BasculeError('incus-network-unfit', { ...placeOf(instance), profiles: instance.incus.profiles, reason });
