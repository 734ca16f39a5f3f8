import { Context } from '@temporalio/activity';
import { readEnv, readSecret } from '../config/secrets.js';
import type { AppliedConfiguration } from '../domain/configuration.js';
import { defaults } from '../domain/defaults.js';
import type { Color } from '../domain/edge-state.js';
import { backendName } from '../domain/names.js';
import type { DeployRequest } from '../domain/operation.js';
import { inOrder, isDeployed, type RollingInstance, type RollingPlan } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { runtimeSocket } from '../haproxy/edge.js';
import { readApplied } from '../haproxy/installed.js';
import { readEdge } from '../haproxy/read-edge.js';
import { readReleases } from '../haproxy/releases.js';
import { readServers, type ServerStatus } from '../haproxy/runtime.js';
import { pinArtifact } from '../instances/artifact.js';
import { readInstance } from '../instances/drivers.js';
import { environmentDigest } from '../instances/environment.js';
import { instancesOfColor, type PlacedInstance } from '../instances/places.js';
import { artifactsOf, type Project } from './project.js';

/**
 * What is in force where instances stand side by side. What a rolling deploy asks of the edge needs one that serves what
 * is installed. Throws `edge-needs-operator`, `edge-drift`, `edge-not-applied`.
 */
export async function openSideBySide(
  project: Project,
  environment: string,
  version: string,
): Promise<{ readonly project: Project; readonly applied: AppliedConfiguration }> {
  const { edge } = project;
  const { host } = edge;
  const { config, state } = edge.configuration.files;
  const record = await readEdge(edge, { probe: false, version });
  if (record.needsOperator !== null) {
    const file = `${state}/needs-operator`;
    throw new BasculeError('edge-needs-operator', { host: host.name, file, text: record.needsOperator });
  }
  if (record.drift.length > 0) {
    throw new BasculeError('edge-drift', { host: host.name, drift: record.drift.map(({ message }) => message) });
  }
  const inForce = await readApplied(edge);
  if (!inForce) throw new BasculeError('edge-not-applied', { host: host.name, file: config });
  if (inForce.applied.configuration.topology !== 'multi-instance')
    throw new BasculeError('environment-not-applied', { environment, applied: [] });
  return { project, applied: inForce.applied };
}

/** What exactly a rolling deploy gives to which instances, in which order, and what each holds now. */
export async function pinRolling(
  opened: Project,
  { environment, request, isRollback }: { environment: string; request: DeployRequest; isRollback: boolean },
  version: string,
): Promise<RollingPlan> {
  if (request.soakMs) throw new BasculeError('soak-not-here', { environment });
  const { project, applied } = await openSideBySide(opened, environment, version);
  const { configuration, edge } = project;
  const artifacts = artifactsOf(configuration);
  const placed = instancesOfColor(project, applied, environment, null);
  requireApplied(project, placed, environment);
  const { servers } = await readServers(runtimeSocket(edge));
  const pinned = await Promise.all(
    [...new Set(placed.map(({ component }) => component.name))].map(async (component) => {
      const names = { component, environment, sha: request.sha };
      const signal = Context.current().cancellationSignal;
      return [component, await pinArtifact(artifacts, names, readSecret, signal)] as const;
    }),
  );
  const artifactOf = new Map(pinned);
  const seen = await Promise.all(
    placed.map(async (one) => {
      const artifact = artifactOf.get(one.component.name);
      if (!artifact) throw new RangeError(`nothing is pinned for ${one.component.name}`);
      return await lookAt(project, one, artifact, servers);
    }),
  );
  // Somebody works on these: to drain or to admit one would lead visitors to it again.
  const inMaintenance = seen.filter((one) => one.isInMaintenance).map(({ instance }) => instance.instance);
  const taken = seen.filter((one) => !one.isInMaintenance);
  if (taken.length === 0) throw new BasculeError('servers-in-maintenance', { environment, servers: inMaintenance });
  const recorded = await readReleases(edge, environment);
  const active = { color: null, sha: recorded.lines[0]?.sha ?? null };
  const warnings =
    artifacts.checksum || artifacts.url.startsWith('file:')
      ? []
      : ['artifacts.checksum is not set: what the URL answers first is what is deployed'];
  warnings.push(
    ...inMaintenance.map(
      (name) => `${name} is in maintenance on the edge and stays as it is: deploy again once it is ready`,
    ),
  );
  return {
    topology: 'multi-instance',
    sha: request.sha,
    active,
    target: null,
    isActiveAlready: active.sha === request.sha && taken.every(({ isDone }) => isDone),
    components: inOrder(taken).map(({ instance }) => instance),
    drainMs: isRollback ? configuration.edge.httpKeepAliveMs : (request.drainMs ?? defaults.drainMs),
    httpKeepAliveMs: configuration.edge.httpKeepAliveMs,
    recorded,
    warnings,
  };
}

/** Why there is no switch where instances stand side by side. */
export const noColors = (environment: string, color: Color): BasculeError =>
  new BasculeError('switch-refused', {
    environment,
    color,
    why: 'its topology is multi-instance, where all instances serve side by side and none has a color',
  });

interface Seen {
  readonly instance: RollingInstance;
  readonly isUp: boolean;
  /** By hand: `set server … state maint`. */
  readonly isInMaintenance: boolean;
  /** It runs exactly what is pinned, with the environment that it would get now, and is UP. */
  readonly isDone: boolean;
}

async function lookAt(
  { configuration }: Project,
  { instance, component: applied }: PlacedInstance,
  { url, sha256 }: { readonly url: string; readonly sha256: string },
  servers: readonly ServerStatus[],
): Promise<Seen> {
  const component = configuration.components.find(({ name }) => name === applied.name) ?? applied;
  // A secret that is missing is found before anything is touched.
  const digest = environmentDigest(await readEnv(component));
  const found = await readInstance(instance);
  const { sha, sha256: held, state, owner } = found;
  const { name, address, port } = instance;
  const backend = backendName(null, component.pool);
  const server = servers.find((one) => one.backend === backend && one.name === name);
  const isUp = server?.isUp ?? false;
  return {
    isUp,
    isInMaintenance: server?.status === 'MAINT',
    isDone: isUp && held === sha256 && found.environmentDigest === digest && !found.isDrained,
    instance: {
      ...{ name: component.name, url, sha256, instance: name, configuration: component },
      ...{ address: { address, port }, owner },
      before: sha !== null && held !== null && state !== 'failed' ? { sha, sha256: held } : null,
    },
  };
}

/** Throws `component-not-applied` where bascule.yaml has an instance that the edge does not know. */
function requireApplied({ configuration }: Project, placed: readonly PlacedInstance[], environment: string): void {
  const known = new Set(placed.map(({ instance }) => instance.name));
  const missing = configuration.components.find(
    (component) => isDeployed(component) && component.instances?.some((name) => !known.has(name)),
  );
  if (missing) throw new BasculeError('component-not-applied', { component: missing.name, environment });
}
