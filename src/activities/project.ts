import type { Client } from '@temporalio/client';
import { loadConfiguration } from '../config/load.js';
import type { ArtifactsConfiguration, CertificatesConfiguration, Configuration } from '../domain/configuration.js';
import type { IncusPlace } from '../domain/incus-place.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { type Edge, edgeOf } from '../haproxy/edge.js';
import { hostOf, incusHostOf } from '../hosts/edge-host.js';
import type { Host } from '../hosts/host.js';
import { withFailPoints } from './fail-point.js';

/** Where the worker's configuration is, and the machine that the worker is on. */
export interface ProjectPlace {
  /** bascule.yaml, read anew by each activity that needs it. */
  readonly configurationFile: string;
  readonly host: Host;
}

/** What every activity works with. */
export interface WorkerContext extends ProjectPlace {
  readonly project: string;
  readonly client: Client;
  /** Version of Bascule. */
  readonly version: string;
}

export interface Project {
  readonly configuration: Configuration;
  readonly edge: Edge;
  /** The worker's machine, where the instances are that are processes. */
  readonly host: Host;
  /** How an instance of Incus is reached. */
  readonly reach?: (place: IncusPlace) => Host;
}

/** What was read last without an error, by the file's path. */
const lastGood = new Map<string, Configuration>();

/**
 * The worker's bascule.yaml as it is now: for what puts something of it in force. Throws `config-invalid`,
 * `config-not-found`, `config-unreadable`.
 */
export async function readProject(place: ProjectPlace): Promise<Project> {
  const configuration = await loadConfiguration(place.configurationFile);
  lastGood.set(place.configurationFile, configuration);
  return at(place, configuration);
}

/**
 * The same for all else: where the file is broken by now, as this worker read it last, so that a half-edited file keeps
 * nobody from rolling back. `problem` says what is wrong with the file. Throws as `readProject` where it never was right.
 */
export async function loadProject(place: ProjectPlace): Promise<Project & { readonly problem: string | null }> {
  try {
    return { ...(await readProject(place)), problem: null };
  } catch (error) {
    const last = lastGood.get(place.configurationFile);
    if (!last || !isBasculeError(error)) throw error;
    return { ...at(place, last), problem: error.message };
  }
}

function at({ host }: ProjectPlace, configuration: Configuration): Project {
  const where = configuration.edge.host;
  const edgeHost = where.driver === 'local' ? host : withFailPoints(hostOf(where, host));
  const reach = (place: IncusPlace): Host => withFailPoints(incusHostOf(place));
  return { configuration, edge: edgeOf(configuration, edgeHost), host, reach };
}

/** Throws `no-artifacts`. */
export function artifactsOf({ project, artifacts }: Configuration): ArtifactsConfiguration {
  if (!artifacts) throw new BasculeError('no-artifacts', { project });
  return artifacts;
}

/** Throws `no-certificates`. */
export function certificatesOf({ project, certificates }: Configuration): CertificatesConfiguration {
  if (!certificates) throw new BasculeError('no-certificates', { project });
  return certificates;
}
