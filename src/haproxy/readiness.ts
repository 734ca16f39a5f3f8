import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  Configuration,
  InstanceAddress,
} from '../domain/configuration.js';
import { type ColorChange, type EdgeChange, type EdgeRecord, isOfEnvironment } from '../domain/edge-change.js';
import type { Color, EnvironmentState } from '../domain/edge-state.js';
import { backendName, instanceName } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { type Edge, edgeFiles, runtimeSocket } from './edge.js';
import { examineApplied } from './installed.js';
import { findProcesses } from './managed.js';
import { probePool } from './probe.js';
import { readServers, reloadMs } from './runtime.js';
import { whyNoMaster, whyNotRunning } from './silence.js';

/**
 * Refuses a change that the edge is not ready for.
 *
 * @throws `edge-needs-operator`, `edge-drift`, `edge-not-applied`, `environment-not-applied`, `active-color-changed`,
 * `edge-not-writable`, `edge-silent`, `edge-not-running`, `edge-master-silent`, `edge-not-master-worker`, `edge-other-haproxy`, `color-not-up`
 */
export async function refuseUnlessReady(edge: Edge, change: EdgeChange, record: EdgeRecord): Promise<void> {
  const { applied } = await examineApplied(edge);
  await refuseWhereNobodyAnswers(edge, change, record);
  await refuseUnlessWritable(edge);
  refuseByRecord(edge, change, record, applied?.configuration.environments.map(({ name }) => name) ?? []);
  await refuseUnlessMasterWorker(edge, record);
  if (!applied || !needsServersUp(change)) return;
  const { environment, to: color } = change;
  const servers = await serversNotUp(edge, applied, environment, color);
  if (servers.length > 0) throw new BasculeError('color-not-up', { environment, color, servers });
}

/** Longer than the first checks after a reload take, which HAProxy spreads over the interval. */
const firstCheckMs = 15_000;
const pollMs = 100;

/**
 * Servers of a color that are not UP on the edge by a check that passed, as `<backend>/<server>`. After a reload, also
 * one for another environment, servers are UP unchecked: then the first check is waited for.
 */
export async function serversNotUp(
  edge: Edge,
  applied: AppliedConfiguration,
  environment: string,
  color: Color,
): Promise<readonly string[]> {
  const { environments, components } = applied.configuration;
  const prefix = environments.find(({ name }) => name === environment)?.prefix ?? '';
  const wanted = components.map(
    ({ name, pool }) => `${backendName(environment, pool)}/${instanceName({ prefix }, name, color)}`,
  );
  const deadline = performance.now() + firstCheckMs;
  for (;;) {
    const { servers } = await readServers(runtimeSocket(edge));
    const seen = new Map(servers.map((server) => [`${server.backend}/${server.name}`, server]));
    const notUp = wanted.filter((server) => !seen.get(server)?.isUp);
    const areAllUnchecked = notUp.every((server) => seen.get(server)?.status.startsWith('UP'));
    if (notUp.length === 0 || !areAllUnchecked || performance.now() > deadline) return notUp;
    await sleep(pollMs);
  }
}

/** The part of `refuseUnlessReady` that the record alone decides. */
export function refuseByRecord(
  edge: Edge,
  change: EdgeChange,
  record: EdgeRecord,
  environments: readonly string[],
): void {
  const host = edge.host.name;
  const files = edgeFiles(edge);
  if (record.needsOperator !== null && !change.repair) {
    throw new BasculeError('edge-needs-operator', { host, file: files.needsOperator, text: record.needsOperator });
  }
  if (record.drift.length > 0 && !change.repair) {
    throw new BasculeError('edge-drift', { host, drift: record.drift.map((each) => each.message) });
  }
  if (change.kind === 'apply') return;
  if (record.applied === null || record.installed === null)
    throw new BasculeError('edge-not-applied', { host, file: files.config });
  if (!isOfEnvironment(change)) return;
  const { environment } = change;
  if (!environments.includes(environment)) {
    throw new BasculeError('environment-not-applied', { environment, applied: environments });
  }
  if (change.kind === 'stand-down') return;
  const active = record.states.find((state) => state.name === environment)?.color ?? 'blue';
  if (active !== change.from) {
    throw new BasculeError('active-color-changed', { environment, expected: change.from, active });
  }
}

/** Elsewhere SIGHUP reloads nothing. A managed HAProxy that does not run yet is started in that mode. */
async function refuseUnlessMasterWorker(edge: Edge, record: EdgeRecord): Promise<void> {
  if ((await findProcesses(edge, record.running === null ? 0 : reloadMs)) !== null) return;
  if (record.running === null && edge.configuration.manage) return;
  throw await whyNoMaster(edge, record.running);
}

/** What can't be written can't be taken back either. A full disk is another matter: room may be made meanwhile. */
async function refuseUnlessWritable(edge: Edge): Promise<void> {
  const { config, state } = edge.configuration.files;
  for (const folder of [dirname(config), state]) {
    const reason = await edge.host.whyNotWritable(folder);
    if (reason !== null) throw new BasculeError('edge-not-writable', { host: edge.host.name, folder, reason });
  }
}

/** What nobody can ask can't be changed, and not be repaired either; that an operator is needed comes first. */
async function refuseWhereNobodyAnswers(edge: Edge, change: EdgeChange, record: EdgeRecord): Promise<void> {
  if (record.running !== null || record.installed === null) return;
  if (record.needsOperator !== null && !change.repair) return;
  const why = await whyNotRunning(edge);
  if (why) throw why;
}

/** The way back to a color that never had a release needs none, and a repair takes what there is. */
function needsServersUp(change: EdgeChange): change is ColorChange {
  return change.kind === 'color' && change.sha !== null && !change.repair;
}

/** An instance that visitors have now. */
interface Serving {
  readonly name: string;
  readonly component: ComponentConfiguration;
  readonly host: string;
}

/**
 * Refuses to lead visitors to another address of what serves them (its port, `instances.addresses` or `domain` changed)
 * as long as nothing answers there and something does where they are led now. Throws `visitors-led-away`.
 */
export async function refuseToLeadAway(
  edge: Edge,
  wanted: AppliedConfiguration,
  states: readonly EnvironmentState[],
): Promise<void> {
  const { applied } = await examineApplied(edge);
  if (!applied) return;
  const [before, after] = [new Map(Object.entries(applied.addresses)), new Map(Object.entries(wanted.addresses))];
  const looks = servingInstances(applied.configuration, states).map(async ({ name, component, host }) => {
    const [from, to] = [before.get(name), after.get(name)];
    if (!from || !to || isDeepStrictEqual(from, to)) return null;
    const answers = async (bind: InstanceAddress) =>
      (await probePool({ from: edge.host, to: [bind], host, path: component.health.path })).status !== 0;
    if ((await answers(to)) || !(await answers(from))) return null;
    return `${name} from ${from.address}:${from.port} to ${to.address}:${to.port}`;
  });
  const silent = (await Promise.all(looks)).filter((found) => found !== null);
  if (silent.length > 0) throw new BasculeError('visitors-led-away', { instances: silent });
}

function servingInstances(configuration: Configuration, states: readonly EnvironmentState[]): readonly Serving[] {
  const { environments, components } = configuration;
  if (configuration.topology === 'multi-instance') {
    return components.flatMap((component) =>
      (component.instances ?? []).map((name) => ({ name, component, host: 'localhost' })),
    );
  }
  const deployed = states.filter(({ sha }) => sha !== null);
  return deployed.flatMap((state) => {
    const environment = environments.find(({ name }) => name === state.name);
    if (!environment) return [];
    const [host = 'localhost'] = environment.hosts;
    return components.map((component) => ({
      name: instanceName(environment, component.name, state.color),
      component,
      host,
    }));
  });
}
