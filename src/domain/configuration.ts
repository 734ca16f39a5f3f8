import type { KeyKind } from './certificates.js';
import type { IncusPlace } from './incus-place.js';

/**
 * What bascule.yaml says, after the loader checked it and filled in every default.
 * All paths are absolute, all durations milliseconds, all sizes bytes. No secret is ever in it, only where secrets are.
 */
export interface Configuration {
  readonly project: string;
  readonly edge: EdgeConfiguration;
  readonly topology: Topology;
  /** None where the topology is multi-instance: its pools are the edge's own. */
  readonly environments: readonly EnvironmentConfiguration[];
  readonly components: readonly ComponentConfiguration[];
  /** Sites that the edge serves and Bascule does not deploy. */
  readonly external?: readonly ExternalConfiguration[];
  readonly certificates?: CertificatesConfiguration;
  /** In multi-instance only where a component has `run`. */
  readonly artifacts?: ArtifactsConfiguration;
  readonly instances: InstancesConfiguration;
  readonly provision?: ProvisionConfiguration;
  readonly notify?: NotifyConfiguration;
}

/**
 * blue-green: two colors of each component in each environment, one of them active. multi-instance: each component has
 * listed instances side by side, and there are neither environments nor colors.
 */
export type Topology = 'blue-green' | 'multi-instance';

/** An IPv4 address, or `*` for every address, and a port. */
export interface BindAddress {
  readonly address: string;
  readonly port: number;
}

/** A host name or an IPv4 address, and a port. */
export interface ServerAddress {
  readonly address: string;
  readonly port: number;
}

export interface EdgeConfiguration {
  readonly name: string;
  readonly host: EdgeHost;
  /** Whether Bascule runs this HAProxy itself. */
  readonly manage: boolean;
  readonly http: BindAddress;
  /** With it, http redirects to https. Certificates are the PEM files of `files.certificates`. */
  readonly https?: BindAddress;
  /** Strict-Transport-Security on every answer over https. */
  readonly hsts?: { readonly maxAgeDays: number; readonly includeSubdomains: boolean };
  /** Networks of proxies before the edge (a CDN, a load balancer), which are believed what they say of who asks. */
  readonly trustedProxies?: readonly string[];
  readonly limits?: ConnectionLimits;
  /** HAProxy's runtime API over TCP, operator level, for exporters. */
  readonly runtime?: BindAddress;
  /** HAProxy's own Prometheus exporter, at /metrics. */
  readonly metrics?: BindAddress;
  /** The access log; none where it is not given. */
  readonly log?: AccessLog;
  /** Error pages of the operator's own; the built-in ones serve for all other statuses. */
  readonly errors?: readonly ErrorPage[];
  /** Lines of the operator's own. */
  readonly extra?: ExtraLines;
  readonly files: EdgeFiles;
  /** HAProxy's `timeout http-keep-alive`: how long an idle kept connection may still be answered by the release before. */
  readonly httpKeepAliveMs: number;
  /** HAProxy's `hard-stop-after`: the longest life of an old HAProxy worker. */
  readonly hardStopAfterMs: number;
}

/** Connections at once; what is left out is as usual. */
export interface ConnectionLimits {
  /** Of all clients, on each address. */
  readonly connections?: number;
  /** Of one client; null where it may have as many as it likes. */
  readonly perClient?: number | null;
}

export type EdgeHost = { readonly driver: 'local' } | IncusEdgeHost;

/** HAProxy runs there as a service of the system. */
export interface IncusEdgeHost extends IncusPlace {
  readonly driver: 'incus';
}

export interface AccessLog {
  /** `stdout`, a syslog server (`127.0.0.1:514`) or its socket (`/dev/log`). */
  readonly to: string;
  /** One JSON object a line, or HAProxy's own `option httplog`. */
  readonly format: 'json' | 'haproxy';
}

export interface ErrorPage {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Lines of haproxy.cfg, without a section of their own; each text ends with a newline. */
export interface ExtraLines {
  readonly global?: string;
  readonly defaults?: string;
  readonly frontend?: string;
  /** By component: in each of its backends. */
  readonly backend?: Readonly<Record<string, string>>;
}

export interface EdgeFiles {
  readonly config: string;
  /** A folder. */
  readonly state: string;
  /** A folder. */
  readonly certificates: string;
  /** HAProxy's runtime API, admin level. */
  readonly socket: string;
  /** HAProxy's master CLI. */
  readonly masterSocket: string;
}

export interface EnvironmentConfiguration {
  readonly name: string;
  /** Prefix of its instances' names. */
  readonly prefix: string;
  readonly hosts: readonly string[];
  readonly approval: boolean;
  readonly soak: SoakConfiguration;
  readonly drainMs: number;
}

export interface SoakConfiguration {
  readonly forMs: number;
  /** How far a release's share of 5xx answers, 0 to 1, may be above that of the one before it, during its soak. */
  readonly errorShare: number;
  /** The share is looked at only from this many requests on. */
  readonly minRequests: number;
}

export interface ComponentConfiguration {
  readonly name: string;
  /** Last part of its HAProxy backend's name: `<environment>_<pool>`. */
  readonly pool: string;
  readonly port: number;
  readonly health: HealthConfiguration;
  readonly routes: readonly RouteConfiguration[];
  /** It takes every request that no route takes. */
  readonly isDefault: boolean;
  readonly balance: BalanceConfiguration;
  /** HAProxy's `slowstart`: how long a server that came up again takes to its full share. */
  readonly slowStartMs?: number;
  /** Multi-instance: the names of its instances. None where they are not known. */
  readonly instances?: readonly string[];
  /** Multi-instance: the servers of its pool where its instances are not known. */
  readonly fallback?: readonly ServerAddress[];
  /** Whom its program runs as, where the driver has users. */
  readonly user?: string;
  /** Of Incus: what its instances get besides those of all. */
  readonly profiles?: readonly string[];
  readonly timeouts: ComponentTimeouts;
  /** Empty in multi-instance where Bascule only leads visitors to the component. */
  readonly run: readonly string[];
  readonly migrate?: { readonly command: readonly string[]; readonly timeoutMs: number };
  readonly env: Readonly<Record<string, EnvValue>>;
  readonly startDeadlineMs: number;
  readonly stopGraceMs: number;
}

/** Of HAProxy; what is left out is as usual. */
export interface ComponentTimeouts {
  /** How long an instance may say nothing while it has a request. */
  readonly serverMs?: number;
  /** How long nobody may say anything over a WebSocket. */
  readonly tunnelMs?: number;
}

export interface HealthConfiguration {
  readonly path: string;
  readonly intervalMs: number;
  readonly fall: number;
  readonly rise: number;
}

export interface RouteConfiguration {
  readonly prefix: string;
  /** Without the dot, such as `m3u8`: it takes only paths that end so. */
  readonly extensions?: readonly string[];
}

export type ExternalConfiguration = { readonly name: string; readonly hosts: readonly string[] } & (
  | { readonly server: ServerAddress }
  /** The edge itself answers, with a page of this status. */
  | { readonly respond: number }
);

/** Which certificates there are to be; each list's first name is its file's. */
export interface CertificatesConfiguration {
  /** URL of the authority's directory (RFC 8555, 7.1.1). */
  readonly ca: string;
  /** PEM file of the roots that the authority's own server is trusted by, besides the system's. */
  readonly caFile?: string;
  /** The account that the authority knows already: its key's id, and where the key is (RFC 8555, 7.3.4). */
  readonly eab?: { readonly keyId: string; readonly key: SecretSource };
  readonly email?: string;
  /** One of the authority's profiles, such as `shortlived`. */
  readonly profile?: string;
  /** One certificate of each kind for each list of names. */
  readonly keys: readonly [KeyKind, ...KeyKind[]];
  readonly domains: readonly (readonly string[])[];
  /**
   * A server that answers HTTP-01 challenges; it is asked without the path's prefix. Then it is somebody else who obtains
   * the certificates.
   */
  readonly challenge?: ServerAddress;
}

export type BalanceConfiguration =
  | { readonly kind: 'roundrobin' }
  /** Sticky by the cookie `<cookie>_<environment>`, or `<cookie>` in multi-instance. */
  | { readonly kind: 'cookie'; readonly cookie: string }
  /** By the path, or its first `depth` parts where that is given. */
  | { readonly kind: 'hash-uri'; readonly depth?: number };

/** Where a secret is: a variable of the worker's environment, or a file the worker can read (a final newline is cut). */
export type SecretSource = { readonly env: string } | { readonly file: string };

/** Who is told when an operation has ended. */
export interface NotifyConfiguration {
  /** Of the URL, which is a secret. */
  readonly url: SecretSource;
}

/** What `bascule provision` makes for an edge in an instance of Incus; `provisionWanted` fills in what is left out. */
export interface ProvisionConfiguration {
  readonly image?: string;
  readonly storage?: string;
  readonly network?: string;
  /** Of the bridge, with its prefix length. */
  readonly subnet?: string;
  readonly profile?: string;
  /** An address of the machine that Incus runs on, `*` for each of them. */
  readonly listen?: string;
  /** Besides haproxy. */
  readonly packages?: readonly string[];
  readonly unattendedUpgrades?: boolean;
}

export type EnvValue = string | SecretSource;

export interface ArtifactsConfiguration {
  /** With `{component}`, `{environment}` and `{sha}`; `file:` URLs are absolute here. */
  readonly url: string;
  /** With `{url}` beside those of `url`. */
  readonly checksum?: string;
  readonly token?: SecretSource;
  /** PEM file of roots that servers of artifacts are trusted by, besides the usual ones. */
  readonly caFile?: string;
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

export type InstancesConfiguration = ProcessInstances | IncusInstances;

export interface IncusInstances {
  readonly driver: 'incus';
  /** An image's alias or fingerprint, such as `images:debian/13`. */
  readonly image: string;
  /** The edge finds an instance as `<name>.<domain>`. */
  readonly domain?: string;
  /** Where no name server knows them: a part of their network's subnet, of which each instance gets one address. */
  readonly addresses?: AddressRange;
  /** Of Incus. */
  readonly profiles: readonly string[];
  /** Of Incus; its default project where it is left out. */
  readonly project?: string;
  /** As Incus's own client calls it; this machine's daemon where it is left out. */
  readonly remote?: string;
  /** A folder of the worker's: artifacts, until they are in an instance. */
  readonly directory: string;
  /** A file: which instance has which address of `addresses`. The worker has its own files beside it. */
  readonly addressBook: string;
  readonly releasesKept: number;
}

export interface ProcessInstances {
  readonly driver: 'process';
  /** A range like 127.77.0.0/16 (an address for each instance), or one address (a port for each instance). */
  readonly addresses: AddressRange;
  /** A folder, with one folder in it for each instance. */
  readonly directory: string;
  /** A file: which instance has which address. */
  readonly addressBook: string;
  readonly releasesKept: number;
}

export interface AddressRange {
  readonly address: string;
  readonly prefixLength: number;
}

/** The address of each instance, by instance name. A host name where the edge is to find it by DNS. */
export type AddressBook = Readonly<Record<string, InstanceAddress>>;

export interface InstanceAddress {
  readonly address: string;
  readonly port: number;
}

/**
 * `<state>/applied.json`: the configuration in force on the edge, written by `bascule apply` alone.
 * Holds no secret.
 */
export interface AppliedConfiguration {
  readonly schemaVersion: 1;
  readonly configuration: Configuration;
  readonly addresses: AddressBook;
  /** Where Bascule itself obtains certificates. */
  readonly certificates?: AppliedCertificates;
}

export interface AppliedCertificates {
  /** Thumbprint of the account's key, by which challenges are answered (RFC 8555, 8.1). */
  readonly thumbprint: string;
  /** First names of the certificates that there are: http redirects to https for their hosts alone. */
  readonly present: readonly string[];
}

/** The header Host of health checks, those of HAProxy and those of the worker: `localhost` where there is no environment. */
export const healthHost = (
  { hosts: [first = 'localhost'] }: { readonly hosts: readonly string[] } = { hosts: [] },
): string => first;

/** Those of Incus that the instances of a component get; what a later one says comes before. */
export const profilesOf = ({ profiles }: IncusInstances, component?: ComponentConfiguration): readonly string[] => [
  ...profiles,
  ...(component?.profiles ?? []),
];

/** Hosts of which http redirects to https; null where all are. */
export function redirectedHosts({ configuration, certificates }: AppliedConfiguration): readonly string[] | null {
  const domains = configuration.certificates?.domains;
  if (!domains) return null;
  return domains.filter(([first = '']) => certificates?.present.includes(first) ?? true).flat();
}
