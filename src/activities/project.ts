import type { Client } from '@temporalio/client';
import { loadConfiguration } from '../config/load.js';
import type { Configuration } from '../domain/configuration.js';
import type { Edge } from '../haproxy/edge.js';
import type { LocalHost } from '../hosts/local.js';

/** Where the worker's configuration is, and the machine that it is about. */
export interface ProjectPlace {
  /** The worker's bascule.yaml, read anew by each activity that needs it. */
  readonly configurationFile: string;
  readonly host: LocalHost;
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
}

/** The worker's bascule.yaml as it is now. Throws `config-invalid`, `config-not-found`. */
export async function loadProject({ configurationFile, host }: ProjectPlace): Promise<Project> {
  const configuration = await loadConfiguration(configurationFile);
  return {
    configuration,
    edge: { host, project: configuration.project, configuration: configuration.edge },
  };
}
