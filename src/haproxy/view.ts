import type {
  AddressBook,
  AppliedConfiguration,
  BalanceConfiguration,
  ComponentConfiguration,
  Configuration,
  EnvironmentConfiguration,
} from '../domain/configuration.js';
import { type EnvironmentState, neverDeployed, otherColor } from '../domain/edge-state.js';
import { backendName, instanceName } from '../domain/names.js';
import { routesInOrder } from '../domain/routes.js';
import { BasculeError } from '../errors.js';

/** What the templates lay out: every word of it is ready to be printed. */
export interface ConfigurationView {
  readonly socket: string;
  readonly bind: string;
  readonly hardStopAfter: string;
  readonly httpKeepAlive: string;
  /** `<name> <condition>` each; an ACL holds where one of its lines does. */
  readonly hostAcls: readonly string[];
  readonly routeAcls: readonly string[];
  readonly environments: readonly EnvironmentView[];
}

interface EnvironmentView {
  readonly name: string;
  /** `<backend> if <conditions>`, in the order in which they are tried. */
  readonly uses: readonly string[];
  readonly backends: readonly BackendView[];
}

interface BackendView {
  readonly name: string;
  readonly balance: readonly string[];
  readonly tunnelTimeout: string | null;
  readonly health: { readonly path: string; readonly host: string; readonly timing: string };
  /** The active color's line first. */
  readonly servers: readonly string[];
}

/**
 * What haproxy.cfg says for a configuration and the states of its environments.
 *
 * @throws `edge-value-unsafe` where a word holds what HAProxy would not read as one plain word
 */
export function configurationView(
  { configuration, addresses }: AppliedConfiguration,
  states: readonly EnvironmentState[],
): ConfigurationView {
  const { edge, components, environments } = configuration;
  return {
    socket: pathWord(edge.files.socket),
    bind: `${word(edge.http.address)}:${edge.http.port}`,
    hardStopAfter: duration(edge.hardStopAfterMs),
    httpKeepAlive: duration(edge.httpKeepAliveMs),
    hostAcls: alignedColumns(
      environments.flatMap(({ name, hosts }) =>
        hosts.map((host) => [hostAcl(name), `var(txn.host) -m str ${word(host)}`]),
      ),
    ),
    routeAcls: alignedColumns(
      namedRoutes(components).flatMap(({ acl, prefix }) =>
        conditionsOf(word(prefix)).map((condition) => [acl, ...condition]),
      ),
    ),
    environments: environments.map((environment) =>
      environmentView(
        configuration,
        addresses,
        environment,
        states.find(({ name }) => name === environment.name) ?? neverDeployed(environment.name),
      ),
    ),
  };
}

function environmentView(
  { components }: Configuration,
  addresses: AddressBook,
  environment: EnvironmentConfiguration,
  state: EnvironmentState,
): EnvironmentView {
  const name = word(environment.name);
  const backend = (component: ComponentConfiguration) => backendName(name, word(component.pool));
  return {
    name,
    uses: alignedColumns([
      ...namedRoutes(components).map(({ component, acl }) => [backend(component), `if ${hostAcl(name)} ${acl}`]),
      ...components
        .filter(({ isDefault }) => isDefault)
        .map((component) => [backend(component), `if ${hostAcl(name)}`]),
    ]),
    backends: components.map((component) => ({
      name: backend(component),
      balance: balanceLines(component.balance, name),
      tunnelTimeout: component.timeouts.tunnelMs === undefined ? null : duration(component.timeouts.tunnelMs),
      health: {
        path: word(component.health.path),
        host: word(environment.hosts[0] ?? 'localhost'),
        timing: checkTiming(component),
      },
      servers: serverLines(environment, component, state, addresses),
    })),
  };
}

/** A component's only route has its name, several are numbered. */
function namedRoutes(components: readonly ComponentConfiguration[]) {
  return routesInOrder(components).map(({ component, prefix }) => {
    const number =
      component.routes.length === 1 ? '' : `_${component.routes.findIndex((each) => each.prefix === prefix) + 1}`;
    return { component, prefix, acl: `route_${word(component.name)}${number}` };
  });
}

/** The same rule as `componentForPath` of the domain. */
function conditionsOf(prefix: string): readonly (readonly [string, string])[] {
  return prefix.endsWith('/')
    ? [['path_beg', prefix]]
    : [
        ['path', prefix],
        ['path_beg', `${prefix}/`],
      ];
}

const hostAcl = (environment: string): string => `host_${word(environment)}`;

function balanceLines(balance: BalanceConfiguration, environment: string): readonly string[] {
  switch (balance.kind) {
    case 'roundrobin':
      return ['balance roundrobin'];
    case 'cookie':
      return [
        'balance roundrobin',
        '# The cookie names the place in the pool, never the color, and no standby has it: after a switch it leads to the new color.',
        `cookie ${word(balance.cookie)}_${environment} insert indirect nocache httponly`,
      ];
    case 'hash-uri':
      return ['balance uri', 'hash-type consistent'];
  }
}

/** A server that is down or about to change is asked more often, so that a failure and its end are seen soon. */
function checkTiming({ health }: ComponentConfiguration): string {
  const { intervalMs, fall, rise } = health;
  const fast = duration(Math.min(intervalMs, 250));
  const down = duration(Math.min(intervalMs, 500));
  return `inter ${duration(intervalMs)} fastinter ${fast} downinter ${down} fall ${fall} rise ${rise}`;
}

function serverLines(
  environment: EnvironmentConfiguration,
  component: ComponentConfiguration,
  state: EnvironmentState,
  addresses: AddressBook,
): readonly string[] {
  const active = component.balance.kind === 'cookie' ? 'cookie s1' : '';
  // With weight 0 it is checked, and never chosen.
  const inactive = state.standby === null ? 'backup weight 0' : 'backup';
  return alignedColumns(
    [state.color, otherColor(state.color)].map((color) => {
      const instance = instanceName(environment, component.name, color);
      const address = addresses[instance];
      if (!address) throw new BasculeError('instance-without-address', { instance });
      return [word(instance), `${word(address.address)}:${address.port}`, color === state.color ? active : inactive];
    }),
  );
}

function alignedColumns(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(width(column)))
      .join(' ')
      .trimEnd(),
  );
}

function duration(milliseconds: number): string {
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (milliseconds >= size && milliseconds % size === 0) return `${milliseconds / size}${unit}`;
  }
  return `${milliseconds}ms`;
}

/** The loader has checked each value by its kind already; this holds where applied.json was edited by hand. */
function word(value: string): string {
  if (!/^(?!-)[A-Za-z0-9._~:/*-]+$/.test(value)) throw new BasculeError('edge-value-unsafe', { value });
  return value;
}

/** HAProxy takes a comma for the end of an address, and expands $ even within quotes. */
function pathWord(path: string): string {
  if (!/^\/[^\p{C},$'"\\]*$/u.test(path)) throw new BasculeError('edge-value-unsafe', { value: path });
  return /^[A-Za-z0-9._~/-]+$/.test(path) ? path : `'${path}'`;
}
