import { resolve } from 'node:path';
import { readAddressRange } from '../domain/addresses.js';
import { authorities } from '../domain/certificates.js';
import type {
  AccessLog,
  ArtifactsConfiguration,
  BalanceConfiguration,
  CertificatesConfiguration,
  ComponentConfiguration,
  ComponentTimeouts,
  Configuration,
  ConnectionLimits,
  EdgeConfiguration,
  EdgeHost,
  EnvironmentConfiguration,
  EnvValue,
  ExternalConfiguration,
  InstancesConfiguration,
  ProvisionConfiguration,
  SecretSource,
  SoakConfiguration,
} from '../domain/configuration.js';
import { defaults } from '../domain/defaults.js';
import { absoluteArtifactUrl } from './artifact-url.js';
import { edgeFiles, isDefaultComponent, poolOf, prefixOf, processAddresses, readAddress } from './derived.js';
import type { IncludedFiles } from './included.js';
import type {
  ArtifactsInput,
  CertificatesInput,
  ComponentInput,
  ConfigurationInput,
  EdgeInput,
  EnvironmentInput,
  ExternalInput,
  InstancesInput,
  ProvisionInput,
  SecretInput,
} from './schema.js';
import { parseDuration, parseSize } from './units.js';

/**
 * A checked bascule.yaml as the domain's type: defaults filled in, units converted, paths of `folder` absolute, and the
 * files that it names taken in.
 */
export function toConfiguration(input: ConfigurationInput, folder: string, included: IncludedFiles): Configuration {
  const components = Object.entries(input.components);
  return {
    project: input.project,
    edge: edge(input.edge, folder, included),
    topology: input.topology ?? 'blue-green',
    environments: Object.entries(input.environments ?? {}).map(([name, given]) =>
      environment(name, given, input.project),
    ),
    components: components.map(([name, given]) => component(name, given, components.length, folder)),
    ...(input.external && {
      external: Object.entries(input.external).map(([name, given]) => external(name, given)),
    }),
    ...(input.certificates && { certificates: certificates(input.certificates, folder) }),
    ...(input.artifacts && { artifacts: artifacts(input.artifacts, folder) }),
    instances: instances(input.instances ?? {}, input, folder),
    ...(input.provision && { provision: provision(input.provision) }),
    ...(input.notify && { notify: { url: secretSource(input.notify.url, folder) } }),
  };
}

function edge(given: EdgeInput, folder: string, { errors, extra }: IncludedFiles): EdgeConfiguration {
  const { host = { driver: 'local' }, https, hsts, runtime, metrics, log, trustedProxies, limits } = given;
  return {
    name: given.name ?? defaults.edgeName,
    host: edgeHost(host),
    manage: given.manage ?? host.driver === 'local',
    http: readAddress(given.http),
    ...(https !== undefined && { https: readAddress(https) }),
    ...(hsts && {
      hsts: { maxAgeDays: Number.parseInt(hsts.maxAge, 10), includeSubdomains: hsts.includeSubdomains ?? false },
    }),
    ...(trustedProxies && { trustedProxies }),
    ...(limits && { limits: connectionLimits(limits) }),
    ...(runtime !== undefined && { runtime: readAddress(runtime) }),
    ...(metrics !== undefined && { metrics: readAddress(metrics) }),
    ...(log && { log: accessLog(log) }),
    ...(given.errors && { errors }),
    ...(given.extra && { extra }),
    files: edgeFiles(given.files ?? {}, folder, host.driver),
    httpKeepAliveMs: milliseconds(given.httpKeepAlive, defaults.httpKeepAliveMs),
    hardStopAfterMs: milliseconds(given.hardStopAfter, defaults.hardStopAfterMs),
  };
}

function edgeHost(given: NonNullable<EdgeInput['host']>): EdgeHost {
  if (given.driver === 'local') return given;
  const { driver, instance, project, remote } = given;
  return { driver, instance, ...(project !== undefined && { project }), ...(remote !== undefined && { remote }) };
}

const connectionLimits = ({ connections, perClient }: NonNullable<EdgeInput['limits']>): ConnectionLimits => ({
  ...(connections !== undefined && { connections }),
  ...(perClient !== undefined && { perClient: perClient === 'off' ? null : perClient }),
});

const accessLog = ({ to = 'stdout', format = 'json' }: NonNullable<EdgeInput['log']>): AccessLog => ({ to, format });

function environment(name: string, given: EnvironmentInput, project: string): EnvironmentConfiguration {
  return {
    name,
    prefix: prefixOf(project, name, given.prefix),
    hosts: given.hosts.map((host) => host.toLowerCase()),
    approval: given.approval ?? false,
    soak: soak(given.soak),
    drainMs: milliseconds(given.drain, defaults.drainMs),
  };
}

function soak(given: EnvironmentInput['soak']): SoakConfiguration {
  const { for: forText, errorShare, minRequests } = typeof given === 'string' ? { for: given } : (given ?? {});
  return {
    forMs: milliseconds(forText, defaults.soak.forMs),
    errorShare: errorShare === undefined ? defaults.soak.errorShare : Number.parseFloat(errorShare) / 100,
    minRequests: minRequests ?? defaults.soak.minRequests,
  };
}

function component(name: string, given: ComponentInput, count: number, folder: string): ComponentConfiguration {
  const { slowStart, instances: names, fallback, user, profiles } = given;
  return {
    name,
    pool: poolOf(name, given.pool),
    port: given.port ?? defaults.componentPort,
    health: {
      path: given.health.path,
      intervalMs: milliseconds(given.health.interval, defaults.health.intervalMs),
      fall: given.health.fall ?? defaults.health.fall,
      rise: given.health.rise ?? defaults.health.rise,
    },
    routes: (given.routes ?? []).map(({ prefix, extensions }) => ({ prefix, ...(extensions && { extensions }) })),
    isDefault: isDefaultComponent(given.default, count),
    balance: balance(given.balance),
    ...(slowStart !== undefined && { slowStartMs: milliseconds(slowStart, 0) }),
    ...(names && { instances: names }),
    ...(fallback && { fallback: fallback.map(readAddress) }),
    ...(user !== undefined && { user }),
    ...(profiles && { profiles }),
    timeouts: timeouts(given.timeouts),
    run: given.run ?? [],
    ...(given.migrate && { migrate: migration(given.migrate) }),
    env: Object.fromEntries(Object.entries(given.env ?? {}).map(([key, value]) => [key, envValue(value, folder)])),
    startDeadlineMs: milliseconds(given.startDeadline, defaults.startDeadlineMs),
    stopGraceMs: milliseconds(given.stopGrace, defaults.stopGraceMs),
  };
}

const timeouts = ({ server, tunnel }: NonNullable<ComponentInput['timeouts']> = {}): ComponentTimeouts => ({
  ...(server !== undefined && { serverMs: milliseconds(server, 0) }),
  ...(tunnel !== undefined && { tunnelMs: milliseconds(tunnel, 0) }),
});

function balance(given: ComponentInput['balance']): BalanceConfiguration {
  if (!given) return { kind: 'roundrobin' };
  if ('cookie' in given) return { kind: 'cookie', cookie: given.cookie };
  return { kind: 'hash-uri', ...(given.depth !== undefined && { depth: given.depth }) };
}

function migration(given: NonNullable<ComponentInput['migrate']>): NonNullable<ComponentConfiguration['migrate']> {
  const { command, timeout } = Array.isArray(given) ? { command: given, timeout: undefined } : given;
  return { command, timeoutMs: milliseconds(timeout, defaults.migrateMs) };
}

const envValue = (value: string | SecretInput, folder: string): EnvValue =>
  typeof value === 'string' ? value : secretSource(value, folder);

const secretSource = (source: SecretInput, folder: string): SecretSource =>
  'file' in source ? { file: resolve(folder, source.file) } : source;

function external(name: string, given: ExternalInput): ExternalConfiguration {
  const site = { name, hosts: given.hosts.map((host) => host.toLowerCase()) };
  return 'server' in given ? { ...site, server: readAddress(given.server) } : { ...site, respond: given.respond };
}

function certificates(given: CertificatesInput, folder: string): CertificatesConfiguration {
  const { ca, caFile, eab, email, profile, keys, challenge, domains } = given;
  return {
    ca: authorities[ca] ?? ca,
    ...(caFile !== undefined && { caFile: resolve(folder, caFile) }),
    ...(eab && { eab: { keyId: eab.keyId, key: secretSource(eab.key, folder) } }),
    ...(email !== undefined && { email }),
    ...(profile !== undefined && { profile }),
    keys: [keys?.[0] ?? 'ecdsa', ...(keys ?? []).slice(1)],
    domains: domains.map((names) => names.map((name) => name.toLowerCase())),
    ...(challenge !== undefined && { challenge: readAddress(challenge) }),
  };
}

function artifacts(given: ArtifactsInput, folder: string): ArtifactsConfiguration {
  return {
    url: absoluteArtifactUrl(given.url, folder),
    ...(given.checksum !== undefined && { checksum: absoluteArtifactUrl(given.checksum, folder) }),
    ...(given.token && { token: secretSource(given.token, folder) }),
    ...(given.caFile !== undefined && { caFile: resolve(folder, given.caFile) }),
    maxBytes: given.maxSize === undefined ? defaults.artifactMaxBytes : (parseSize(given.maxSize) ?? Number.NaN),
    timeoutMs: milliseconds(given.timeout, defaults.artifactMs),
  };
}

type PlaceInIncus = { readonly project?: string | undefined; readonly remote?: string | undefined };

const isSamePlace = (one: PlaceInIncus, other: PlaceInIncus): boolean =>
  (one.project ?? 'default') === (other.project ?? 'default') && (one.remote ?? 'local') === (other.remote ?? 'local');

function instances(
  given: InstancesInput,
  { edge: { host }, provision: provided }: ConfigurationInput,
  folder: string,
): InstancesConfiguration {
  const releasesKept = given.releasesKept ?? defaults.releasesKept;
  const addressBook = resolve(folder, defaults.addressBook);
  if (given.driver === 'incus') {
    const { driver, image, domain, addresses, project, remote } = given;
    const isBesideEdge = host?.driver === 'incus' && isSamePlace(host, given);
    const usual = isBesideEdge ? (provided?.profile ?? defaults.provision.profile) : 'default';
    const { profiles = [usual] } = given;
    return {
      ...{ driver, image, ...(domain !== undefined && { domain: domain.toLowerCase() }), profiles },
      ...(addresses !== undefined && { addresses: readAddressRange(addresses) }),
      ...{ ...(project !== undefined && { project }), ...(remote !== undefined && { remote }) },
      ...{ directory: resolve(folder, defaults.instancesDirectory), addressBook, releasesKept },
    };
  }
  return {
    driver: 'process',
    addresses: processAddresses(given.addresses),
    directory: resolve(folder, given.directory ?? defaults.instancesDirectory),
    addressBook,
    releasesKept,
  };
}

function provision(given: ProvisionInput): ProvisionConfiguration {
  const { image, storage, network, subnet, profile, listen, packages, unattendedUpgrades } = given;
  return {
    ...(image !== undefined && { image }),
    ...(storage !== undefined && { storage }),
    ...(network !== undefined && { network }),
    ...(subnet !== undefined && { subnet }),
    ...(profile !== undefined && { profile }),
    ...(listen !== undefined && { listen }),
    ...(packages && { packages }),
    ...(unattendedUpgrades !== undefined && { unattendedUpgrades }),
  };
}

/** The schema lets only durations through, so null can't be. */
const milliseconds = (text: string | undefined, fallback: number): number =>
  text === undefined ? fallback : (parseDuration(text) ?? fallback);
