import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { asActivities } from '../../../src/activities/as-activities.js';
import type { Activities } from '../../../src/activities/index.js';
import { changeEdge, withdrawEdgeChange } from '../../../src/client/edge.js';
import type { CertificateFacts } from '../../../src/domain/certificates.js';
import type { ComponentConfiguration } from '../../../src/domain/configuration.js';
import type { EdgeChange } from '../../../src/domain/edge-change.js';
import { type Color, otherColor } from '../../../src/domain/edge-state.js';
import type { PlannedCertificate } from '../../../src/domain/issuance.js';
import { instanceName } from '../../../src/domain/names.js';
import type { DeployRequest, PlannedComponent, ReleasePlan, UnusedInstance } from '../../../src/domain/operation.js';
import { planRollback, planSwitch } from '../../../src/domain/plans.js';
import { broken, EdgeWorld } from './edge-world.js';
import { FailoverWorld } from './failover-world.js';
import { Faults } from './faults.js';
import { ProvisionWorld } from './provision-world.js';
import { RollingWorld } from './rolling-world.js';

export const project = 'demo';

/** The activities by their groups but `inspection`, which only reads for people. */
type Groups = Omit<Activities, 'inspection'>;

interface Instance {
  readonly sha: string;
  readonly state: 'prepared' | 'running' | 'failed';
}

/**
 * One environment with two components on one edge of its own, in memory. Environment and edge have the same name, by
 * which an activity finds its world.
 */
export class World {
  readonly edge: EdgeWorld;
  private readonly edgeName: string;
  readonly faults = new Faults();
  readonly instances = new Map<string, Instance>();
  /** Names of components, in the order in which their migrations began and ended. */
  readonly migrations: string[] = [];
  isKnown = true;
  needsApproval = false;
  /** Milliseconds; the soak and the drain themselves are answered at once unless they are held. */
  soakMs = 60_000;
  /** Their artifacts are nowhere. */
  isUnknown: (sha: string) => boolean = () => false;
  /** Their instances never get healthy. */
  isUnhealthy: (sha: string) => boolean = () => false;
  wantedCertificates: readonly PlannedCertificate[] = [];
  /** Names of certificates with an order that is not done with, and how many were ever placed. */
  readonly orders = new Set<string>();
  ordersPlaced = 0;
  isEdgeApplied = true;
  readonly failover: FailoverWorld;
  readonly provision: ProvisionWorld;
  /** Set where instances stand side by side. */
  rolling: RollingWorld | null = null;
  /** Set where the active release runs with the same checksums and environment. */
  isActiveAlready = false;

  constructor(
    readonly name: string,
    private readonly client: Client,
    /** The edge, and its name where it is not the environment's. */
    { edge, edgeName }: { edge: EdgeWorld; edgeName: string } = {
      edge: new EdgeWorld([name, 'other']),
      edgeName: name,
    },
  ) {
    this.edge = edge;
    this.provision = new ProvisionWorld(edge);
    this.failover = new FailoverWorld(client, { project, environment: name });
    this.edgeName = edgeName;
  }

  /** As if releases had been deployed here, oldest first: the last one is active, the one before is its standby. */
  holds(...shas: readonly string[]): void {
    this.edge.holds(this.name, ...shas);
    const { color, sha, standby } = this.edge.serves(this.name);
    for (const [on, held] of [
      [color, sha],
      [otherColor(color), standby],
    ] as const) {
      for (const { name } of components) {
        if (held) this.instances.set(instanceName({ prefix: '' }, name, on), { sha: held, state: 'running' });
      }
    }
  }

  /** From here on instances stand side by side, which hold these releases, oldest first. */
  holdsRolling(...shas: readonly string[]): RollingWorld {
    this.rolling = new RollingWorld(components, (sha) => this.isUnhealthy(sha));
    this.rolling.holds(...shas);
    return this.rolling;
  }

  get serves() {
    const { color, sha, standby } = this.edge.serves(this.name);
    return { color, sha, standby };
  }

  get history(): readonly string[] {
    return (this.edge.recorded.histories[this.name] ?? []).map((line) => `${line.color} ${line.sha}`);
  }

  /** State of the instances of a color: `web: running <sha>` and so on. */
  instancesOf(color: Color): readonly string[] {
    return components.map(({ name }) => {
      const found = this.instances.get(instanceName({ prefix: '' }, name, color));
      return found ? `${name}: ${found.state} ${found.sha}` : `${name}: none`;
    });
  }

  /** All activities, each with what goes wrong around it. */
  activities(): Record<string, (input: unknown) => Promise<unknown>> {
    const groups: Groups = {
      ...this.operations,
      ...this.certificateActivities,
      failover: this.failover.activities,
      provision: this.provision.activities,
      rolling: (this.rolling ?? new RollingWorld([], () => false)).activities,
      edge: this.edge.activities as Groups['edge'],
    };
    const all = Object.values(groups).flatMap((group) => Object.entries(group));
    return Object.fromEntries(
      all.map(([name, run]) => [
        name,
        (input: unknown) =>
          this.faults.around(
            name,
            this.subjectOf(name, input),
            () => (run as (input: unknown) => Promise<unknown>)(input),
            {
              aim: edgeStepOf(name, this.edge, input),
            },
          ),
      ]),
    );
  }

  private subjectOf(activity: string, input: unknown): string {
    if (activity === 'visitPool') return this.failover.state === 'UP' ? 'before' : 'meanwhile';
    return subjectOf(activity, input);
  }

  private readonly operations: Omit<
    Groups,
    'edge' | 'failover' | 'provision' | 'rolling' | 'certificates' | 'authority'
  > = {
    environments: {
      knownEnvironments: async () => (this.isKnown ? [this.name] : ['prod', 'staging']),
    },

    // One that is stopped says so, whatever its client makes of that.
    edgeRequests: asActivities({
      requestEdgeChange: (change) =>
        changeEdge(this.client, { project, edge: this.edgeName }, change, Context.current().cancellationSignal),
      withdrawEdgeChange: ({ id }) =>
        withdrawEdgeChange(this.client, { project, edge: this.edgeName }, id, Context.current().cancellationSignal),
    }),

    plans: {
      pinRelease: async ({ request, isRollback }) => {
        if (this.isUnknown(request.sha)) throw broken('artifact-not-found', `there is no release ${request.sha}`);
        return this.rolling?.pin(request, isRollback) ?? this.pin(request, isRollback);
      },
      planRollback: async ({ request }) => {
        if (this.rolling) return this.rolling.planRollback(request);
        const found = planRollback(this.state(), this.lines(), request.to ?? null);
        if (!found) throw broken('nothing-to-roll-back-to', `${this.name} has no release below the active one`);
        const held = this.instancesOf(found.to.color);
        const isFast = !request.full && held.every((one) => one.endsWith(`running ${found.to.sha}`));
        return { ...found, isFast };
      },
      planSwitch: async ({ request }) => {
        if (this.rolling) throw broken('switch-refused', 'none has a color');
        const held = components.map(
          ({ name }) => this.instances.get(instanceName({ prefix: '' }, name, request.color))?.sha ?? null,
        );
        const found = planSwitch(this.state(), this.lines(), request.color, held);
        if ('refused' in found) throw broken('switch-refused', found.refused);
        return found;
      },
      planCleanup: async ({ request }) => {
        if (this.rolling) return this.rolling.planCleanup();
        const { color, sha, standby } = this.serves;
        const target = otherColor(color);
        const isStandbyKept = standby !== null && !request.standby;
        return {
          active: { color, sha },
          target,
          standby,
          isStandbyKept,
          instances: isStandbyKept ? [] : this.unusedInstances(target),
          drainMs: 300_000,
          httpKeepAliveMs: 5_000,
          switchedAwayAt: this.lines()[0]?.at ?? null,
        };
      },
    },

    watches: {
      drainColor: async () => ({ ofThisColor: 0, others: 0 }),
      waitUntilUpOnEdge: async ({ plan }) => {
        for (const { instance } of plan.components) {
          const found = this.instances.get(instance);
          if (found?.state !== 'running' || found.sha !== plan.sha)
            throw broken('not-up-on-edge', `${instance} is not UP`);
        }
        return null;
      },
      watchSoak: async () => {},
    },

    instances: {
      fetchArtifact: async () => {},
      recreateInstance: async ({ component, plan }) => {
        this.instances.set(component.instance, { sha: plan.sha, state: 'prepared' });
        return { pid: 1000 };
      },
      migrate: async ({ component }) => {
        this.migrations.push(`${component.name} begins`);
        // Long enough for another one to begin, were they run at the same time.
        await new Promise((resolve) => setImmediate(resolve));
        this.migrations.push(`${component.name} ends`);
      },
      startInstance: async ({ component, owner, plan }) => {
        if (this.rolling?.start(component, owner, plan.sha)) return;
        if (this.isUnhealthy(plan.sha))
          throw broken('instance-unhealthy', `${component.instance} does not get healthy`);
        this.instances.set(component.instance, { sha: plan.sha, state: 'running' });
      },
      removeInstance: async ({ unused }) => {
        this.rolling?.remove(unused.instance);
        this.instances.delete(unused.instance);
      },
      disownInstances: async () => {},
      markFailed: async ({ plan }) => {
        for (const { instance } of plan.components) {
          const found = this.instances.get(instance);
          if (found?.sha === plan.sha && plan.target !== this.serves.color) {
            this.instances.set(instance, { ...found, state: 'failed' });
          }
        }
      },
    },
  };

  /** Moments at which authorities want to be asked again, as the last run planned them. */
  looksAt: readonly string[] = [];

  private readonly certificateActivities: Pick<Groups, 'certificates' | 'authority'> = {
    certificates: {
      planCertificates: async ({ request: { force = false } }) => {
        const isThere = ({ name }: PlannedCertificate): boolean => this.edge.certificates[name] !== undefined;
        const isWanted = (one: PlannedCertificate): boolean => force || one.why !== 'missing' || !isThere(one);
        return {
          wanted: this.wantedCertificates.filter(isWanted),
          kept: this.wantedCertificates.filter((one) => !isWanted(one)).map(({ name, names }) => viewOf(name, names)),
          isEdgeApplied: this.isEdgeApplied,
          answersChallenges: this.edge.installed.answers,
          warnings: [],
        };
      },
      scheduleLooks: async ({ retryAt }) => {
        this.looksAt = retryAt;
      },
      awaitCertificate: async ({ id }) => await this.client.workflow.getHandle(id).result(),
      revokeCertificate: async ({ name }) => viewOf(name, [name]),
      adoptCertificates: async () => ({
        certificates: Object.keys(this.edge.certificates).map((name) => viewOf(name, [name])),
        answersChallenges: this.edge.installed.answers,
        warnings: [],
      }),
    },
    authority: {
      checkNames: async () => ({ warnings: [] }),
      registerAccount: async () => {},
      placeOrder: async ({ certificate: { name, names } }) => {
        const isResumed = this.orders.has(name);
        if (!isResumed) this.ordersPlaced += 1;
        this.orders.add(name);
        return { url: `https://ca.test/order/${name}`, names, status: 'pending', expires: null, isResumed };
      },
      answerChallenges: async ({ certificate }) => this.requireOrder(certificate),
      finalizeOrder: async ({ certificate }) => this.requireOrder(certificate),
      downloadCertificate: async ({ certificate }) => {
        this.requireOrder(certificate);
        const { name, names, key } = certificate;
        const sha256 = `of ${name}, order ${this.ordersPlaced}`;
        return { ...viewOf(name, names), obtained: { name, names, key, serial: '1', sha256 } };
      },
      closeOrder: async ({ certificate: { name } }) => {
        this.orders.delete(name);
      },
    },
  };

  /** A certificate that is missing: of this world, by its name. */
  missing(...names: readonly string[]): void {
    this.wantedCertificates = names.map((name) => ({
      ...{ name: `${this.name}.${name}`, names: [`${this.name}.${name}`], key: 'ecdsa', why: 'missing' },
    }));
  }

  private requireOrder({ name }: PlannedCertificate): void {
    if (!this.orders.has(name)) throw broken('acme-order-missing', `there is no order for ${name}`);
  }

  private unusedInstances(color: Color): UnusedInstance[] {
    return components
      .map(({ name, stopGraceMs }) => ({ name, instance: instanceName({ prefix: '' }, name, color), stopGraceMs }))
      .filter(({ instance }) => this.instances.has(instance))
      .map((unused) => ({ ...unused, address: { address: '127.77.0.1', port: 8080 }, owner: null }));
  }

  private state() {
    return { name: this.name, ...this.serves };
  }

  private lines() {
    return this.edge.recorded.histories[this.name] ?? [];
  }

  private pin(request: DeployRequest, isRollback: boolean): ReleasePlan {
    const { color, sha, standby } = this.serves;
    const target = otherColor(color);
    return {
      sha: request.sha,
      active: { color, sha },
      target,
      standby,
      isActiveAlready: this.isActiveAlready && sha === request.sha,
      components: components.map((configuration) => plannedComponent(configuration, target, request.sha)),
      needsApproval: this.needsApproval,
      baseline: null,
      soak: { forMs: request.soakMs ?? this.soakMs, errorShare: 0.05, minRequests: 50 },
      drainMs: isRollback ? 5_000 : (request.drainMs ?? 300_000),
      httpKeepAliveMs: 5_000,
      switchedAwayAt: this.lines()[0]?.at ?? null,
      warnings: [],
    };
  }
}

/** What a fault may be aimed at, besides the activity's name: a component, or the last part of an edge change's id. */
function subjectOf(activity: string, input: unknown): string {
  const { component, unused, certificate, id, owner } = input as {
    component?: PlannedComponent;
    owner?: string;
    unused?: UnusedInstance;
    certificate?: PlannedCertificate;
  } & Partial<EdgeChange>;
  if (certificate) return certificate.name.split('.')[1] ?? '';
  // What a rolling deploy takes back is named apart from what it did.
  const again = owner?.includes('/undo') ? 'again' : '';
  if (component && 'before' in component && activity !== 'fetchArtifact')
    return [component.instance, again].filter(Boolean).join(' ');
  if (component) return component.name;
  if (activity === 'recordReleases') return again || 'now';
  if (unused) return unused.name;
  return activity.endsWith('EdgeChange') && id ? (id.split('/').at(-1) ?? '') : '';
}

/** A step of an edge change with the change that it is of: `recordColor of switch`. */
function edgeStepOf(activity: string, edge: EdgeWorld, input: unknown): string | null {
  const change = (input as { change?: EdgeChange }).change ?? edge.change;
  if (!change || !Object.hasOwn(edge.activities, activity)) return null;
  return `${activity} of ${change.id.split('/').at(-1)}`;
}
const viewOf = (name: string, names: readonly string[]): CertificateFacts => ({
  ...{ name, names, key: 'ECDSA', serial: '1', issuer: 'Test CA' },
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2026-04-01T00:00:00.000Z',
});

function plannedComponent(configuration: ComponentConfiguration, target: Color, sha: string): PlannedComponent {
  const { name } = configuration;
  return {
    name,
    url: `https://artifacts.example/${name}/${sha}.tar.gz`,
    sha256: 'f'.repeat(64),
    instance: instanceName({ prefix: '' }, name, target),
    configuration,
    address: { address: '127.77.0.1', port: 8080 },
    owner: null,
  };
}

const components: readonly ComponentConfiguration[] = ['backend', 'web'].map((name) => ({
  name,
  pool: name,
  port: 8080,
  health: { path: '/health', intervalMs: 2_000, fall: 3, rise: 2 },
  routes: [],
  isDefault: name === 'web',
  balance: { kind: 'roundrobin' },
  timeouts: {},
  run: [name],
  migrate: { command: [name, 'migrate'], timeoutMs: 60_000 },
  env: {},
  startDeadlineMs: 60_000,
  stopGraceMs: 30_000,
}));
