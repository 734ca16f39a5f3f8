import { join } from 'node:path';
import { loadConfiguration } from '../../src/config/load.js';
import { edgeOf } from '../../src/haproxy/edge.js';
import { hostOf } from '../../src/hosts/edge-host.js';
import { LocalHost } from '../../src/hosts/local.js';
import type { Project } from './project.js';

/** A project as a worker has it. */
export async function openProject({ directory }: Pick<Project, 'directory'>) {
  const configuration = await loadConfiguration(join(directory, 'bascule.yaml'));
  const host = new LocalHost();
  return { configuration, host, edge: edgeOf(configuration, hostOf(configuration.edge.host, host)) };
}
