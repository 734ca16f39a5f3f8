import { networkNumber, readAddressRange, textOf } from '../domain/addresses.js';
import type { Color } from '../domain/edge-state.js';

/** Who made an instance of Incus, and for what: what lacks these, or has others, is never touched. */
export interface Marks {
  readonly project: string;
  readonly environment: string;
  readonly component: string;
  /** Null in multi-instance. */
  readonly color: Color | null;
}

/** Where Incus finds an image (`source` of its REST API). */
export type ImageSource =
  | { readonly type: 'image'; readonly fingerprint: string }
  | {
      readonly type: 'image';
      readonly mode: 'pull';
      readonly protocol: string;
      readonly server: string;
      readonly alias: string;
      /** PEM, where no public authority vouches for the server. */
      readonly certificate?: string;
    };

export type Devices = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The network card that an address is for: by its name, as a profile has it. */
export interface NetworkCard {
  readonly name: string;
  readonly network: string;
  readonly device: Readonly<Record<string, string>>;
}

const markKeys = ['project', 'environment', 'component', 'color'] as const;

/** Incus's keys of these marks. */
export function marksOf({ project, environment, component, color }: Marks): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries({ project, environment, component, color: color ?? 'none' }).map(([name, value]) => [
      `user.bascule.${name}`,
      value,
    ]),
  );
}

/** For whom an instance was made, as a person reads it; null where Bascule did not make it. */
export function markedFor(config: Readonly<Record<string, string>>): string | null {
  const marks = markKeys.map((name) => config[`user.bascule.${name}`] ?? '');
  return marks[0] === '' ? null : marks.filter((mark) => mark !== 'none').join(' ');
}

/** What Incus is asked for (`POST /1.0/instances`). */
export function containerDefinition(of: {
  name: string;
  marks: Marks;
  owner: string;
  source: ImageSource;
  profiles: readonly string[];
  card: NetworkCard;
  address: string;
}) {
  const { name, marks, owner, source, profiles, card, address } = of;
  return {
    name,
    type: 'container',
    source,
    profiles,
    config: { 'boot.autostart': 'true', ...marksOf(marks), 'user.bascule.owner': owner },
    devices: { [card.name]: { ...card.device, 'ipv4.address': address, hwaddr: hardwareAddress(address) } },
  };
}

/**
 * Goes with the address: whoever has sent to an instance, as the edge does all the time, remembers it for up to a minute,
 * in which one that is made anew would not be reached at another. Incus's own begin so too, and end at random.
 */
function hardwareAddress(address: string): string {
  const bytes = address
    .split('.')
    .slice(1)
    .map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return ['10', '66', '6a', ...bytes].join(':');
}

/** Incus's name of a component's volume of data; `instance` is one of its own. */
export function dataVolumeName({ project, component, color }: Marks, instance: string): string {
  return `${color === null ? `${project}-${component}` : instance.slice(0, -`-${color}`.length)}-data`;
}

/** The storage pool that an instance's own disk is of; null where none of its profiles has one. */
export function rootPoolOf(devices: Devices): string | null {
  return Object.values(devices).find(({ type, path }) => type === 'disk' && path === '/')?.pool ?? null;
}

/** The first network card of a bridge that Incus manages. */
export function networkCardOf(devices: Devices): NetworkCard | null {
  for (const [name, device] of Object.entries(devices)) {
    if (device.type === 'nic' && device.network !== undefined) return { name, network: device.network, device };
  }
  return null;
}

/**
 * The last address of a bridge's subnet that nobody has; null where all are taken. Those that Incus gives out by itself
 * it gives out anywhere in it, and none that is in use.
 */
export function freeAddress(bridge: string, taken: ReadonlySet<string>): string | null {
  const range = readAddressRange(bridge);
  const network = networkNumber(range);
  // The first one names the network, and the last one is for all of it.
  for (let number = network + 2 ** (32 - range.prefixLength) - 2; number > network; number -= 1) {
    const candidate = textOf(number);
    if (candidate !== range.address && !taken.has(candidate)) return candidate;
  }
  return null;
}
