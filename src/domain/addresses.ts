import type {
  AddressBook,
  AddressRange,
  BindAddress,
  Configuration,
  EdgeConfiguration,
  InstanceAddress,
  InstancesConfiguration,
  ServerAddress,
} from './configuration.js';
import { colors } from './edge-state.js';
import { instanceName } from './names.js';

/** Below it only root, or who has CAP_NET_BIND_SERVICE, may listen. */
export const firstFreePort = 1_024;

/** Ports of instances that share one address count from here. */
const firstSharedPort = 20_000;
const lastPort = 65_535;

/**
 * Address and port of every instance. Where DNS knows them (`instances.domain`) that is their name; where nothing does,
 * they are left out. Of a range: those in `existing` stay as long as they are in the configured range, a new one gets
 * the next free one. What belonged to an instance that is no longer configured is given out last, since its process may
 * still run. The order is that of environments, components, blue and green, so the answer is always the same.
 */
export function allocateAddresses(configuration: Configuration, existing: AddressBook): AddressBook {
  const instances = instancesOf(configuration);
  const { addresses: range } = configuration.instances;
  if (range === undefined) return namedAddresses(instances, domainOf(configuration.instances));
  // In an instance of its own a component shares no address with the edge.
  const bound = configuration.instances.driver === 'process' ? edgeAddresses(configuration.edge) : [];
  const taken = new Set<string>();
  const kept = new Map<string, InstanceAddress>();
  for (const { name, port } of instances) {
    const before = Object.hasOwn(existing, name) ? existing[name] : undefined;
    if (!before || !isInRange(range, before.address)) continue;
    const address = { address: before.address, port: isSingle(range) ? before.port : port };
    if (taken.has(slotOf(range, address)) || isOfEdge(bound, address)) continue;
    taken.add(slotOf(range, address));
    kept.set(name, address);
  }
  const formerSlots = new Set(Object.values(existing).map((address) => slotOf(range, address)));
  const allocate = (port: number): InstanceAddress => {
    const free = (avoid: ReadonlySet<string>) =>
      firstSlot(range, port, (slot) => {
        const key = slotOf(range, slot);
        return !taken.has(key) && !avoid.has(key) && !isOfEdge(bound, slot);
      });
    const address = free(formerSlots) ?? free(new Set());
    if (!address) throw new RangeError(`no address left in ${range.address}/${range.prefixLength}`);
    taken.add(slotOf(range, address));
    return address;
  };
  return Object.fromEntries(instances.map(({ name, port }) => [name, kept.get(name) ?? allocate(port)]));
}

/** How many instances the range has room for, beside an edge that listens in it. */
export function addressCapacity(range: AddressRange, edgeHttp?: BindAddress): number {
  const size = isSingle(range) ? lastPort - firstSharedPort + 1 : 2 ** (32 - range.prefixLength) - 2;
  if (edgeHttp === undefined) return size;
  return isEveryAddress(edgeHttp) || isInRange(range, edgeHttp.address) ? size - 1 : size;
}

/** The first address of the range, which is how it should be written. */
export function networkAddress(range: AddressRange): string {
  return textOf(networkNumber(range));
}

/** Whether the range is one address, which every instance shares with a port of its own. */
export const isSingle = (range: AddressRange): boolean => range.prefixLength === 32;

/** Whether a bind address takes its port on every address of the machine. */
export const isEveryAddress = ({ address }: BindAddress): boolean => address === '*' || address === '0.0.0.0';

/** Where the edge listens. */
export const edgeAddresses = ({ http, https, runtime, metrics }: EdgeConfiguration): readonly BindAddress[] =>
  [http, https, runtime, metrics].filter((bind) => bind !== undefined);

const namedAddresses = (
  instances: readonly { name: string; port: number }[],
  domain: string | undefined,
): AddressBook =>
  Object.fromEntries(
    domain === undefined ? [] : instances.map(({ name, port }) => [name, { address: `${name}.${domain}`, port }]),
  );

const domainOf = (instances: InstancesConfiguration): string | undefined =>
  instances.driver === 'incus' ? instances.domain : undefined;

function instancesOf(configuration: Configuration): { name: string; port: number }[] {
  if (configuration.topology === 'multi-instance') {
    return configuration.components.flatMap(({ instances = [], port }) => instances.map((name) => ({ name, port })));
  }
  return configuration.environments.flatMap((environment) =>
    configuration.components.flatMap((component) =>
      colors.map((color) => ({ name: instanceName(environment, component.name, color), port: component.port })),
    ),
  );
}

/** What no two instances share: in a range the address, else the port. */
const slotOf = (range: AddressRange, { address, port }: InstanceAddress): string =>
  isSingle(range) ? `${address}:${port}` : address;

function firstSlot(
  range: AddressRange,
  port: number,
  isFree: (slot: InstanceAddress) => boolean,
): InstanceAddress | null {
  if (isSingle(range)) {
    for (let shared = firstSharedPort; shared <= lastPort; shared += 1) {
      const slot = { address: range.address, port: shared };
      if (isFree(slot)) return slot;
    }
    return null;
  }
  // The first address names the network and the last one is its broadcast address.
  const first = networkNumber(range) + 1;
  const last = networkNumber(range) + 2 ** (32 - range.prefixLength) - 2;
  for (let number = first; number <= last; number += 1) {
    const slot = { address: textOf(number), port };
    if (isFree(slot)) return slot;
  }
  return null;
}

const isOfEdge = (edge: readonly BindAddress[], { address, port }: InstanceAddress): boolean =>
  edge.some((bind) => bind.port === port && (isEveryAddress(bind) || bind.address === address));

/** `127.77.0.0/16` or `127.0.0.1`. */
export function readAddressRange(text: string): AddressRange {
  const [address = '', prefixLength] = text.split('/');
  return { address, prefixLength: Number(prefixLength ?? 32) };
}

/** Whether it is one of a range's own; network and broadcast addresses are not. */
export function isInRange(range: AddressRange, address: string): boolean {
  if (isSingle(range)) return address === range.address;
  const offset = numberOf(address) - networkNumber(range);
  return offset > 0 && offset < 2 ** (32 - range.prefixLength) - 1;
}

/** The first of a range's addresses, which names it, as a number. */
export const networkNumber = (range: AddressRange): number =>
  numberOf(range.address) - (numberOf(range.address) % 2 ** (32 - range.prefixLength));

/** Whether it is a name, which DNS has to know, and no IPv4 address. */
export const isHostName = ({ address }: ServerAddress): boolean => !/^[0-9.]+$/.test(address);

/** An IPv4 address as a number. */
export const numberOf = (address: string): number =>
  address.split('.').reduce((number, part) => number * 256 + Number(part), 0);

/** The reverse of `numberOf`. */
export const textOf = (number: number): string => [24, 16, 8, 0].map((bits) => (number >>> bits) & 255).join('.');
