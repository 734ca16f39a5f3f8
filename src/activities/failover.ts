import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { runFailoverTest } from '../client/failover.js';
import { readEnv } from '../config/secrets.js';
import type { AppliedConfiguration } from '../domain/configuration.js';
import { type Color, neverDeployed, otherColor } from '../domain/edge-state.js';
import {
  type FailoverPlan,
  type FailoverTestRequest,
  type FailoverVisit,
  failoverDownMs,
  failoverVisits,
} from '../domain/failover.js';
import { backendName, instanceName } from '../domain/names.js';
import type { OperationResult } from '../domain/operation.js';
import { deployedEnvironments } from '../domain/rolling.js';
import { probePath } from '../domain/routes.js';
import { BasculeError } from '../errors.js';
import { type Edge, runtimeSocket } from '../haproxy/edge.js';
import { readApplied } from '../haproxy/installed.js';
import { probePool } from '../haproxy/probe.js';
import { readEdge } from '../haproxy/read-edge.js';
import { readReleases } from '../haproxy/releases.js';
import { type HaproxySocket, readProbe, readServers, type ServerStatus } from '../haproxy/runtime.js';
import { stateOf } from '../haproxy/up.js';
import { driverOf, readInstance } from '../instances/drivers.js';
import { waitHealthy } from '../instances/health.js';
import { findInstance, instanceOf } from '../instances/places.js';
import { asActivities } from './as-activities.js';
import { hostOfChecks } from './instances.js';
import { loadProject, type Project, type WorkerContext } from './project.js';

const pollMs = 100;
/** Longer than the first checks after a reload take, which HAProxy spreads over the interval. */
const firstCheckMs = 15_000;

/** What a failover test does to one instance, and what it sees on the edge meanwhile. */
export function failoverActivities(context: WorkerContext) {
  /** The instance, which may be stopped although visitors are given it: that is what the test is for. */
  async function open({ environment, plan }: { environment: string; plan: FailoverPlan }) {
    const project = await loadProject(context);
    const { component, instance, address, target } = plan;
    const place = instanceOf(project, environment, { target }, { name: component.name, instance, address });
    return { ...place, edgeConfig: null };
  }

  const edgeNow = async (): Promise<Edge> => (await loadProject(context)).edge;

  return asActivities({
    async planFailoverTest(plan: { environment: string; request: FailoverTestRequest }): Promise<FailoverPlan> {
      return planTest(await loadProject(context), plan, context.version);
    },

    /** Requests through the edge, each over a connection of its own, and who answered them. */
    async visitPool({ plan }: { plan: FailoverPlan }): Promise<readonly FailoverVisit[]> {
      const edge = await edgeNow();
      const probe = await readProbe(runtimeSocket(edge));
      const visits: FailoverVisit[] = [];
      for (let count = 0; count < failoverVisits; count += 1) {
        const at = new Date();
        const { bind, ...visit } = plan.visit;
        const answer = await probePool({ ...visit, to: [bind], from: edge.host, probe });
        visits.push({ at: at.toISOString(), ms: Date.now() - at.getTime(), ...answer });
      }
      return visits;
    },

    /** Ends it by SIGKILL. It is on record as stopped before, so that nobody brings it back meanwhile. */
    async stopByForce(step: {
      owner: string;
      environment: string;
      plan: FailoverPlan;
    }): Promise<{ stoppedAt: string }> {
      const { owner, plan } = step;
      const instance = await open(step);
      await driverOf(instance).killInstance(instance, { expected: plan.owner, owner });
      return { stoppedAt: new Date().toISOString() };
    },

    async waitUntilDown({ plan, since }: { plan: FailoverPlan; since: string }): Promise<{ afterMs: number }> {
      const socket = runtimeSocket(await edgeNow());
      const atMostMs = Math.max(failoverDownMs, 2 * plan.expectedDownMs);
      const last = await waitForState(socket, plan, atMostMs, ({ status }) => status.startsWith('DOWN'));
      if (last === null) return { afterMs: Math.max(Date.now() - Date.parse(since), 0) };
      throw new BasculeError('failover-not-noticed', { instance: plan.instance, seconds: atMostMs / 1_000, last });
    },

    /** Starts it as it was; where it runs, or a later operation has it, there is nothing to start. */
    async startAgain(step: { owner: string; environment: string; plan: FailoverPlan }): Promise<{ startedAt: string }> {
      const { owner, plan } = step;
      const instance = await open(step);
      const driver = driverOf(instance);
      const { run, stopGraceMs, startDeadlineMs: deadlineMs, health } = plan.component;
      const startedAt = new Date().toISOString();
      const { owner: heldBy, wanted } = await readInstance(instance);
      if (heldBy === plan.owner) {
        // The test ends before it touched anything: a worker of it that wakes late is refused.
        await driver.disownInstance(instance, { expected: plan.owner, owner });
        return { startedAt };
      }
      if (heldBy === `${owner}/undo`) return { startedAt };
      // Its end may have been asked for and not come yet.
      if (wanted === 'stopped') await driver.killInstance(instance, { expected: plan.owner, owner });
      const release = { owner, ...plan.release };
      const env = await readEnv(plan.component);
      const started = await driver.startInstance(instance, { ...release, run, env, stopGraceMs });
      const { cancellationSignal: signal } = Context.current();
      const host = hostOfChecks((await loadProject(context)).configuration, step.environment);
      await waitHealthy(instance, { ...health, host, owner, process: started, deadlineMs, stopGraceMs, signal });
      return { startedAt };
    },

    /** For a Schedule: the environment runs it, in order. */
    async runFailoverTest(asked: { environment: string; request: FailoverTestRequest }): Promise<OperationResult> {
      const { client, project } = context;
      const { cancellationSignal: signal } = Context.current();
      return runFailoverTest(client, { project, environment: asked.environment }, asked.request, signal);
    },

    async waitUntilUpAgain({ plan, since }: { plan: FailoverPlan; since: string }): Promise<{ afterMs: number }> {
      const { startDeadlineMs: atMostMs } = plan.component;
      const last = await waitForState(runtimeSocket(await edgeNow()), plan, atMostMs, ({ isUp }) => isUp);
      if (last === null) return { afterMs: Math.max(Date.now() - Date.parse(since), 0) };
      const servers = [`${plan.backend}/${plan.instance}: ${last}`];
      throw new BasculeError('not-up-on-edge', {
        environment: plan.component.name,
        seconds: atMostMs / 1_000,
        servers,
      });
    },
  });
}

/** Null as soon as the instance's server is so; else what it was last. */
async function waitForState(
  socket: HaproxySocket,
  { backend, instance: server }: FailoverPlan,
  atMostMs: number,
  isSo: (server: ServerStatus) => boolean,
): Promise<string | null> {
  const { cancellationSignal: signal } = Context.current();
  const until = performance.now() + atMostMs;
  for (;;) {
    const seen = stateOf((await readServers(socket)).servers, { backend, server });
    if (isSo(seen)) return null;
    if (performance.now() > until) return `${seen.status} ${seen.lastCheck}`;
    await sleep(pollMs, undefined, { signal });
  }
}

/** Which instance is stopped, and who answers meanwhile. Throws `failover-test-refused` where nobody would. */
async function planTest(
  project: Project,
  { environment, request }: { environment: string; request: FailoverTestRequest },
  version: string,
): Promise<FailoverPlan> {
  const { configuration, edge } = project;
  const { component: name } = request;
  const refuse = (why: string, remedy: string): BasculeError =>
    new BasculeError('failover-test-refused', { environment, component: name, why, remedy });
  const known = deployedEnvironments(configuration);
  if (!known.includes(environment)) throw new BasculeError('unknown-environment', { environment, known });
  if (!request.yes && isProduction(project, environment)) {
    throw refuse('its visitors are those of production', 'To stop an instance of it all the same: add `--yes`.');
  }
  const record = await readEdge(edge, { probe: false, version });
  const inForce = await readApplied(edge);
  if (!inForce) {
    throw new BasculeError('edge-not-applied', { host: edge.host.name, file: edge.configuration.files.config });
  }
  const { applied } = inForce;
  const isSideBySide = applied.configuration.topology === 'multi-instance';
  const state = record.states.find((one) => one.name === environment) ?? neverDeployed(environment);
  const wanted = { environment, component: name, color: state.color };
  const named = request.instance === undefined ? {} : { instance: request.instance };
  const { instance, component } = findInstance(project, applied, { ...wanted, ...named });
  const backend = backendName(isSideBySide ? null : environment, component.pool);
  const others = isSideBySide
    ? (component.instances ?? []).filter((one) => one !== instance.name)
    : standbyOf(applied, environment, name, state.standby === null ? null : otherColor(state.color));
  if (others.length === 0) {
    throw isSideBySide
      ? refuse('it has one instance alone', 'Give it another one in `instances`, then `bascule apply` and deploy.')
      : refuse(
          'nothing stands by that visitors could fall back to',
          `A deploy leaves the release before as the standby: \`bascule deploy ${environment} SHA\`.`,
        );
  }
  const down = await serversDown(runtimeSocket(edge), backend, [instance.name, ...others]);
  if (down.length > 0) {
    throw refuse(
      `not UP on the edge: ${down.join(', ')}`,
      '`bascule status` and `bascule logs` show why; mend that first.',
    );
  }
  const { owner, sha, sha256 } = await readInstance(instance);
  if (sha === null || sha256 === null) throw new BasculeError('instance-empty', { instance: instance.name });
  const host = applied.configuration.environments.find((one) => one.name === environment)?.hosts[0] ?? 'localhost';
  return {
    active: isSideBySide
      ? { color: null, sha: (await readReleases(edge, environment)).lines[0]?.sha ?? null }
      : { color: state.color, sha: state.sha },
    ...{ component, instance: instance.name, address: { address: instance.address, port: instance.port } },
    ...{ target: instance.color, owner, release: { sha, sha256 }, backend, others },
    expectedDownMs: component.health.fall * component.health.intervalMs,
    visit: {
      bind: applied.configuration.edge.http,
      host,
      path: probePath(component, applied.configuration.components),
    },
  };
}

const isProduction = ({ configuration }: Project, name: string): boolean =>
  /^prod(?:uction)?$/.test(name) || configuration.environments.some((one) => one.name === name && one.approval);

function standbyOf(
  { configuration }: AppliedConfiguration,
  environment: string,
  component: string,
  color: Color | null,
): readonly string[] {
  const prefix = configuration.environments.find(({ name }) => name === environment)?.prefix ?? '';
  return color === null ? [] : [instanceName({ prefix }, component, color)];
}

/** Those of them that are not UP by a check that passed; after a reload the first check is waited for. */
async function serversDown(
  socket: HaproxySocket,
  backend: string,
  names: readonly string[],
): Promise<readonly string[]> {
  const until = performance.now() + firstCheckMs;
  for (;;) {
    const { servers } = await readServers(socket);
    const down = names.map((server) => stateOf(servers, { backend, server })).filter(({ isUp }) => !isUp);
    if (down.every(({ status }) => !status.startsWith('UP')) || performance.now() > until) {
      return down.map(({ name }) => name);
    }
    await sleep(pollMs);
  }
}
