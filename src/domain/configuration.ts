/**
 * What bascule.yaml says, after the loader checked it and filled in every default.
 * All paths are absolute, all durations milliseconds, all sizes bytes. No secret is ever in it, only where secrets are.
 */
export interface Configuration {
  readonly project: string;
  readonly edge: EdgeConfiguration;
  readonly topology: 'blue-green';
  readonly environments: readonly EnvironmentConfiguration[];
  readonly components: readonly ComponentConfiguration[];
  readonly artifacts: ArtifactsConfiguration;
  readonly instances: InstancesConfiguration;
}

/** An IPv4 address, or `*` for every address, and a port. */
export interface BindAddress {
  readonly address: string;
  readonly port: number;
}

export interface EdgeConfiguration {
  readonly name: string;
  readonly host: { readonly driver: 'local' };
  /** Whether Bascule runs this HAProxy itself. */
  readonly manage: boolean;
  readonly http: BindAddress;
  readonly files: EdgeFiles;
  /** HAProxy's `timeout http-keep-alive`: how long an idle kept connection may still be answered by the release before. */
  readonly httpKeepAliveMs: number;
  /** HAProxy's `hard-stop-after`: the longest life of an old HAProxy worker. */
  readonly hardStopAfterMs: number;
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
  /** Highest share of 5xx answers, 0 to 1, that a release may give during its soak. */
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
  readonly timeouts: { readonly tunnelMs?: number };
  readonly run: readonly string[];
  readonly migrate?: { readonly command: readonly string[]; readonly timeoutMs: number };
  readonly env: Readonly<Record<string, EnvValue>>;
  readonly startDeadlineMs: number;
  readonly stopGraceMs: number;
}

export interface HealthConfiguration {
  readonly path: string;
  readonly intervalMs: number;
  readonly fall: number;
  readonly rise: number;
}

export interface RouteConfiguration {
  readonly prefix: string;
}

export type BalanceConfiguration =
  | { readonly kind: 'roundrobin' }
  /** Sticky by the cookie `<cookie>_<environment>`. */
  | { readonly kind: 'cookie'; readonly cookie: string }
  | { readonly kind: 'hash-uri' };

/** Where a secret is: a variable of the worker's environment, or a file the worker can read (a final newline is cut). */
export type SecretSource = { readonly env: string } | { readonly file: string };

export type EnvValue = string | SecretSource;

export interface ArtifactsConfiguration {
  /** With `{component}`, `{environment}` and `{sha}`; `file:` URLs are absolute here. */
  readonly url: string;
  /** With `{url}` beside those of `url`. */
  readonly checksum?: string;
  readonly token?: SecretSource;
  readonly maxBytes: number;
  readonly timeoutMs: number;
}

export interface InstancesConfiguration {
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

/** The address of each instance, by instance name. */
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
}
