import type { Activities } from '../../../src/activities/index.js';
import type { ComponentConfiguration } from '../../../src/domain/configuration.js';
import type { DeployRequest, RollbackRequest, SideBySideCleanupPlan } from '../../../src/domain/operation.js';
import {
  earlierRelease,
  type RecordedReleases,
  type ReleaseLine,
  type RollingInstance,
  type RollingPlan,
} from '../../../src/domain/rolling.js';
import { broken } from './edge-world.js';

interface Instance {
  readonly component: string;
  readonly owner: string | null;
  readonly sha: string | null;
  readonly state: 'empty' | 'stopped' | 'running' | 'failed';
  /** Whether the edge leads visitors to it. */
  readonly isDrained: boolean;
}

const artifactOf = (sha: string): string => sha.padEnd(64, '0');

/** Instances side by side in memory: two of one component and one of another, and the fence of each. */
export class RollingWorld {
  readonly instances = new Map<string, Instance>(
    [
      ['backend-1', 'backend'],
      ['backend-2', 'backend'],
      ['web-1', 'web'],
    ].map(([name = '', component = '']) => [
      name,
      { component, owner: null, sha: null, state: 'empty', isDrained: false },
    ]),
  );
  recorded: RecordedReleases = { owner: null, lines: [] };
  isActiveAlready = false;
  /** The fewest instances of `backend` that visitors were led to at any time since this was set. */
  fewestServing = Number.POSITIVE_INFINITY;

  constructor(
    private readonly components: readonly ComponentConfiguration[],
    private readonly isUnhealthy: (sha: string) => boolean,
  ) {}

  /** As if releases had been deployed here, oldest first. */
  holds(...shas: readonly string[]): void {
    const lines: ReleaseLine[] = shas.map((sha) => ({ at: '2026-01-01T00:00:00.000Z', sha })).reverse();
    this.recorded = { owner: 'before', lines };
    const sha = lines[0]?.sha ?? null;
    if (sha === null) return;
    for (const [name, instance] of this.instances) {
      this.instances.set(name, { ...instance, owner: 'before', sha, state: 'running' });
    }
  }

  /** `backend-1: running bbbbbbb` and so on; `drained` where visitors are not led to it. */
  get picture(): readonly string[] {
    return [...this.instances].map(([name, { sha, state, isDrained }]) =>
      [`${name}:`, ...(isDrained ? ['drained'] : []), state, ...(sha === null ? [] : [sha])].join(' '),
    );
  }

  get history(): readonly string[] {
    return this.recorded.lines.map(({ sha }) => sha);
  }

  pin(request: DeployRequest, isRollback: boolean): RollingPlan {
    return {
      topology: 'multi-instance',
      sha: request.sha,
      active: { color: null, sha: this.recorded.lines[0]?.sha ?? null },
      target: null,
      isActiveAlready: this.isActiveAlready,
      components: [...this.instances].map(([name, instance]) => this.planned(name, instance, request.sha)),
      drainMs: isRollback ? 5_000 : (request.drainMs ?? 300_000),
      httpKeepAliveMs: 5_000,
      recorded: this.recorded,
      warnings: [],
    };
  }

  planRollback(request: RollbackRequest) {
    const from = { color: null, sha: this.recorded.lines[0]?.sha ?? null };
    const sha = earlierRelease(this.recorded.lines, request.to ?? null);
    if (sha === null) throw broken('nothing-to-roll-back-to', 'there is no release below the active one');
    return { from, to: { color: null, sha }, isFast: false as const };
  }

  planCleanup(): SideBySideCleanupPlan {
    const unused = [...this.instances].filter(([, { state }]) => state === 'failed' || state === 'stopped');
    return {
      topology: 'multi-instance',
      target: null,
      active: { color: null, sha: this.recorded.lines[0]?.sha ?? null },
      instances: unused.map(([instance, { component: name, owner }]) => ({
        ...{ name, instance, owner, stopGraceMs: 30_000 },
        address: { address: '127.77.0.1', port: 8080 },
      })),
    };
  }

  /** Answers whether it is one of these instances. */
  start({ instance }: { instance: string }, owner: string, sha: string): boolean {
    if (!this.instances.has(instance)) return false;
    if (this.isUnhealthy(sha)) throw broken('instance-unhealthy', `${instance} does not get healthy`);
    this.claimed(instance, owner);
    this.change(instance, { sha, state: 'running' });
    return true;
  }

  remove(instance: string): void {
    this.change(instance, { sha: null, state: 'empty', isDrained: false });
  }

  readonly activities: Activities['rolling'] = {
    drainInstance: async ({ component, owner }) => {
      const { instance, owner: expected } = component;
      const found = this.instanceOf(instance);
      if (found.owner !== owner) {
        if (found.owner !== expected) throw this.fenced(instance);
        this.change(instance, { owner, isDrained: true });
      }
      const others = [...this.instances].filter(
        ([name, one]) => name !== instance && one.component === component.name && this.isServing(one),
      );
      return { left: 0, isAlone: others.length === 0 };
    },
    retakeInstance: async ({ component, owner, claims }) => {
      const { instance, owner: expected } = component;
      const found = this.instanceOf(instance);
      if (claims.some((claim) => claim === found.owner)) this.change(instance, { owner, isDrained: true });
      else if (found.owner === expected) this.change(instance, { owner });
      else if (found.owner !== owner) throw this.fenced(instance);
      return this.instanceOf(instance).isDrained ? { left: 0, isAlone: false } : null;
    },
    replaceRelease: async ({ component: { instance }, owner, expected, release }) => {
      const found = this.instanceOf(instance);
      if (found.owner !== owner && found.owner !== expected) throw this.fenced(instance);
      if (!found.isDrained) throw broken('served', `visitors are led to ${instance}, which is stopped`);
      if (found.owner === owner && found.state === 'running') return { pid: null };
      this.change(instance, { owner, sha: release.sha, state: 'stopped' });
      return { pid: 1000 };
    },
    admitInstance: async ({ component: { instance }, owner }) => {
      if (this.claimed(instance, owner).state !== 'running') throw broken('not-up-on-edge', `${instance} is not UP`);
      this.change(instance, { isDrained: false });
    },
    leaveFailed: async ({ component: { instance }, owner, expected }) => {
      this.claimed(instance, expected);
      this.change(instance, { owner, state: 'failed' });
    },
    recordReleases: async ({ owner, expected, lines }) => {
      if (this.recorded.owner === owner) return;
      if (!expected.includes(this.recorded.owner)) throw broken('edge-claimed', 'somebody else wrote the releases');
      this.recorded = { owner, lines };
    },
    pruneInstances: async () => {},
  };

  private planned(name: string, { component, owner, sha, state }: Instance, wanted: string): RollingInstance {
    const configuration = this.components.find((one) => one.name === component);
    if (!configuration) throw new Error(`no component ${component}`);
    return {
      name: component,
      url: `https://artifacts.example/${component}/${wanted}.tar.gz`,
      sha256: artifactOf(wanted),
      instance: name,
      configuration,
      address: { address: '127.77.0.1', port: 8080 },
      owner,
      before: sha === null || state === 'failed' ? null : { sha, sha256: artifactOf(sha) },
    };
  }

  private claimed(instance: string, owner: string): Instance {
    const found = this.instanceOf(instance);
    if (found.owner !== owner) throw this.fenced(instance);
    return found;
  }

  private instanceOf(name: string): Instance {
    const found = this.instances.get(name);
    if (!found) throw new Error(`no instance ${name}`);
    return found;
  }

  private change(name: string, to: Partial<Instance>): void {
    this.instances.set(name, { ...this.instanceOf(name), ...to });
    const serving = [...this.instances.values()].filter((one) => one.component === 'backend' && this.isServing(one));
    this.fewestServing = Math.min(this.fewestServing, serving.length);
  }

  private isServing({ state, isDrained }: Instance): boolean {
    return state === 'running' && !isDrained;
  }

  private fenced(instance: string) {
    return broken('instance-fenced', `${instance} is claimed by ${this.instanceOf(instance).owner}`);
  }
}
