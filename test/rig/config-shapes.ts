import type { Shape } from './config-draft.js';

/** Configurations with a place for every string that bascule.yaml may hold, and for every name that is a key. */

type Value = Parameters<Shape<unknown>>[0];
type Named<Item> = Readonly<Record<string, Item>>;

export interface ComponentShape {
  readonly pool: string;
  readonly port: number;
  readonly health: { readonly path: string; readonly interval: string; readonly fall: number; readonly rise: number };
  readonly routes: readonly { readonly prefix: string; readonly extensions?: readonly string[] }[];
  readonly default: boolean;
  readonly balance?: { readonly cookie: string } | { readonly hash: 'uri' };
  readonly slowStart?: string;
  readonly timeouts: { readonly tunnel: string };
  readonly instances?: readonly string[];
  readonly fallback?: readonly string[];
}

export interface EdgeShape {
  readonly http: string;
  readonly https?: string;
  readonly hsts?: { readonly maxAge: string; readonly includeSubdomains: boolean };
  readonly runtime?: string;
  readonly metrics?: string;
  readonly log?: { readonly to: string; readonly format: string };
  readonly files: { readonly certificates: string; readonly socket: string };
  readonly httpKeepAlive: string;
  readonly hardStopAfter: string;
}

export interface BlueGreenShape {
  readonly edge: EdgeShape;
  readonly environments: Named<{ readonly prefix: string; readonly hosts: readonly string[] }>;
  readonly components: Named<ComponentShape>;
  readonly external: Named<
    { readonly hosts: readonly string[] } & ({ readonly server: string } | { readonly respond: number })
  >;
  readonly certificates?: { readonly domains: readonly (readonly string[])[]; readonly challenge?: string };
  readonly instances: { readonly domain?: string };
}

export interface PoolsShape {
  readonly edge: EdgeShape;
  readonly components: Named<ComponentShape>;
  readonly instances: { readonly domain?: string };
}

const count = (many: number): readonly number[] => Array.from({ length: many }, (_, index) => index);
const named = <Item>(many: number, one: (index: number) => readonly [string, Item]): Named<Item> =>
  Object.fromEntries(count(many).map(one));

function edge(value: Value, isHttps: boolean, components: readonly string[]) {
  return {
    name: value('nameElsewhere', 'base'),
    http: value('bind', '127.0.0.1:101'),
    ...(isHttps && {
      https: value('bind', '127.0.0.1:102'),
      hsts: { maxAge: value('days', '365d'), includeSubdomains: true },
    }),
    runtime: value('bind', '127.0.0.1:103'),
    metrics: value('bind', '127.0.0.1:104'),
    log: { to: value('logTarget', 'stdout'), format: value('logFormat', 'json') },
    errors: { [value('status', '502')]: value('opened', 'opened/base'), 503: value('opened', 'opened/base') },
    extra: {
      global: value('opened', 'opened/base'),
      defaults: value('opened', 'opened/base'),
      frontend: value('opened', 'opened/base'),
      backend: Object.fromEntries(components.map((name) => [name, value('opened', 'opened/base')])),
    },
    files: {
      config: value('file', 'base/haproxy.cfg'),
      state: value('file', 'base/state'),
      certificates: value('folder', 'base/certificates'),
      socket: value('socket', 'base.sock'),
      master: value('masterSocket', 'base-master.sock'),
    },
    httpKeepAlive: value('positiveDuration', '5s'),
    hardStopAfter: value('positiveDuration', '1h'),
  };
}

/** Settings of the second component are round robin without slow start, those of the third hash the URI. */
function component(value: Value, index: number) {
  return {
    pool: value('pool', `base${index}_pool`),
    port: 8_000 + index,
    health: { path: value('urlPath', '/health'), interval: value('positiveDuration', '2s'), fall: 3, rise: 2 },
    routes: [
      { prefix: value('urlPath', `/base-${index}`) },
      {
        prefix: value('urlPath', `/base-${index}/`),
        extensions: count(index === 2 ? 70 : 3).map((each) => value('extension', `base${index}x${each}`)),
      },
    ],
    default: index === 0,
    ...(index === 0 && {
      balance: { cookie: value('cookie', 'BASE') },
      slowStart: value('positiveDuration', '30s'),
    }),
    ...(index === 2 && { balance: { hash: 'uri' as const } }),
    timeouts: { tunnel: value('positiveDuration', '1h') },
  };
}

function program(value: Value) {
  return {
    run: [value('program', 'node'), value('text', 'server.mjs')],
    migrate: {
      command: [value('program', 'node'), value('text', '')],
      timeout: value('positiveDurationElsewhere', '10m'),
    },
    env: {
      [value('variable', 'BASE_1')]: value('text', 'text'),
      [value('variable', 'BASE_2')]: { env: value('variable', 'BASE') },
      [value('variable', 'BASE_3')]: { file: value('opened', 'secret') },
    },
    startDeadline: value('positiveDurationElsewhere', '60s'),
    stopGrace: value('duration', '30s'),
  };
}

const artifacts = (value: Value) => ({
  url: value('artifact', 'file:./{sha}'),
  checksum: value('checksum', '{url}.sha256'),
  token: { env: value('variable', 'TOKEN') },
  maxSize: value('size', '2GB'),
  timeout: value('positiveDurationElsewhere', '10m'),
});

/** Two environments of three components, four sites, certificates: on Incus with https, or as processes with http alone. */
function blueGreen(value: Value, driver: 'incus' | 'process'): BlueGreenShape {
  const isIncus = driver === 'incus';
  const components = named(3, (index) => [
    value('componentOfPrefix', `base-${index}`),
    {
      ...component(value, index),
      ...program(value),
      ...(isIncus && { user: value('user', 'base'), profiles: [value('nameElsewhere', 'base')] }),
    },
  ]);
  const written = {
    version: 1,
    project: value('nameElsewhere', 'base'),
    environments: named(2, (index) => [
      value('name', `base-${index}`),
      {
        prefix: value('prefix', `base-${index}-`),
        hosts: count(3).map((each) => value('host', `base-${index}-${each}.example.org`)),
        soak:
          index === 0
            ? value('duration', '60s')
            : { for: value('duration', '60s'), errorShare: value('percentage', '1%'), minRequests: 50 },
        drain: value('duration', '5m'),
      },
    ]),
    components,
    edge: {
      ...edge(value, isIncus, Object.keys(components)),
      ...(isIncus && { host: { driver: 'incus', instance: value('nameElsewhere', 'base') } }),
    },
    external: named(4, (index) => [
      value('name', `base-site-${index}`),
      {
        hosts: count(2).map((each) => value('host', `base-site-${index}-${each}.example.org`)),
        ...(index === 3 ? { respond: 503 } : { server: value('serverAddress', '10.0.0.1:80') }),
      },
    ]),
    ...(isIncus && {
      certificates: {
        ca: value('authority', 'letsencrypt'),
        // Opened, and rendered nowhere: any path will do.
        caFile: 'base/roots.pem',
        eab: { keyId: 'base', key: { file: 'base/eab' } },
        profile: 'base',
        keys: ['ecdsa', 'rsa2048'],
        email: value('email', 'base@example.org'),
        challenge: value('serverAddress', '127.0.0.1:8888'),
        domains: count(2).map((index) =>
          count(3).map((each) => value('host', `base-${index}-${each}.certificate.example.org`)),
        ),
      },
    }),
    artifacts: artifacts(value),
    instances: isIncus
      ? { driver, image: value('image', 'images:debian/13'), domain: value('domain', 'lxd') }
      : { driver, addresses: value('range', '127.77.0.0/16'), directory: value('file', 'instances') },
  };
  return written;
}

/** Three pools of instances that Incus knows by a domain, or of which nothing but the addresses is known. */
function pools(value: Value, of: 'instances' | 'addresses'): PoolsShape {
  const isKnown = of === 'instances';
  const components = named(3, (index) => [
    value('name', `base-${index}`),
    {
      ...component(value, index),
      ...(isKnown && { instances: count(4).map((each) => value('name', `base-${index}-${each}`)) }),
      ...(!isKnown && { fallback: count(4).map(() => value('serverAddress', '10.0.0.1:8080')) }),
    },
  ]);
  const written = {
    version: 1,
    project: value('nameElsewhere', 'base'),
    topology: 'multi-instance',
    components,
    edge: edge(value, !isKnown, Object.keys(components)),
    instances: {
      driver: 'incus',
      image: value('image', 'images:debian/13'),
      ...(isKnown && { domain: value('domain', 'lxd') }),
    },
  };
  return written;
}

export const blueGreenShapes: Readonly<Record<'incus' | 'process', Shape<BlueGreenShape>>> = {
  incus: (value) => blueGreen(value, 'incus'),
  process: (value) => blueGreen(value, 'process'),
};
export const poolsShapes: Readonly<Record<'instances' | 'addresses', Shape<PoolsShape>>> = {
  instances: (value) => pools(value, 'instances'),
  addresses: (value) => pools(value, 'addresses'),
};
