import { isHostName } from '../domain/addresses.js';
import {
  type AddressBook,
  type AppliedConfiguration,
  type BalanceConfiguration,
  type ComponentConfiguration,
  type EnvironmentConfiguration,
  healthHost,
  redirectedHosts,
  type ServerAddress,
} from '../domain/configuration.js';
import { type EnvironmentState, otherColor } from '../domain/edge-state.js';
import { backendName, instanceName } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { addressWord, alignedColumns, durationWord, word } from './words.js';

/** A component's pool: its directives in the order of the file, and its servers. */
export interface BackendView {
  readonly name: string;
  readonly balance: readonly string[];
  /** `<name> <duration>` each, where they are not those of the defaults. */
  readonly timeouts: readonly string[];
  readonly health: {
    readonly path: string;
    readonly host: string;
    readonly timing: string;
    /** How long a connection and an answer may take; null where those of the defaults are short enough. */
    readonly timeout: string | null;
  };
  /** Whether names of its servers are looked up in DNS. */
  readonly isResolved: boolean;
  readonly servers: readonly string[];
  /** The operator's own lines. */
  readonly extra: readonly string[];
}

/** Pools of an environment: of each component the active color's server and the other one. */
export function environmentBackends(
  applied: AppliedConfiguration,
  environment: EnvironmentConfiguration,
  state: EnvironmentState,
): readonly BackendView[] {
  return applied.configuration.components.map((component) =>
    backendView(applied, component, {
      environment: word(environment.name),
      hosts: environment.hosts,
      servers: colorServers(environment, component, state, applied.addresses),
    }),
  );
}

/** Pools of multi-instance: of each component its listed instances, or the fallback where they are not known. */
export function instanceBackends(applied: AppliedConfiguration): readonly BackendView[] {
  return applied.configuration.components.map((component) =>
    backendView(applied, component, {
      environment: null,
      hosts: [],
      servers: sideBySideServers(component, applied.addresses),
    }),
  );
}

export interface Server {
  readonly name: string;
  readonly address: ServerAddress;
  /** What stands behind its address. */
  readonly role: string;
}

function backendView(
  applied: AppliedConfiguration,
  component: ComponentConfiguration,
  pool: {
    readonly environment: string | null;
    readonly hosts: readonly string[];
    readonly servers: readonly Server[];
  },
): BackendView {
  const { edge } = applied.configuration;
  const { serverMs, tunnelMs } = component.timeouts;
  return {
    name: backendName(pool.environment, word(component.pool)),
    balance: [
      ...balanceLines(component.balance, pool.environment, isOverHttps(applied, pool.hosts)),
      ...(pool.environment === null ? drainLines(component, pool.servers) : []),
    ],
    timeouts: [
      ...(serverMs === undefined ? [] : [`server ${durationWord(serverMs)}`]),
      ...(tunnelMs === undefined ? [] : [`tunnel ${durationWord(tunnelMs)}`]),
    ],
    health: {
      path: word(component.health.path),
      host: word(healthHost(pool)),
      timing: checkTiming(component),
      timeout: checkTimeout(component),
    },
    isResolved: pool.servers.some(({ address }) => isHostName(address)),
    servers: alignedColumns(pool.servers.map(({ name, address, role }) => [word(name), addressWord(address), role])),
    extra: linesOf(own(edge.extra?.backend, component.name)),
  };
}

/** The active color's line comes first. */
function colorServers(
  environment: EnvironmentConfiguration,
  component: ComponentConfiguration,
  state: EnvironmentState,
  addresses: AddressBook,
): readonly Server[] {
  const active = component.balance.kind === 'cookie' ? 'cookie s1' : '';
  // With weight 0 it is checked, and never chosen.
  const inactive = state.standby === null ? 'backup weight 0' : 'backup';
  return [state.color, otherColor(state.color)].map((color) => {
    const name = instanceName(environment, component.name, color);
    return { name, address: addressOf(name, addresses), role: color === state.color ? active : inactive };
  });
}

/** The servers of a component's pool in multi-instance. */
export function sideBySideServers(component: ComponentConfiguration, addresses: AddressBook): readonly Server[] {
  const { instances = [], fallback = [] } = component;
  const isKnown = instances.some((name) => own(addresses, name));
  const servers = isKnown
    ? instances.map((name) => ({ name, address: addressOf(name, addresses) }))
    : fallback.map((address, index) => ({ name: `${component.name}-${index + 1}`, address }));
  return servers.map(({ name, address }) => ({
    name,
    address,
    role: component.balance.kind === 'cookie' ? `cookie ${word(name)}` : '',
  }));
}

function addressOf(instance: string, addresses: AddressBook): ServerAddress {
  const address = own(addresses, instance);
  if (!address) throw new BasculeError('instance-without-address', { instance });
  return address;
}

/** Not what every object has: a component or an instance may be named `constructor`. */
const own = <Value>(of: Readonly<Record<string, Value>> | undefined, key: string): Value | undefined =>
  of && Object.hasOwn(of, key) ? of[key] : undefined;

/** Whether http redirects every one of these hosts to https: a cookie that is `secure` gets lost on the way over http. */
function isOverHttps(applied: AppliedConfiguration, hosts: readonly string[]): boolean {
  if (applied.configuration.edge.https === undefined) return false;
  const redirected = redirectedHosts(applied);
  return redirected === null || (redirected.length > 0 && hosts.every((host) => redirected.includes(host)));
}

export const linesOf = (text: string | undefined): readonly string[] =>
  text === undefined ? [] : text.replace(/\n$/, '').split('\n');

function balanceLines(balance: BalanceConfiguration, environment: string | null, isSecure: boolean): readonly string[] {
  switch (balance.kind) {
    case 'roundrobin':
      return ['balance roundrobin'];
    case 'cookie': {
      const attributes = `insert indirect nocache httponly${isSecure ? ' secure' : ''} attr SameSite=Lax`;
      if (environment === null) return ['balance roundrobin', `cookie ${word(balance.cookie)} ${attributes}`];
      return [
        'balance roundrobin',
        '# The cookie names the place in the pool, never the color, and no standby has it: after a switch it leads to the new color.',
        `cookie ${word(balance.cookie)}_${environment} ${attributes}`,
      ];
    }
    case 'hash-uri':
      return [
        '# One URI stays on one server; when a server comes or goes, only its own share moves. Its path alone counts:',
        '# else HTTP/2, where the target is a whole URL, would find another server than HTTP/1.',
        `balance uri path-only${balance.depth === undefined ? '' : ` depth ${balance.depth}`}`,
        'hash-type consistent',
      ];
  }
}

/** A server that is drained is about to be replaced: those that its cookie leads to it would be cut then. */
function drainLines({ balance, pool }: ComponentConfiguration, servers: readonly Server[]): readonly string[] {
  if (balance.kind !== 'cookie') return [];
  const [cookie, backend] = [word(balance.cookie), backendName(null, word(pool))];
  const ofServer = (server: string) =>
    `http-request replace-header Cookie '^(.*[; ])?${cookie}=${server}(;.*)?$' '\\1${cookie}=-\\2' if { srv_weight(${backend}/${server}) eq 0 }`;
  return [
    '# Whose cookie names a server that is drained gets another one, and its cookie: nobody is left there when it ends.',
    ...servers.map(({ name }) => ofServer(word(name))),
  ];
}

/** Between the checks of a server that is about to change, and of one that is down. */
const [fastMs, downMs] = [250, 500];
/** `timeout check` of the defaults. */
const longestCheckMs = 2_000;
/** A healthy instance on a busy machine may take as long. */
const shortestCheckMs = 500;
/** Of the second beyond `fall` × `interval`; the rest is for a busy machine. */
const checkSlackMs = 600;

/** A server that is down or about to change is asked more often, so that a failure and its end are seen soon. */
function checkTiming({ health, slowStartMs }: ComponentConfiguration): string {
  const { intervalMs, fall, rise } = health;
  const fast = durationWord(Math.min(intervalMs, fastMs));
  const down = durationWord(Math.min(intervalMs, downMs));
  const slowStart = slowStartMs === undefined ? '' : ` slowstart ${durationWord(slowStartMs)}`;
  return `inter ${durationWord(intervalMs)} fastinter ${fast} downinter ${down} fall ${fall} rise ${rise}${slowStart}`;
}

/**
 * Short enough that a server which takes connections and answers none is down within `fall` × `interval` + 1 s: the first
 * check that fails begins up to an interval late, each takes this long, and between two lies `fastinter`. Below an interval
 * of half a second it takes longer than that: a healthy one must not be taken for one that hangs.
 */
function checkTimeout({ health: { intervalMs, fall } }: ComponentConfiguration): string | null {
  const most = ((fall - 1) * (intervalMs - Math.min(intervalMs, fastMs)) + checkSlackMs) / fall;
  return most < longestCheckMs ? durationWord(Math.max(shortestCheckMs, Math.floor(most / 50) * 50)) : null;
}
