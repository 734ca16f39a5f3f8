import type { AppliedConfiguration, Configuration } from '../domain/configuration.js';
import type { Color } from '../domain/edge-state.js';
import { BasculeError } from '../errors.js';
import type { Edge } from '../haproxy/edge.js';
import type { Host } from '../hosts/host.js';
import type { Invocation } from './invocation.js';

/** The project as bascule.yaml beside this command has it, on this machine: for what needs neither Temporal nor a worker. */
export interface LocalProject {
  readonly configuration: Configuration;
  readonly edge: Edge;
  /** Where the instances are. */
  readonly host: Host;
}

/** Throws `config-invalid`, `config-not-found`. */
export async function openLocalProject(invocation: Invocation): Promise<LocalProject> {
  const { loadConfiguration } = await import('../config/load.js');
  const { hostOf } = await import('../hosts/edge-host.js');
  const { LocalHost } = await import('../hosts/local.js');
  const { edgeOf } = await import('../haproxy/edge.js');
  const configuration = await loadConfiguration(invocation.configurationFile);
  const host = new LocalHost();
  return { configuration, edge: edgeOf(configuration, hostOf(configuration.edge.host, host)), host };
}

/** What is in force on this machine's edge. Throws `edge-not-applied`, and what reading the edge's files throws. */
export async function readInForce({ edge }: LocalProject): Promise<{
  readonly applied: AppliedConfiguration;
  /** The active color of an environment, as the installed file's header has it. */
  readonly activeColor: (environment: string) => Color;
}> {
  const { readApplied, readInstalled } = await import('../haproxy/installed.js');
  const [inForce, installed] = await Promise.all([readApplied(edge), readInstalled(edge)]);
  if (!inForce || !installed) {
    throw new BasculeError('edge-not-applied', { host: edge.host.name, file: edge.configuration.files.config });
  }
  return {
    applied: inForce.applied,
    activeColor: (environment) => installed.states.find(({ name }) => name === environment)?.color ?? 'blue',
  };
}
