import { dirname } from 'node:path';
import { Context } from '@temporalio/activity';
import { backendName } from '../domain/names.js';
import type { ReleaseLine, RollingInstance, RollingPlan } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { runtimeSocket } from '../haproxy/edge.js';
import { recordReleases } from '../haproxy/releases.js';
import type { HaproxySocket, ServerPlace } from '../haproxy/runtime.js';
import {
  admitServer,
  type Drained,
  drainServer,
  markDrainedDown,
  waitUntilAdmitted,
  waitUntilDrained,
  waitUntilHealthy,
} from '../haproxy/side-by-side.js';
import { pruneArtifacts } from '../instances/artifact.js';
import { driverOf, readInstance } from '../instances/drivers.js';
import { artifactFile, instanceOf } from '../instances/places.js';
import type { Instance } from '../instances/record.js';
import { asActivities } from './as-activities.js';
import { showPushed } from './instances.js';
import { loadProject, type Project, type WorkerContext } from './project.js';
import { endedByThemselves, type MarkedDown } from './watches.js';

/** What a rolling deploy does with one instance, for whom it is done. */
interface Step {
  readonly owner: string;
  readonly environment: string;
  readonly component: RollingInstance;
}

/** Until when a server is drained; `atMostMs` counts whatever becomes of the clock. */
interface Until {
  readonly until: string;
  readonly atMostMs: number;
}

/** The steps of a rolling deploy: Temporal's side of instances that stand side by side. */
export function rollingActivities(context: WorkerContext) {
  async function open({ environment, component, owner }: Step) {
    const project = await loadProject(context);
    const instance = instanceOf(project, environment, { target: null }, component);
    const socket = runtimeSocket(project.edge);
    const traffic = new Traffic(instance, { socket, place: serverOf(component), owner });
    const driver = driverOf(instance);
    return { project, instance, driver, traffic, socket, signal: Context.current().cancellationSignal };
  }

  async function waitDrained({ edge }: Project, traffic: Traffic, { until, atMostMs }: Until): Promise<Drained> {
    const leftMs = Math.min(Date.parse(until) - Date.now(), atMostMs);
    return waitUntilDrained(edge, traffic.place, {
      untilMs: performance.now() + leftMs,
      signal: Context.current().cancellationSignal,
      drain: () => traffic.drain(),
    });
  }

  return asActivities({
    /** Takes the instance from whoever had it last, and waits until the edge has nothing under way with it. */
    async drainInstance(step: Step & Until): Promise<Drained> {
      const { project, instance, driver, traffic } = await open(step);
      await driver.reserveInstance(instance, { expected: step.component.owner, owner: step.owner });
      return waitDrained(project, traffic, step);
    },

    /** The same for the take-back: null where the operation had yet to come to it, and it serves as before. */
    async retakeInstance(step: Step & Until & { claims: readonly string[] }): Promise<Drained | null> {
      const { project, instance, driver, traffic } = await open(step);
      const { claims, owner } = step;
      const record = await driver.retakeInstance(instance, { expected: step.component.owner, owner, claims });
      return record.isDrained ? waitDrained(project, traffic, step) : null;
    },

    /** Ends what runs in a drained instance and unpacks the release; on the edge it is down until it is checked anew. */
    async replaceRelease(
      step: Step & { expected: string; release: { sha: string; sha256: string } },
    ): Promise<MarkedDown> {
      const { project, instance, driver, traffic, signal } = await open(step);
      const { owner, expected, release, component } = step;
      const { stopGraceMs } = component.configuration;
      const { wanted } = await driver.recreateInstance(instance, { expected, owner, stopGraceMs, signal });
      // A later step has started it: this one was done.
      if (wanted === 'running') return { pid: null };
      const pid = await traffic.markDown();
      const artifact = artifactFile(project.configuration, release.sha256);
      await driver.prepareRelease(instance, { owner, ...release, artifact, signal, onProgress: showPushed });
      return { pid };
    },

    /**
     * Has the edge lead visitors to an instance again, once its own checks find it healthy.
     *
     * @throws `instance-restarted` where it, or one that was replaced earlier, has ended by itself since
     */
    async admitInstance(
      step: Step & { markedDownIn: number | null; earlier: readonly RollingInstance[] },
    ): Promise<void> {
      const { project, instance, driver, traffic, socket, signal } = await open(step);
      const { environment, component, markedDownIn } = step;
      const wait = { environment, deadlineMs: component.configuration.startDeadlineMs, signal };
      if (await traffic.isDrained()) {
        const markDown = () => traffic.markDown();
        await waitUntilHealthy(socket, traffic.place, { ...wait, markedDownIn, markDown });
        await driver.admitInstance(instance, step.owner);
      }
      await waitUntilAdmitted(socket, traffic.place, { ...wait, admit: () => traffic.admit() });
      const components = [...step.earlier, component];
      const { owner } = step;
      const [ended] = await endedByThemselves(project, { environment, owner, plan: { target: null, components } });
      if (ended) throw new BasculeError('instance-restarted', ended);
    },

    /** Leaves what failed for a look, where there is no release before it: nobody is led to it. */
    async leaveFailed(step: Step & { expected: string }): Promise<void> {
      const { instance, driver } = await open(step);
      // The take-back holds it already, since it was drained: it is not to be taken from somebody else.
      await driver.markFailed(instance, { expected: null, owner: step.expected });
    },

    /** Writes down which releases visitors were given. */
    async recordReleases(record: {
      environment: string;
      owner: string;
      expected: readonly (string | null)[];
      lines: readonly ReleaseLine[];
    }): Promise<void> {
      await recordReleases((await loadProject(context)).edge, record);
    },

    /** Removes releases that are too old to go back to. */
    async pruneInstances(step: Omit<Step, 'component'> & { plan: RollingPlan }): Promise<void> {
      const project = await loadProject(context);
      const { releasesKept: kept } = project.configuration.instances;
      const { owner, environment, plan } = step;
      for (const component of plan.components) {
        const instance = instanceOf(project, environment, plan, component);
        await driverOf(instance).pruneReleases(instance, { owner, kept });
      }
      const artifacts = dirname(artifactFile(project.configuration, plan.components[0]?.sha256 ?? ''));
      await pruneArtifacts(artifacts, kept * project.configuration.components.length);
    },
  });
}

const serverOf = ({ configuration, instance }: RollingInstance): ServerPlace => ({
  backend: backendName(null, configuration.pool),
  server: instance,
});

/**
 * What the edge is told of an instance's server, on a socket that knows no claims. So the instance's record is looked at
 * before and after: a worker that was stopped in between and wakes late finds what is so by now, and leaves it so.
 */
class Traffic {
  readonly place: ServerPlace;
  private readonly socket: HaproxySocket;
  private readonly owner: string;

  constructor(
    private readonly instance: Instance,
    of: { readonly socket: HaproxySocket; readonly place: ServerPlace; readonly owner: string },
  ) {
    this.place = of.place;
    this.socket = of.socket;
    this.owner = of.owner;
  }

  drain = (): Promise<number> => this.tell(drainServer, { isDrained: true });
  markDown = (): Promise<number> => this.tell(markDrainedDown, { isDrained: true });
  admit = (): Promise<number> => this.tell(admitServer, { isDrained: false });

  /** Throws `instance-fenced` where somebody else has the instance. */
  async isDrained(): Promise<boolean> {
    const { owner: heldBy, isDrained } = await readInstance(this.instance);
    if (heldBy === this.owner) return isDrained;
    throw this.fenced(heldBy);
  }

  private async tell(
    command: (socket: HaproxySocket, place: ServerPlace) => Promise<number>,
    wanted: { readonly isDrained: boolean },
  ): Promise<number> {
    if ((await this.isDrained()) !== wanted.isDrained) throw this.fenced(this.owner);
    const pid = await command(this.socket, this.place);
    const { owner: heldBy, isDrained } = await readInstance(this.instance);
    if (isDrained !== wanted.isDrained) await (isDrained ? drainServer : admitServer)(this.socket, this.place);
    if (heldBy !== this.owner || isDrained !== wanted.isDrained) throw this.fenced(heldBy);
    return pid;
  }

  private fenced(heldBy: string | null): BasculeError {
    const { name } = this.instance;
    return new BasculeError('instance-fenced', { instance: name, act: 'drain', owner: this.owner, heldBy });
  }
}
