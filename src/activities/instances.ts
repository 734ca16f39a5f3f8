import { dirname } from 'node:path';
import { Context } from '@temporalio/activity';
import { readEnv, readSecret } from '../config/secrets.js';
import { type Configuration, healthHost } from '../domain/configuration.js';
import type { Color } from '../domain/edge-state.js';
import type { PlannedComponent, ReleasePlan, UnusedInstance } from '../domain/operation.js';
import { deployedEnvironments } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { runtimeSocket } from '../haproxy/edge.js';
import { markServersDown } from '../haproxy/runtime.js';
import { fetchArtifact, pruneArtifacts } from '../instances/artifact.js';
import { driverOf } from '../instances/drivers.js';
import { waitHealthy } from '../instances/health.js';
import { artifactFile, instanceOf } from '../instances/places.js';
import { asActivities, showProgress } from './as-activities.js';
import { poolServer } from './pools.js';
import { artifactsOf, loadProject, type WorkerContext } from './project.js';
import type { MarkedDown } from './watches.js';

interface Step {
  /** Who has the instances while the operation runs. */
  readonly owner: string;
  readonly environment: string;
  /** `target` is null where instances stand side by side. */
  readonly plan: { readonly sha: string; readonly target: Color | null };
  readonly component: PlannedComponent;
}

/** Which artifact is fetched. */
interface Fetching {
  readonly environment: string;
  readonly sha: string;
  readonly component: Pick<PlannedComponent, 'name' | 'url' | 'sha256'>;
}

/** That HAProxy's checks have as well. */
export const hostOfChecks = ({ environments }: Configuration, environment: string): string =>
  healthHost(environments.find(({ name }) => name === environment));

/** Names from elsewhere could make another URL of `artifacts.url`, or another file. */
function requireNames(configuration: Configuration, { environment, component }: Fetching): void {
  const { name, sha256 } = component;
  const isKnown =
    /^[0-9a-f]{64}$/.test(sha256) &&
    configuration.components.some((known) => known.name === name) &&
    deployedEnvironments(configuration).includes(environment);
  if (isKnown) return;
  const { url } = artifactsOf(configuration);
  throw new BasculeError('artifact-not-configured', { what: `${environment} ${name} ${sha256}`, expected: url });
}

/** Bytes of an artifact that are in an instance by now, and of how many. */
export const showPushed = (pushed: number, of: number): void => showProgress({ pushed, of });

/** Acts on instances: Temporal's side of src/instances. Each names the operation, and is refused where another one has the instance. */
export function instanceActivities(context: WorkerContext) {
  async function open({ environment, plan, component, owner }: Step) {
    const project = await loadProject(context);
    const instance = instanceOf(project, environment, plan, component);
    const release = { owner, sha: plan.sha, sha256: component.sha256 };
    const driver = driverOf(instance);
    return { project, instance, driver, release, signal: Context.current().cancellationSignal };
  }

  return asActivities({
    async fetchArtifact({ environment, sha, component }: Fetching): Promise<void> {
      const { configuration } = await loadProject(context);
      requireNames(configuration, { environment, sha, component });
      const file = artifactFile(configuration, component.sha256);
      const signal = Context.current().cancellationSignal;
      const pin = { environment, sha, component: component.name, url: component.url, sha256: component.sha256 };
      await fetchArtifact(pin, file, artifactsOf(configuration), readSecret, {
        signal,
        onProgress: (bytes, of) => showProgress({ fetched: bytes, of }),
      });
    },

    async recreateInstance(step: Step): Promise<MarkedDown> {
      const { project, instance, driver, release, signal } = await open(step);
      const { component, environment } = step;
      const { stopGraceMs } = component.configuration;
      await driver.recreateInstance(instance, { expected: component.owner, owner: step.owner, stopGraceMs, signal });
      // Down on the edge from here on, until checks of the new release bring it up.
      const pid = await markServersDown(runtimeSocket(project.edge), [poolServer(environment, component)]);
      const artifact = artifactFile(project.configuration, component.sha256);
      await driver.prepareRelease(instance, { ...release, artifact, signal, onProgress: showPushed });
      const { configuration } = project;
      const { releasesKept } = configuration.instances;
      await driver.pruneReleases(instance, { owner: step.owner, kept: releasesKept });
      await pruneArtifacts(dirname(artifact), releasesKept * configuration.components.length);
      return { pid };
    },

    async migrate(step: Step): Promise<void> {
      const { instance, driver, release, signal } = await open(step);
      const { migrate } = step.component.configuration;
      if (!migrate) return;
      const env = await readEnv(step.component.configuration);
      await driver.migrateRelease(instance, {
        ...release,
        run: migrate.command,
        env,
        timeoutMs: migrate.timeoutMs,
        signal,
      });
    },

    async startInstance(step: Step): Promise<void> {
      const { project, instance, driver, release, signal } = await open(step);
      const { configuration } = step.component;
      const { health, startDeadlineMs: deadlineMs } = configuration;
      const env = await readEnv(configuration);
      const { run, stopGraceMs } = configuration;
      const started = await driver.startInstance(instance, { ...release, run, env, stopGraceMs });
      const host = hostOfChecks(project.configuration, step.environment);
      const wait = { ...health, host, owner: step.owner, process: started, deadlineMs, stopGraceMs, signal };
      await waitHealthy(instance, wait);
    },

    /** Ends what runs in an instance of the inactive color, and removes its releases and its log. */
    async removeInstance(removal: {
      owner: string;
      environment: string;
      plan: { readonly target: Color | null };
      unused: UnusedInstance;
    }): Promise<void> {
      const { owner, environment, plan, unused } = removal;
      const instance = instanceOf(await loadProject(context), environment, plan, unused);
      const signal = Context.current().cancellationSignal;
      const { owner: expected, stopGraceMs } = unused;
      await driverOf(instance).removeInstance(instance, { expected, owner, stopGraceMs, signal });
    },

    /** Leaves what a cleanup that is stopped has not removed: a worker of it that wakes is refused from here on. */
    async disownInstances({
      owner,
      environment,
      plan,
    }: {
      owner: string;
      environment: string;
      plan: { readonly target: Color | null; readonly instances: readonly UnusedInstance[] };
    }): Promise<void> {
      const project = await loadProject(context);
      for (const unused of plan.instances) {
        const instance = instanceOf(project, environment, plan, unused);
        await driverOf(instance).disownInstance(instance, { expected: unused.owner, owner });
      }
    },

    async markFailed(failed: { owner: string; environment: string; plan: ReleasePlan }): Promise<void> {
      const { owner, environment, plan } = failed;
      const project = await loadProject(context);
      for (const component of plan.components) {
        const instance = instanceOf(project, environment, plan, component);
        await driverOf(instance).markFailed(instance, { expected: component.owner, owner });
      }
    },
  });
}
