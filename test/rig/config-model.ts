import type { BlueGreenShape, ComponentShape, EdgeShape, PoolsShape } from './config-shapes.js';
import type { HaproxySection } from './haproxy-words.js';

/**
 * What a configuration of the shapes stands for, told from bascule.yaml and docs alone: sections in their order, and in each
 * the lines that carry a value. Every other line is the same in any configuration of the shape.
 */
export interface SectionModel {
  readonly head: string;
  readonly lines: readonly LineModel[];
  /** The frontend's alone. */
  readonly routing?: {
    readonly acls: readonly string[];
    readonly uses: readonly UseModel[];
    readonly otherwise: string;
  };
}

/** Its words; `open` where constant words follow. */
type LineModel = { readonly words: readonly string[]; readonly open?: true };

/** A `use_backend`, its conditions by what they test: each is a list of alternatives. */
interface UseModel {
  readonly backend: string;
  readonly conditions: readonly (readonly string[])[];
}

export interface Colors {
  /** By position of the environment. */
  readonly active: readonly ('blue' | 'green')[];
  readonly hasStandby: readonly boolean[];
}

export function blueGreenModel(input: BlueGreenShape, { active, hasStandby }: Colors): readonly SectionModel[] {
  const environments = Object.entries(input.environments);
  const components = Object.entries(input.components);
  const external = Object.entries(input.external);
  const covered = input.certificates?.domains.flat().map((host) => host.toLowerCase());
  const { domain } = input.instances;
  const hostLines = (name: string, hosts: readonly string[]) =>
    hosts.map((host) => `host_${name} var(txn.host) -m str ${host.toLowerCase()}`);
  const pools = environments.flatMap(([environment, { prefix, hosts }], place) =>
    components.map(([name, component]) => {
      const color = active[place] ?? 'blue';
      const other = color === 'blue' ? 'green' : 'blue';
      const server = (of: string, role: string): LineModel => {
        const instance = `${prefix}${name}-${of}`;
        // Which address a process has is not told by the configuration.
        const address = domain === undefined ? '*' : `${instance}.${domain.toLowerCase()}:${component.port}`;
        return line(`server ${instance} ${address} ${role}`);
      };
      const cookie = component.balance && 'cookie' in component.balance ? component.balance.cookie : null;
      return backend(`${environment}_${component.pool}`, component, {
        host: hosts[0]?.toLowerCase() ?? '',
        cookie: cookie === null ? null : `${cookie}_${environment}`,
        isResolved: domain !== undefined,
        servers: [
          server(color, cookie === null ? '' : 'cookie s1'),
          server(other, hasStandby[place] ? 'backup' : 'backup weight 0'),
        ],
      });
    }),
  );
  const sites = external.map(([name, site]): SectionModel => {
    const head = `backend ${name}_backend`;
    if (!('server' in site))
      return { head, lines: [{ words: ['http-request', 'return', 'status', '503'], open: true }] };
    return {
      head,
      lines: [
        line(`server ${name} ${site.server} inter 5s on-error fastinter ${isName(site.server) ? resolving : ''}`),
      ],
    };
  });
  const challenge = input.certificates?.challenge;
  const isResolved =
    domain !== undefined ||
    external.some(([, site]) => 'server' in site && isName(site.server)) ||
    (challenge !== undefined && isName(challenge));
  return [
    ...head(input.edge, isResolved),
    {
      head: 'frontend edge',
      lines: [
        ...frontendLines(input.edge),
        ...(input.edge.log?.format === 'json'
          ? environments.map(([name]) => line(`http-request set-var(txn.environment) str(${name}) if host_${name}`))
          : []),
      ],
      routing: {
        acls: [
          ...environments.flatMap(([name, { hosts }]) => hostLines(name, hosts)),
          ...external.flatMap(([name, { hosts }]) => hostLines(name, hosts)),
          ...(covered ?? []).map((host) => `has_certificate var(txn.host) -m str ${host}`),
          ...(input.edge.https === undefined && challenge === undefined ? [] : [challengeAcl]),
        ],
        uses: [
          ...(challenge === undefined ? [] : [{ backend: 'letsencrypt_backend', conditions: [[challengePath]] }]),
          ...environments.flatMap(([environment, { hosts }]) => {
            const isHost = hosts.map((host) => `var(txn.host) -m str ${host.toLowerCase()}`);
            return [
              ...routesOf(components).map(({ pool, conditions }) => ({
                backend: `${environment}_${pool}`,
                conditions: [isHost, ...conditions],
              })),
              ...components
                .filter(([, component]) => component.default)
                .map(([, { pool }]) => ({ backend: `${environment}_${pool}`, conditions: [isHost] })),
            ];
          }),
          ...external.map(([name, { hosts }]) => ({
            backend: `${name}_backend`,
            conditions: [hosts.map((host) => `var(txn.host) -m str ${host.toLowerCase()}`)],
          })),
        ],
        otherwise: 'default_503',
      },
    },
    ...pools,
    ...sites,
    ...(challenge === undefined
      ? []
      : [
          {
            head: 'backend letsencrypt_backend',
            lines: [line(`server challenge ${challenge} no-check ${isName(challenge) ? resolving : ''}`)],
          },
        ]),
    { head: 'backend default_503', lines: [] },
  ];
}

export function poolsModel(input: PoolsShape): readonly SectionModel[] {
  const components = Object.entries(input.components);
  const { domain } = input.instances;
  const pools = components.map(([name, component]) => {
    const { instances, fallback = [], port } = component;
    const cookie = component.balance && 'cookie' in component.balance ? component.balance.cookie : null;
    const servers = instances
      ? instances.map((instance) => ({ instance, address: `${instance}.${domain?.toLowerCase()}:${port}` }))
      : fallback.map((address, index) => ({ instance: `${name}-${index + 1}`, address }));
    return backend(component.pool, component, {
      host: 'localhost',
      cookie,
      isResolved: servers.some(({ address }) => isName(address)),
      servers: servers.map(({ instance, address }) =>
        line(`server ${instance} ${address} ${cookie === null ? '' : `cookie ${instance}`}`),
      ),
      drained: cookie === null ? [] : servers.map(({ instance }) => takenFromCookie(cookie, component.pool, instance)),
    });
  });
  const isResolved = pools.some(({ lines }) => lines.some(({ words }) => words[1] === 'resolvers'));
  return [
    ...head(input.edge, isResolved),
    {
      head: 'frontend edge',
      lines: frontendLines(input.edge),
      routing: {
        acls: input.edge.https === undefined ? [] : [challengeAcl],
        uses: routesOf(components).map(({ pool, conditions }) => ({ backend: pool, conditions })),
        otherwise: components.find(([, component]) => component.default)?.[1].pool ?? '',
      },
    },
    ...pools,
  ];
}

const challengePath = 'path_beg /.well-known/acme-challenge/';
const challengeAcl = `acme_challenge ${challengePath}`;
const resolving = 'resolvers dns resolve-prefer ipv4 init-addr libc,none';

const line = (text: string): LineModel => ({ words: text.split(' ').filter((word) => word !== '') });
const open = (text: string): LineModel => ({ ...line(text), open: true });
const isName = (address: string): boolean => !/^[0-9.]+:/.test(address);

function head(edge: EdgeShape, isResolved: boolean): readonly SectionModel[] {
  const { to = '' } = edge.log ?? {};
  return [
    {
      head: 'global',
      lines: [
        open(`stats socket ${edge.files.socket}`),
        open(`stats socket ${edge.runtime}`),
        line(`log ${to === 'stdout' ? 'stdout len 8192 format raw' : `${to} len 8192`} local0`),
        line(`hard-stop-after ${edge.hardStopAfter}`),
      ],
    },
    { head: 'defaults', lines: [line(`timeout http-keep-alive ${edge.httpKeepAlive}`)] },
    ...(isResolved ? [{ head: 'resolvers dns', lines: [] }] : []),
    { head: 'frontend metrics', lines: [line(`bind ${edge.metrics}`)] },
  ];
}

function frontendLines({ http, https, hsts, files }: EdgeShape): readonly LineModel[] {
  if (https === undefined) return [line(`bind ${http}`)];
  const port = https.split(':')[1];
  const seconds = Number.parseInt(hsts?.maxAge ?? '', 10) * 86_400;
  return [
    line(`bind ${http}`),
    open(`bind ${https} ssl crt ${files.certificates}/`),
    open(`http-request redirect location https://%[var(txn.host)]${port === '443' ? '' : `:${port}`}%[pathq]`),
    ...(hsts
      ? [
          {
            words: [
              'http-after-response',
              'set-header',
              'Strict-Transport-Security',
              `max-age=${seconds}; includeSubDomains`,
            ],
            open: true as const,
          },
        ]
      : []),
  ];
}

const takenFromCookie = (cookie: string, pool: string, server: string): LineModel => ({
  words: [
    ...['http-request', 'replace-header', 'Cookie', `^(.*[; ])?${cookie}=${server}(;.*)?$`, `\\1${cookie}=-\\2`],
    ...['if', '{', `srv_weight(${pool}/${server})`, 'eq', '0', '}'],
  ],
});

function backend(
  name: string,
  { health, timeouts, slowStart }: ComponentShape,
  pool: {
    readonly host: string;
    readonly cookie: string | null;
    readonly isResolved: boolean;
    readonly servers: readonly LineModel[];
    /** Of servers side by side: to which a cookie leads nobody. */
    readonly drained?: readonly LineModel[];
  },
): SectionModel {
  const interval = milliseconds(health.interval);
  const slow = slowStart === undefined ? '' : ` slowstart ${slowStart}`;
  return {
    head: `backend ${name}`,
    lines: [
      ...(pool.cookie === null ? [] : [open(`cookie ${pool.cookie} insert`)]),
      ...(pool.drained ?? []),
      line(`timeout tunnel ${timeouts.tunnel}`),
      ...checkTimeouts(interval, health.fall),
      line(`http-check send meth GET uri ${health.path} ver HTTP/1.1 hdr Host ${pool.host}`),
      line(
        `default-server inter ${interval}ms fastinter ${Math.min(interval, 250)}ms downinter ${Math.min(interval, 500)}ms fall ${health.fall} rise ${health.rise}${slow}`,
      ),
      ...(pool.isResolved ? [line(`default-server ${resolving}`)] : []),
      ...pool.servers,
    ],
  };
}

/** Of the second beyond `fall` × `interval` in which a hanging server has to be down, each failed check takes its share. */
function checkTimeouts(interval: number, fall: number): readonly LineModel[] {
  const share = ((fall - 1) * Math.max(0, interval - 250) + 600) / fall;
  if (share >= 2_000) return [];
  const timeout = Math.max(500, share - (share % 50));
  return [line(`timeout connect ${timeout}ms`), line(`timeout check ${timeout}ms`)];
}

/** The longest prefix first; of one prefix the route with extensions. */
function routesOf(components: readonly (readonly [string, ComponentShape])[]) {
  return components
    .flatMap(([, { pool, routes }]) => routes.map((route) => ({ pool, ...route })))
    .toSorted(
      (a, b) =>
        b.prefix.length - a.prefix.length ||
        Buffer.compare(Buffer.from(a.prefix), Buffer.from(b.prefix)) ||
        Number(b.extensions !== undefined) - Number(a.extensions !== undefined),
    )
    .map(({ pool, prefix, extensions }) => ({
      pool,
      conditions: [
        prefix.endsWith('/') ? [`path_beg ${prefix}`] : [`path ${prefix}`, `path_beg ${prefix}/`],
        ...(extensions ? [extensions.map((extension) => `path_end .${extension}`)] : []),
      ],
    }));
}

/** A duration in milliseconds, so that `60s` and `1m` are one, and no digest; every other word as it is. */
export function comparableWord(word: string): string {
  if (/^[0-9a-f]{64}$/.test(word)) return 'digest';
  return /^[0-9]{1,10}(?:ms|s|m|h)$/.test(word) ? `${milliseconds(word)}ms` : word;
}

function milliseconds(duration: string): number {
  const [, amount, unit = ''] = /^([0-9]+)([a-z]+)$/.exec(duration) ?? [];
  return Number(amount) * ({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit] ?? Number.NaN);
}

/** What a file says of routing, in the words of the model: conditions by what they test. */
export function routingOf({ lines }: HaproxySection) {
  const of = (keyword: string) => lines.filter(([first]) => first === keyword).map((words) => words.slice(1));
  const acls = new Map<string, (readonly string[])[]>();
  for (const words of of('acl')) acls.set(words[0] ?? '', [...(acls.get(words[0] ?? '') ?? []), words]);
  const uses = of('use_backend').map(([backendName = '', , ...names]) => ({ backend: backendName, names }));
  const routeNames = new Set(uses.flatMap(({ names }) => names).filter((name) => name.startsWith('route_')));
  return {
    acls: of('acl')
      .filter(([name = '']) => !routeNames.has(name))
      .map((words) => words.join(' ')),
    uses: uses.map(({ backend: backendName, names }) => ({
      backend: backendName,
      conditions: names.map((name) =>
        // Several patterns on one line are alternatives too.
        (acls.get(name) ?? []).flatMap(([, test, ...patterns]) =>
          test === 'path_end' ? patterns.map((pattern) => `${test} ${pattern}`) : [[test, ...patterns].join(' ')],
        ),
      ),
    })),
    otherwise: of('default_backend')
      .map(([name]) => name)
      .join(' '),
  };
}
