import { Context } from '@temporalio/activity';
import { readCertificateStates } from '../certificate-states.js';
import { readCertificateSchedule } from '../client/certificate-schedule.js';
import { readEnvironment, readProgress } from '../client/operations.js';
import { wantedConfiguration } from '../config/address-book.js';
import { readEnv } from '../config/secrets.js';
import { examineHost } from '../doctor.js';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  EnvironmentConfiguration,
} from '../domain/configuration.js';
import type { EdgeRecord } from '../domain/edge-change.js';
import { type Color, colors, type EnvironmentState, neverDeployed } from '../domain/edge-state.js';
import {
  type ColorState,
  type ColorView,
  type ComponentView,
  type EnvironmentView,
  type InspectAnswers,
  type InspectRequest,
  type InstanceView,
  isFastRollback,
  type Logs,
  type LogsRequest,
  type SideBySideView,
  type Status,
} from '../domain/inspect.js';
import type { CertificatesStatus } from '../domain/issuance.js';
import { backendName } from '../domain/names.js';
import { planRollback } from '../domain/plans.js';
import { earlierRelease, sideBySideEnvironment } from '../domain/rolling.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { readRefusedFiles } from '../haproxy/certificate-folder.js';
import { masterSocket } from '../haproxy/edge.js';
import { examineApplied, isApplied } from '../haproxy/installed.js';
import { readWorkers } from '../haproxy/old-workers.js';
import { readOldWorkersEndBy } from '../haproxy/old-workers-end.js';
import { lookAtEdge, readEdge } from '../haproxy/read-edge.js';
import { readReleases } from '../haproxy/releases.js';
import type { ServerStatus } from '../haproxy/runtime.js';
import { sideBySideServers } from '../haproxy/view-backends.js';
import { driverOf, readInstance } from '../instances/drivers.js';
import { environmentDigest } from '../instances/environment.js';
import { findInstance, instancesOfColor, type PlacedInstance } from '../instances/places.js';
import { asActivities } from './as-activities.js';
import { loadProject, type Project, type WorkerContext } from './project.js';

/** How long `logs --follow` waits for new lines in one go, and how often it looks. */
const followMs = 10_000;
const followEveryMs = 250;

/** What status, history and logs show: reads the hosts, changes nothing. */
export function inspectionActivities(context: WorkerContext) {
  return asActivities({
    async inspect(request: InspectRequest): Promise<InspectAnswers[InspectRequest['what']]> {
      switch (request.what) {
        case 'ping':
          return { version: context.version };
        case 'status':
          return readStatus(context);
        case 'doctor': {
          const { currentAttemptScheduledTimestampMs: temporalNow } = Context.current().info;
          const temporalAheadMs = temporalNow - Date.now();
          return { ...(await examineHost(await loadProject(context), context.version)), temporalAheadMs };
        }
        case 'certificates':
          return readCertificatesStatus(context);
        case 'logs':
          return readLogs(context, request.logs);
        default:
          // A command of a later version may ask for more.
          throw new BasculeError('unknown-request', { request: (request as InspectRequest).what });
      }
    },
  });
}

async function readCertificatesStatus(context: WorkerContext): Promise<CertificatesStatus> {
  const project = await loadProject(context);
  const { configuration } = project;
  const certificates = await readCertificateStates(project);
  return {
    schemaVersion: 1,
    project: configuration.project,
    ca: certificates.length > 0 ? (configuration.certificates?.ca ?? null) : null,
    ...(await readCertificateSchedule(context.client, configuration.project)),
    certificates,
    refused: configuration.edge.https ? await readRefusedFiles(project.edge) : [],
  };
}

async function readStatus(context: WorkerContext): Promise<Status> {
  const project = await loadProject(context);
  const { configuration, edge, problem } = project;
  const wanted = await wantedConfiguration(configuration);
  const inForce = await examineApplied(edge);
  const applied = inForce.applied ?? wanted;
  const { record, servers } = await lookAtEdge(edge, { probe: false, version: context.version });
  const workers = await readWorkers(masterSocket(edge));
  return {
    schemaVersion: 1,
    project: configuration.project,
    version: context.version,
    configurationProblem: problem,
    isConfigurationApplied: isApplied(inForce.applied, wanted),
    edge: {
      name: configuration.edge.name,
      host: edge.host.name,
      generation: record.installed?.generation ?? null,
      digest: record.installed?.digest ?? null,
      running: record.running !== null,
      drift: record.drift,
      needsOperator: record.needsOperator,
      oldWorkers: workers?.old.length ?? 0,
      oldWorkersEndBy: await readOldWorkersEndBy(edge, workers),
    },
    environments:
      applied.configuration.topology === 'multi-instance'
        ? [await viewSideBySide(context, project, { applied, record, servers })]
        : await Promise.all(
            applied.configuration.environments.map((environment) =>
              viewEnvironment(context, project, { applied, environment, record, servers }),
            ),
          ),
  };
}

interface Seen {
  readonly applied: AppliedConfiguration;
  readonly environment: EnvironmentConfiguration;
  readonly record: EdgeRecord;
  readonly servers: readonly ServerStatus[];
}

async function viewEnvironment(context: WorkerContext, project: Project, seen: Seen): Promise<EnvironmentView> {
  const { environment, record } = seen;
  const { name } = environment;
  const state = record.states.find((one) => one.name === name) ?? neverDeployed(name);
  const history = record.histories[name] ?? [];
  const running = await readRunning(context, name);
  const [blue, green] = await Promise.all(colors.map((color) => viewColor(project, seen, state, color)));
  if (!blue || !green) throw new RangeError('there are two colors');
  const views = { blue, green };
  return {
    name,
    hosts: environment.hosts,
    active: state.color,
    sha: state.sha,
    since: history[0]?.at ?? null,
    blocked: blockedBy(record),
    ...running,
    rollback: running.rollbackRefused ? null : rollbackOf(state, history, views),
    colors: views,
    instances: [],
    history,
  };
}

async function viewSideBySide(
  context: WorkerContext,
  project: Project,
  { applied, record, servers }: Omit<Seen, 'environment'>,
): Promise<SideBySideView> {
  const name = sideBySideEnvironment;
  const { components } = applied.configuration;
  const { lines } = await readReleases(project.edge, name);
  const running = await readRunning(context, name);
  const placed = instancesOfColor(project, applied, name, null);
  const instances = await Promise.all(
    components.flatMap((component) =>
      sideBySideServers(component, applied.addresses).map(async ({ name: server, address }): Promise<InstanceView> => {
        const seen = {
          name: component.name,
          instance: server,
          address: `${address.address}:${address.port}`,
          health: healthOf(servers, null, component, server),
        };
        const mine = placed.find(({ instance }) => instance.name === server);
        if (mine) return { ...seen, ...(await viewInstance(project, mine)) };
        return { ...seen, state: null, sha: null, restarts: 0, environmentChanged: null, problem: null };
      }),
    ),
  );
  const to = earlierRelease(lines, null);
  return {
    ...running,
    name,
    hosts: [],
    active: null,
    sha: lines[0]?.sha ?? null,
    since: lines[0]?.at ?? null,
    blocked: blockedBy(record),
    rollback: running.rollbackRefused || to === null ? null : { to, fast: false, until: null },
    colors: null,
    instances,
    history: lines.map((line) => ({ ...line, color: null })),
  };
}

/** What runs and waits in an environment. */
async function readRunning(
  context: WorkerContext,
  environment: string,
): Promise<Pick<EnvironmentView, 'waiting' | 'until' | 'rollbackRefused' | 'operation' | 'queue'>> {
  const asked = await readEnvironment(context.client, { project: context.project, environment });
  const progress = asked?.operation ? await readProgress(context.client, asked.operation.id) : null;
  return {
    waiting: progress?.waiting ?? null,
    until: progress?.until ?? null,
    rollbackRefused: asked?.rollbackRefused ?? null,
    operation: asked?.operation
      ? { ...asked.operation, step: progress?.step ?? null, since: progress?.since ?? null }
      : null,
    queue: asked?.queue ?? [],
  };
}

async function viewColor(project: Project, seen: Seen, state: EnvironmentState, color: Color): Promise<ColorView> {
  const { applied, environment, servers } = seen;
  const mine = instancesOfColor(project, applied, environment.name, color);
  const components: (ComponentView & { sha: string | null })[] = await Promise.all(
    mine.map(async ({ instance, component }) => {
      const seen = {
        name: component.name,
        instance: instance.name,
        address: `${instance.address}:${instance.port}`,
        health: healthOf(servers, environment.name, component, instance.name),
      };
      return { ...seen, ...(await viewInstance(project, { instance, component })) };
    }),
  );
  const shas = new Set(components.map((component) => component.sha));
  const isStandby = color !== state.color && state.standby !== null;
  return {
    sha: shas.size === 1 ? ([...shas][0] ?? null) : null,
    state: isStandby ? 'standby' : colorState(components),
    components: components.map(({ sha: _, ...component }) => component),
  };
}

/** What an instance's record says of it. */
async function viewInstance(
  project: Project,
  { instance, component }: PlacedInstance,
): Promise<Pick<ComponentView, 'state' | 'restarts' | 'problem' | 'environmentChanged'> & { sha: string | null }> {
  const found = await readInstance(instance).catch(ifDamaged);
  if (isBasculeError(found)) {
    const problem = { message: found.message, remedy: found.remedy };
    return { state: 'failed', restarts: 0, environmentChanged: null, problem, sha: null };
  }
  return {
    state: found.state,
    restarts: found.restarts,
    problem: null,
    environmentChanged: found.isAlive ? await hasChanged(project, component.name, found.environmentDigest) : null,
    sha: found.sha,
  };
}

/** Errors about one instance alone. */
const seenAsProblems: ReadonlySet<string> = new Set(['instance-record-damaged', 'incus-instance-foreign']);

/** One damaged record does not hide what all the others are. */
function ifDamaged(error: unknown): BasculeError {
  if (isBasculeError(error) && seenAsProblems.has(error.code)) return error;
  throw error;
}

/** Whether a component's `env` gives another digest now; null where its secrets cannot be read. */
async function hasChanged(
  { configuration }: Project,
  componentName: string,
  digest: string | null,
): Promise<boolean | null> {
  const component = configuration.components.find(({ name }) => name === componentName);
  if (!component || digest === null) return null;
  try {
    return environmentDigest(await readEnv(component)) !== digest;
  } catch (error) {
    if (isBasculeError(error) && error.code === 'secret-missing') return null;
    throw error;
  }
}

/** The least of its components' states: a color runs when all of it runs. */
function colorState(components: readonly ComponentView[]): ColorState {
  const order: readonly ColorState[] = ['failed', 'starting', 'stopped', 'empty', 'running'];
  return order.find((state) => components.some((component) => component.state === state)) ?? 'empty';
}

function healthOf(
  servers: readonly ServerStatus[],
  environment: string | null,
  { pool }: ComponentConfiguration,
  instance: string,
): string | null {
  const server = servers.find((one) => one.backend === backendName(environment, pool) && one.name === instance);
  return server ? `${server.status} ${server.checkStatus}` : null;
}

function blockedBy(record: EdgeRecord): EnvironmentView['blocked'] {
  if (record.needsOperator !== null) return { code: 'needs-operator', remedy: 'bascule apply --repair' };
  const [first] = record.drift;
  if (first) return { code: 'drift', remedy: first.remedy ?? 'bascule apply --repair' };
  return null;
}

function rollbackOf(
  state: EnvironmentState,
  history: EdgeRecord['histories'][string],
  views: Record<Color, ColorView>,
): EnvironmentView['rollback'] {
  const plan = planRollback(state, history, null);
  if (!plan) return null;
  const { to } = plan;
  return { to: to.sha, fast: isFastRollback(state.color, views, to), until: null };
}

async function readLogs(context: WorkerContext, request: LogsRequest): Promise<Logs> {
  const project = await loadProject(context);
  const applied = (await examineApplied(project.edge)).applied ?? (await wantedConfiguration(project.configuration));
  const record = await readEdge(project.edge, { probe: false, version: context.version });
  const state = record.states.find((one) => one.name === request.environment) ?? neverDeployed(request.environment);
  const color = request.color ?? state.color;
  const { environment, component } = request;
  const named = request.instance === undefined ? {} : { instance: request.instance };
  const { instance } = findInstance(project, applied, { environment, component, color, ...named });
  const { after, tail, sinceMs } = request;
  const part = { ...(tail === undefined ? {} : { tail }), ...(sinceMs === undefined ? {} : { sinceMs }) };
  const deadline = performance.now() + followMs;
  const driver = driverOf(instance);
  let log = await driver.readLog(instance, after === undefined ? part : { after });
  while (after !== undefined && log.lines.length === 0 && performance.now() < deadline) {
    await Context.current().sleep(followEveryMs);
    log = await driver.readLog(instance, { after });
  }
  return { instance: instance.name, ...log };
}
