import type { Client } from '@temporalio/client';
import { loadConfiguration } from '../config/load.js';
import type { Configuration } from '../domain/configuration.js';
import type { Edge } from '../haproxy/edge.js';
import type { LocalHost } from '../hosts/local.js';

/** What every activity works with. */
export interface WorkerContext {
  /** The worker's bascule.yaml, read anew by each activity that needs it. */
  readonly configurationFile: string;
  readonly project: string;
  readonly client: Client;
  readonly host: LocalHost;
  /** Version of Bascule. */
  readonly version: string;
}

export interface Project {
  readonly configuration: Configuration;
  readonly edge: Edge;
}

/** The worker's bascule.yaml as it is now. Throws `config-invalid`, `config-not-found`. */
export async function loadProject(context: WorkerContext): Promise<Project> {
  const configuration = await loadConfiguration(context.configurationFile);
  return {
    configuration,
    edge: { host: context.host, project: configuration.project, configuration: configuration.edge },
  };
}
