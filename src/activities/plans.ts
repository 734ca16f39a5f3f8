import { Context } from '@temporalio/activity';
import { readEnv, readSecret } from '../config/secrets.js';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  EnvironmentConfiguration,
} from '../domain/configuration.js';
import { type Color, type HistoryLine, neverDeployed, otherColor } from '../domain/edge-state.js';
import type {
  CleanupPlan,
  CleanupRequest,
  DeployRequest,
  PlannedComponent,
  Release,
  ReleasePlan,
  RollbackRequest,
  SideBySideCleanupPlan,
  SwitchRequest,
  UnusedInstance,
} from '../domain/operation.js';
import { planRollback, planSwitch, type RollbackPlan, type SwitchPlan } from '../domain/plans.js';
import { deployedEnvironments, earlierRelease, type RollingPlan } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { assertCertificateFiles } from '../haproxy/certificate-folder.js';
import { readApplied } from '../haproxy/installed.js';
import { readEdge } from '../haproxy/read-edge.js';
import { serversNotUp } from '../haproxy/readiness.js';
import { readReleases } from '../haproxy/releases.js';
import { pinArtifact } from '../instances/artifact.js';
import { readInstance } from '../instances/drivers.js';
import { environmentDigest } from '../instances/environment.js';
import { instancesOfColor } from '../instances/places.js';
import type { InstanceState } from '../instances/record.js';
import { asActivities } from './as-activities.js';
import { artifactsOf, loadProject, type Project, readProject, type WorkerContext } from './project.js';
import { noColors, openSideBySide, pinRolling } from './rolling-plan.js';
import { countActive } from './watches.js';

/** A rollback where instances stand side by side: always a deploy of the earlier release. */
interface SideBySideRollbackPlan {
  readonly from: Release;
  readonly to: Release & { readonly sha: string };
  readonly isFast: false;
}

/** Reads and decides what an operation does; changes nothing. */
export function planActivities(context: WorkerContext) {
  /** What is in force for an environment. Throws `unknown-environment`, `edge-not-applied`, `environment-not-applied`. */
  async function open(environment: string, read: typeof readProject = loadProject) {
    const project = await read(context);
    const { configuration, edge } = project;
    const wanted = configuration.environments.find((one) => one.name === environment);
    if (!wanted) {
      const known = configuration.environments.map((one) => one.name);
      throw new BasculeError('unknown-environment', { environment, known });
    }
    const record = await readEdge(edge, { probe: false, version: context.version });
    const inForce = await readApplied(edge);
    if (!inForce) {
      const host = edge.host.name;
      // A configuration is installed, and what it was rendered from is gone.
      if (record.installed)
        throw new BasculeError('edge-drift', { host, drift: record.drift.map(({ message }) => message) });
      throw new BasculeError('edge-not-applied', { host, file: edge.configuration.files.config });
    }
    const applied = inForce.applied.configuration.environments.map((one) => one.name);
    if (!applied.includes(environment)) throw new BasculeError('environment-not-applied', { environment, applied });
    const state = record.states.find((one) => one.name === environment) ?? neverDeployed(environment);
    return {
      project,
      applied: inForce.applied,
      environment: wanted,
      state,
      history: record.histories[environment] ?? [],
    };
  }

  /** Whether an environment is the one of multi-instance, where Bascule runs something. */
  async function isSideBySide(environment: string): Promise<boolean> {
    const { configuration } = await loadProject(context);
    return configuration.topology === 'multi-instance' && deployedEnvironments(configuration).includes(environment);
  }

  async function planSideBySideRollback(
    environment: string,
    request: RollbackRequest,
  ): Promise<SideBySideRollbackPlan> {
    const { lines } = await readReleases((await loadProject(context)).edge, environment);
    const from = { color: null, sha: lines[0]?.sha ?? null };
    const sha = earlierRelease(lines, request.to?.toLowerCase() ?? null);
    if (sha === null) throw new BasculeError('nothing-to-roll-back-to', { environment, active: from.sha });
    return { from, to: { color: null, sha }, isFast: false };
  }

  async function planSideBySideCleanup(environment: string): Promise<SideBySideCleanupPlan> {
    const { project, applied } = await openSideBySide(await loadProject(context), environment, context.version);
    const { lines } = await readReleases(project.edge, environment);
    const found = await unusedInstances(project, applied, environment, null, ['failed', 'stopped']);
    return {
      topology: 'multi-instance',
      target: null,
      active: { color: null, sha: lines[0]?.sha ?? null },
      instances: found,
    };
  }

  return asActivities({
    async pinRelease(pin: {
      environment: string;
      request: DeployRequest;
      isRollback: boolean;
    }): Promise<ReleasePlan | RollingPlan> {
      const project = await (pin.isRollback ? loadProject : readProject)(context);
      // Before anything is fetched or given up: the edge could not be changed.
      await assertCertificateFiles(project.edge);
      if (await isSideBySide(pin.environment)) return pinRolling(project, pin, context.version);
      const { applied, environment, state, history } = await open(pin.environment, async () => project);
      const { configuration } = project;
      const artifacts = artifactsOf(configuration);
      const { request } = pin;
      const target = otherColor(state.color);
      const components = await Promise.all(
        configuration.components.map((component) =>
          pinComponent(project, applied, environment, component, target, request.sha),
        ),
      );
      const warnings =
        artifacts.checksum || artifacts.url.startsWith('file:')
          ? []
          : ['artifacts.checksum is not set: what the URL answers first is what is deployed'];
      const isActive = state.sha === request.sha;
      return {
        sha: request.sha,
        active: { color: state.color, sha: state.sha },
        target,
        standby: state.standby,
        isActiveAlready: isActive && (await isServedAsPinned(project, applied, environment, state.color, components)),
        components,
        needsApproval: environment.approval,
        baseline: pin.isRollback ? null : await countActive(project.edge, environment.name, { components }),
        soak: { ...environment.soak, ...(request.soakMs === undefined ? {} : { forMs: request.soakMs }) },
        drainMs: pin.isRollback ? configuration.edge.httpKeepAliveMs : (request.drainMs ?? environment.drainMs),
        httpKeepAliveMs: configuration.edge.httpKeepAliveMs,
        switchedAwayAt: await switchedAwayAt(project, applied, { environment: environment.name, target, history }),
        warnings,
      };
    },

    async planRollback(plan: {
      environment: string;
      request: RollbackRequest;
    }): Promise<(RollbackPlan & { isFast: boolean }) | SideBySideRollbackPlan> {
      if (await isSideBySide(plan.environment)) return planSideBySideRollback(plan.environment, plan.request);
      const { project, applied, environment, state, history } = await open(plan.environment);
      const { request } = plan;
      const found = planRollback(state, history, request.to?.toLowerCase() ?? null);
      if (!found) throw new BasculeError('nothing-to-roll-back-to', { environment: state.name, active: state.sha });
      const isFast = !request.full && (await holdsAndIsUp(project, applied, environment, found.to));
      return { ...found, isFast };
    },

    async planSwitch(plan: { environment: string; request: SwitchRequest }): Promise<SwitchPlan> {
      if (await isSideBySide(plan.environment)) throw noColors(plan.environment, plan.request.color);
      const { project, applied, environment, state, history } = await open(plan.environment);
      const held = await shasOf(project, applied, environment, plan.request.color);
      const { color } = plan.request;
      const found = planSwitch(state, history, color, held);
      if ('refused' in found)
        throw new BasculeError('switch-refused', { environment: state.name, color, why: found.refused });
      return found;
    },

    async planCleanup(plan: {
      environment: string;
      request: CleanupRequest;
    }): Promise<CleanupPlan | SideBySideCleanupPlan> {
      if (await isSideBySide(plan.environment)) return planSideBySideCleanup(plan.environment);
      const { project, applied, environment, state, history } = await open(plan.environment);
      const target = otherColor(state.color);
      const isStandbyKept =
        state.standby !== null &&
        !plan.request.standby &&
        (await serversNotUp(project.edge, applied, environment.name, target)).length === 0;
      return {
        active: { color: state.color, sha: state.sha },
        target,
        standby: state.standby,
        isStandbyKept,
        instances: isStandbyKept ? [] : await unusedInstances(project, applied, environment.name, target),
        drainMs: environment.drainMs,
        httpKeepAliveMs: project.configuration.edge.httpKeepAliveMs,
        switchedAwayAt: await switchedAwayAt(project, applied, { environment: environment.name, target, history }),
      };
    },
  });
}

/**
 * When visitors were led away from a color; null where they never were led to it. Where that is not on record, since a
 * first deploy was taken back, it may have been just now.
 */
async function switchedAwayAt(
  project: Project,
  applied: AppliedConfiguration,
  of: { environment: string; target: Color; history: readonly HistoryLine[] },
): Promise<string | null> {
  const { environment, target, history } = of;
  const [active] = history;
  if (active) return active.at;
  return (await unusedInstances(project, applied, environment, target)).length > 0 ? new Date().toISOString() : null;
}

/** The instances of a color that hold anything. */
async function unusedInstances(
  project: Project,
  applied: AppliedConfiguration,
  environment: string,
  color: Color | null,
  states: readonly InstanceState[] = ['starting', 'running', 'failed', 'stopped'],
): Promise<UnusedInstance[]> {
  const found = await Promise.all(
    instancesOfColor(project, applied, environment, color).map(async ({ instance, component }) => {
      const { owner, state } = await readInstance(instance);
      const { name, address, port } = instance;
      const { stopGraceMs } = component;
      const unused = { name: component.name, instance: name, address: { address, port }, stopGraceMs, owner };
      return states.includes(state) ? [unused] : [];
    }),
  );
  return found.flat();
}

async function pinComponent(
  project: Project,
  applied: AppliedConfiguration,
  environment: EnvironmentConfiguration,
  component: ComponentConfiguration,
  target: Color,
  sha: string,
): Promise<PlannedComponent> {
  const artifacts = artifactsOf(project.configuration);
  // A secret that is missing is found before anything is touched.
  await readEnv(component);
  const placed = instancesOfColor(project, applied, environment.name, target);
  const instance = placed.find((one) => one.component.name === component.name)?.instance;
  if (!instance) {
    throw new BasculeError('component-not-applied', { component: component.name, environment: environment.name });
  }
  const names = { component: component.name, environment: environment.name, sha };
  const { url, sha256 } = await pinArtifact(artifacts, names, readSecret, Context.current().cancellationSignal);
  const { owner } = await readInstance(instance);
  const address = { address: instance.address, port: instance.port };
  return { name: component.name, url, sha256, instance: instance.name, configuration: component, address, owner };
}

/** Whether the active color runs exactly what is pinned, with the environment it would get now, and is UP. */
async function isServedAsPinned(
  project: Project,
  applied: AppliedConfiguration,
  environment: EnvironmentConfiguration,
  color: Color,
  components: readonly PlannedComponent[],
): Promise<boolean> {
  const placed = instancesOfColor(project, applied, environment.name, color);
  for (const component of components) {
    const instance = placed.find((one) => one.component.name === component.name)?.instance;
    if (!instance) return false;
    const running = await readInstance(instance);
    const digest = environmentDigest(await readEnv(component.configuration));
    if (running.sha256 !== component.sha256 || running.environmentDigest !== digest) return false;
  }
  return (await serversNotUp(project.edge, applied, environment.name, color)).length === 0;
}

/** Whether a rollback is a mere switch: checked, not assumed. */
async function holdsAndIsUp(
  project: Project,
  applied: AppliedConfiguration,
  environment: EnvironmentConfiguration,
  to: { color: Color; sha: string },
): Promise<boolean> {
  const held = await shasOf(project, applied, environment, to.color);
  if (held.some((sha) => sha !== to.sha)) return false;
  return (await serversNotUp(project.edge, applied, environment.name, to.color)).length === 0;
}

async function shasOf(
  project: Project,
  applied: AppliedConfiguration,
  environment: EnvironmentConfiguration,
  color: Color,
): Promise<(string | null)[]> {
  const placed = instancesOfColor(project, applied, environment.name, color);
  return Promise.all(placed.map(async ({ instance }) => (await readInstance(instance)).sha));
}
