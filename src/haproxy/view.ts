import { isHostName } from '../domain/addresses.js';
import {
  type AppliedConfiguration,
  type BindAddress,
  type ComponentConfiguration,
  type Configuration,
  type EdgeConfiguration,
  type ExternalConfiguration,
  redirectedHosts,
  type ServerAddress,
} from '../domain/configuration.js';
import { defaults } from '../domain/defaults.js';
import { type EnvironmentState, neverDeployed } from '../domain/edge-state.js';
import { backendName, externalBackendName, ownSections } from '../domain/names.js';
import { routesInOrder } from '../domain/routes.js';
import { jsonLogFormat } from './access-log.js';
import { claimedHeaders, claimedUnlessByProxy } from './claimed-headers.js';
import { probeSocketPath } from './edge.js';
import { errorPages, placeholderPage } from './pages.js';
import { type BackendView, environmentBackends, instanceBackends, linesOf } from './view-backends.js';
import { addressWord, alignedColumns, base64urlPart, durationWord, pathWord, word } from './words.js';

/** What the templates lay out: every word of it is ready to be printed. */
export interface ConfigurationView {
  readonly socket: string;
  /** Null where it is not asked for; so is every other part of the edge below. */
  readonly runtime: string | null;
  readonly metrics: string | null;
  readonly http: string;
  readonly https: { readonly bind: string; readonly certificates: string; readonly location: string } | null;
  readonly hsts: string | null;
  readonly probeSocket: string;
  /** Connections at once: on each address, of all with Bascule's own, and of one client (null: as many as it likes). */
  readonly limits: { readonly connections: number; readonly all: number; readonly perClient: number | null };
  /** Networks of proxies before the edge, as many on a line as HAProxy takes. */
  readonly trustedProxies: readonly string[];
  /** How many of them a request may have come through, counted from 1. */
  readonly proxyHops: readonly number[];
  /** Regular expressions of headers that are no visitor's to send. */
  readonly claims: { readonly always: string; readonly unlessByProxy: string };
  readonly log: { readonly target: string; readonly jsonFormat: string | null } | null;
  /**
   * How HAProxy's workers give up root: as the user of the system's package, or as whom the start of Bascule's own names
   * (templates/edge-host.sh); null where the operator's own lines say it.
   */
  readonly dropsTo: 'system' | 'start' | null;
  readonly hardStopAfter: string;
  readonly httpKeepAlive: string;
  readonly timeouts: { readonly server: string; readonly tunnel: string };
  readonly errorPages: readonly string[];
  readonly extra: { readonly [Section in 'global' | 'defaults' | 'frontend']: readonly string[] };
  /** Whether names of servers are looked up in DNS. */
  readonly isResolved: boolean;
  /** `<name> <condition>` each; an ACL holds where one of its lines does. */
  readonly hostAcls: readonly string[];
  readonly routeAcls: readonly string[];
  /** Where http redirects to https: everywhere, or for the hosts that have a certificate. */
  readonly redirects: boolean;
  readonly certificateAcls: readonly string[];
  /** `str(<environment>)` and on which condition, for the log. */
  readonly environmentNames: readonly string[];
  readonly challenge: { readonly backend: string; readonly server: string; readonly isResolved: boolean } | null;
  readonly hasChallengePath: boolean;
  /** Thumbprint by which the edge itself answers challenges; null where it does not. */
  readonly thumbprint: string | null;
  readonly groups: readonly GroupView[];
  readonly sites: readonly SiteView[];
  readonly siteUses: readonly string[];
  readonly defaultBackend: string;
  /** The backend that answers hosts which nobody has; null in multi-instance, where every host goes to the pools. */
  readonly unknownHost: string | null;
}

/** The pools of an environment, or those of multi-instance. */
interface GroupView {
  readonly title: string;
  /** `<backend> if <conditions>`, in the order in which they are tried. */
  readonly uses: readonly string[];
  readonly backends: readonly BackendView[];
}

/** A site that Bascule does not deploy. */
interface SiteView {
  readonly title: string;
  readonly backend: string;
  readonly server: string | null;
  readonly isResolved: boolean;
  /** `status <status> …` where the edge itself answers. */
  readonly page: string | null;
}

/**
 * What haproxy.cfg says for a configuration and the states of its environments.
 *
 * @throws `edge-value-unsafe` where a word holds what HAProxy would not read as one plain word
 */
export function configurationView(
  applied: AppliedConfiguration,
  states: readonly EnvironmentState[],
): ConfigurationView {
  const { configuration } = applied;
  const { components, certificates, external = [] } = configuration;
  const groups = isBlueGreen(configuration) ? environmentGroups(applied, states) : [instanceGroup(applied)];
  const sites = external.map(siteView);
  const redirected = redirectedHosts(applied);
  const challenge = certificates?.challenge ? challengeView(certificates.challenge) : null;
  return {
    ...edgeView(configuration.edge),
    isResolved: [...groups.flatMap(({ backends }) => backends), ...sites, ...(challenge ? [challenge] : [])].some(
      ({ isResolved }) => isResolved,
    ),
    hostAcls: alignedColumns(
      [...configuration.environments, ...external].flatMap(({ name, hosts }) =>
        hosts.map((host) => [hostAcl(name), `var(txn.host) -m str ${word(host)}`]),
      ),
    ),
    routeAcls: alignedColumns(namedRoutes(components).flatMap(({ lines }) => lines)),
    redirects: configuration.edge.https !== undefined && (redirected === null || redirected.length > 0),
    certificateAcls: (redirected ?? []).map((host) => `var(txn.host) -m str ${word(host)}`),
    environmentNames: isBlueGreen(configuration)
      ? configuration.environments.map(({ name }) => `str(${word(name)}) if ${hostAcl(name)}`)
      : ['str(default)'],
    challenge,
    hasChallengePath: configuration.edge.https !== undefined || challenge !== null,
    thumbprint: applied.certificates ? base64urlPart(applied.certificates.thumbprint) : null,
    groups,
    sites,
    siteUses: alignedColumns(external.map(({ name }) => [externalBackendName(name), `if ${hostAcl(name)}`])),
    ...(isBlueGreen(configuration)
      ? { defaultBackend: ownSections.unknownHost, unknownHost: ownSections.unknownHost }
      : { defaultBackend: defaultPool(components), unknownHost: null }),
  };
}

function edgeView(edge: EdgeConfiguration) {
  const { https, hsts, runtime, metrics, log, extra, trustedProxies = [] } = edge;
  return {
    socket: pathWord(edge.files.socket),
    runtime: runtime ? addressWord(runtime) : null,
    metrics: metrics ? addressWord(metrics) : null,
    http: addressWord(edge.http),
    https: https
      ? { bind: addressWord(https), certificates: pathWord(`${edge.files.certificates}/`), location: locationOf(https) }
      : null,
    hsts: hsts ? `max-age=${hsts.maxAgeDays * 86_400}${hsts.includeSubdomains ? '; includeSubDomains' : ''}` : null,
    probeSocket: pathWord(probeSocketPath(edge)),
    limits: limitsOf(edge),
    trustedProxies: linesOfPatterns(trustedProxies.map(word)),
    proxyHops,
    claims: { always: claimedHeaders, unlessByProxy: claimedUnlessByProxy },
    log: log ? logView(log) : null,
    dropsTo: dropsTo(edge),
    hardStopAfter: durationWord(edge.hardStopAfterMs),
    httpKeepAlive: durationWord(edge.httpKeepAliveMs),
    timeouts: {
      server: durationWord(defaults.timeouts.serverMs),
      tunnel: durationWord(defaults.timeouts.tunnelMs),
    },
    errorPages: errorPages(edge.errors ?? []),
    extra: {
      global: linesOf(extra?.global),
      defaults: linesOf(extra?.defaults),
      frontend: linesOf(extra?.frontend),
    },
  };
}

/** An HAProxy that somebody else starts on this machine may not be root's, and would not start then. */
function dropsTo({ host, manage, extra }: EdgeConfiguration): ConfigurationView['dropsTo'] {
  if (/^\s*(?:user|uid)\s/m.test(extra?.global ?? '')) return null;
  if (host.driver === 'incus') return 'system';
  return manage ? 'start' : null;
}

/** For Bascule's own requests, and for metrics. */
const reservedConnections = 100;
/** Of all connections that one client may have, and the least where these are few. */
const shareOfClient = 0.1;
const leastPerClient = 10;

function limitsOf({ limits = {}, https }: EdgeConfiguration) {
  const { connections = defaults.connections } = limits;
  const usual = Math.max(leastPerClient, Math.floor(connections * shareOfClient));
  const { perClient = usual } = limits;
  return { connections, all: connections * (https ? 2 : 1) + reservedConnections, perClient };
}

/** Where http sends a visitor: the host without the port that it was asked on. */
const locationOf = ({ port }: BindAddress): string =>
  `https://%[var(txn.host)]${port === 443 ? '' : `:${port}`}%[pathq]`;

/** More proxies one after the other than anybody has: what is before them is not looked at. */
const proxyHops: readonly number[] = [1, 2, 3, 4, 5];

/** In bytes. Above the longest line of ours: 253 of the host and 1,024 of the path, each of which may be escaped as six. */
const longestLogLine = 8192;

/** On stdout the line is the log's alone; a syslog server gets its header too. */
function logView({ to, format }: NonNullable<EdgeConfiguration['log']>) {
  const address = to.startsWith('/') ? pathWord(to) : word(to);
  const raw = to === 'stdout' ? ' format raw' : '';
  return {
    target: `${address} len ${longestLogLine}${raw} local0`,
    jsonFormat: format === 'json' ? jsonLogFormat : null,
  };
}

const isBlueGreen = ({ topology }: Configuration): boolean => topology === 'blue-green';

function environmentGroups(applied: AppliedConfiguration, states: readonly EnvironmentState[]): readonly GroupView[] {
  const { environments, components } = applied.configuration;
  return environments.map((environment) => {
    const name = word(environment.name);
    const isHost = `if ${hostAcl(name)}`;
    const backend = (component: ComponentConfiguration) => backendName(name, word(component.pool));
    return {
      title: name,
      uses: alignedColumns([
        ...namedRoutes(components).map(({ component, condition }) => [backend(component), `${isHost} ${condition}`]),
        ...components.filter(({ isDefault }) => isDefault).map((component) => [backend(component), isHost]),
      ]),
      backends: environmentBackends(
        applied,
        environment,
        states.find((state) => state.name === environment.name) ?? neverDeployed(environment.name),
      ),
    };
  });
}

function instanceGroup(applied: AppliedConfiguration): GroupView {
  const routes = namedRoutes(applied.configuration.components);
  return {
    title: 'pools',
    uses: alignedColumns(routes.map(({ component, condition }) => [word(component.pool), `if ${condition}`])),
    backends: instanceBackends(applied),
  };
}

const challengeView = (server: ServerAddress) => ({
  backend: ownSections.challenge,
  server: addressWord(server),
  isResolved: isHostName(server),
});

function siteView(external: ExternalConfiguration): SiteView {
  const backend = word(externalBackendName(external.name));
  const common = { title: word(external.name), backend };
  if ('server' in external) {
    const server = `${word(external.name)} ${addressWord(external.server)}`;
    return { ...common, server, isResolved: isHostName(external.server), page: null };
  }
  const [host = external.name] = external.hosts;
  return { ...common, server: null, isResolved: false, page: placeholderPage(external.respond, word(host)) };
}

const defaultPool = (components: readonly ComponentConfiguration[]): string =>
  word(components.find(({ isDefault }) => isDefault)?.pool ?? '');

/** HAProxy refuses a line of more than 64 words. */
const patternsOfLine = 20;

function linesOfPatterns(patterns: readonly string[]): readonly string[] {
  return Array.from({ length: Math.ceil(patterns.length / patternsOfLine) }, (_, index) =>
    patterns.slice(index * patternsOfLine, (index + 1) * patternsOfLine).join(' '),
  );
}

/** A component's only route has its name, several are numbered. `condition` names all ACLs that have to hold. */
function namedRoutes(components: readonly ComponentConfiguration[]) {
  return routesInOrder(components).map(({ component, prefix, extensions }) => {
    const number =
      component.routes.length === 1
        ? ''
        : `_${component.routes.findIndex((each) => each.prefix === prefix && each.extensions === extensions) + 1}`;
    const acl = `route_${word(component.name)}${number}`;
    const lines = prefixConditions(word(prefix)).map((condition) => [acl, ...condition]);
    if (extensions === undefined) return { component, condition: acl, lines };
    const endings = extensions.map((extension) => word(`.${extension}`));
    const files = linesOfPatterns(endings).map((patterns) => [`${acl}_file`, 'path_end', patterns]);
    return { component, condition: `${acl} ${acl}_file`, lines: [...lines, ...files] };
  });
}

/** The same rule as `componentForPath` of the domain. */
function prefixConditions(prefix: string): readonly (readonly [string, string])[] {
  return prefix.endsWith('/')
    ? [['path_beg', prefix]]
    : [
        ['path', prefix],
        ['path_beg', `${prefix}/`],
      ];
}

const hostAcl = (name: string): string => `host_${word(name)}`;
