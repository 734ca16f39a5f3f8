import { resolve } from 'node:path';
import type {
  ArtifactsConfiguration,
  BalanceConfiguration,
  ComponentConfiguration,
  Configuration,
  EdgeConfiguration,
  EnvironmentConfiguration,
  EnvValue,
  InstancesConfiguration,
  SecretSource,
  SoakConfiguration,
} from '../domain/configuration.js';
import { defaults } from '../domain/defaults.js';
import { absoluteArtifactUrl } from './artifact-url.js';
import { edgeFiles, isDefaultComponent, poolOf, prefixOf, readAddressRange, readBindAddress } from './derived.js';
import type { ComponentInput, ConfigurationInput, EnvironmentInput, SecretInput } from './schema.js';
import { parseDuration, parseSize } from './units.js';

/** A checked bascule.yaml as the domain's type: defaults filled in, units converted, paths of `folder` absolute. */
export function toConfiguration(input: ConfigurationInput, folder: string): Configuration {
  const components = Object.entries(input.components);
  return {
    project: input.project,
    edge: edge(input.edge, folder),
    topology: 'blue-green',
    environments: Object.entries(input.environments).map(([name, given]) => environment(name, given, input.project)),
    components: components.map(([name, given]) => component(name, given, components.length, folder)),
    artifacts: artifacts(input.artifacts, folder),
    instances: instances(input.instances ?? {}, folder),
  };
}

function edge(given: ConfigurationInput['edge'], folder: string): EdgeConfiguration {
  return {
    name: given.name ?? defaults.edgeName,
    host: { driver: 'local' },
    manage: given.manage ?? true,
    http: readBindAddress(given.http),
    files: edgeFiles(given.files ?? {}, folder),
    httpKeepAliveMs: milliseconds(given.httpKeepAlive, defaults.httpKeepAliveMs),
    hardStopAfterMs: milliseconds(given.hardStopAfter, defaults.hardStopAfterMs),
  };
}

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
  const { tunnel } = given.timeouts ?? {};
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
    routes: given.routes ?? [],
    isDefault: isDefaultComponent(given.default, count),
    balance: balance(given.balance),
    timeouts: tunnel === undefined ? {} : { tunnelMs: milliseconds(tunnel, 0) },
    run: given.run,
    ...(given.migrate && { migrate: migration(given.migrate) }),
    env: Object.fromEntries(Object.entries(given.env ?? {}).map(([key, value]) => [key, envValue(value, folder)])),
    startDeadlineMs: milliseconds(given.startDeadline, defaults.startDeadlineMs),
    stopGraceMs: milliseconds(given.stopGrace, defaults.stopGraceMs),
  };
}

function balance(given: ComponentInput['balance']): BalanceConfiguration {
  if (!given) return { kind: 'roundrobin' };
  return 'cookie' in given ? { kind: 'cookie', cookie: given.cookie } : { kind: 'hash-uri' };
}

function migration(given: NonNullable<ComponentInput['migrate']>): NonNullable<ComponentConfiguration['migrate']> {
  const { command, timeout } = Array.isArray(given) ? { command: given, timeout: undefined } : given;
  return { command, timeoutMs: milliseconds(timeout, defaults.migrateMs) };
}

const envValue = (value: string | SecretInput, folder: string): EnvValue =>
  typeof value === 'string' ? value : secretSource(value, folder);

const secretSource = (source: SecretInput, folder: string): SecretSource =>
  'file' in source ? { file: resolve(folder, source.file) } : source;

function artifacts(given: ConfigurationInput['artifacts'], folder: string): ArtifactsConfiguration {
  return {
    url: absoluteArtifactUrl(given.url, folder),
    ...(given.checksum !== undefined && { checksum: absoluteArtifactUrl(given.checksum, folder) }),
    ...(given.token && { token: secretSource(given.token, folder) }),
    maxBytes: given.maxSize === undefined ? defaults.artifactMaxBytes : (parseSize(given.maxSize) ?? Number.NaN),
    timeoutMs: milliseconds(given.timeout, defaults.artifactMs),
  };
}

function instances(given: NonNullable<ConfigurationInput['instances']>, folder: string): InstancesConfiguration {
  return {
    driver: 'process',
    addresses: readAddressRange(given.addresses),
    directory: resolve(folder, given.directory ?? defaults.instancesDirectory),
    addressBook: resolve(folder, defaults.addressBook),
    releasesKept: given.releasesKept ?? defaults.releasesKept,
  };
}

/** The schema lets only durations through, so null can't be. */
const milliseconds = (text: string | undefined, fallback: number): number =>
  text === undefined ? fallback : (parseDuration(text) ?? fallback);
