import { asActivities } from '../../../src/activities/as-activities.js';
import type { Activities } from '../../../src/activities/index.js';
import {
  deviceOf,
  type ProvisionActId,
  type ProvisionFound,
  type ProvisionWanted,
  planProvision,
} from '../../../src/domain/provision.js';
import { BasculeError } from '../../../src/errors.js';
import { provisionFound, provisionWantedOf } from '../../rig/provision.js';
import type { EdgeWorld } from './edge-world.js';

/** Each activity of a provisioning, in order; the one without effect on Incus is the edge's own change. */
export const provisionActivities: readonly string[] = [
  'planProvision',
  'makeIncusProject',
  'makeStoragePool',
  'makeNetwork',
  'makeProfile',
  'launchEdge',
  'installPackages',
  'makeFolders',
  'startHaproxy',
  'launchSideBySide',
  'seeConfiguration',
  'requestEdgeChange configuration',
  'leadPorts',
];

/** An environment that the edge serves once bascule.yaml is in force. */
export const ofBascule = 'new';

/** A machine with Incus in memory. */
export class ProvisionWorld {
  readonly wanted: ProvisionWanted = {
    ...provisionWantedOf({ project: 'shop' }),
    sideBySide: {
      image: 'images:debian/13',
      instances: ['backend-api-1', 'backend-api-2'].map((name) => ({ name, profiles: ['bascule'] })),
    },
  };
  found: ProvisionFound = provisionFound.nothing;

  constructor(private readonly edge: EdgeWorld) {}

  /** Ends the instance, which is not seen into then. */
  stops(): void {
    const { instance } = this.found;
    this.found = { ...this.found, instance: instance && { ...instance, isRunning: false }, inside: null };
  }

  /** An instance of that name that Bascule did not make. */
  isTaken(): void {
    this.found = { ...provisionFound.nothing, instance: { ...provisionFound.instance, owner: null } };
  }

  private plan() {
    const found = this.look();
    const { steps, obstacle } = planProvision(this.wanted, found);
    if (obstacle) throw new BasculeError('not-of-bascule', { project: 'shop', remote: 'local', ...obstacle });
    return { found, steps };
  }

  private look(): ProvisionFound {
    const { inside } = this.found;
    if (inside === null) return this.found;
    return {
      ...this.found,
      inside: {
        ...inside,
        configuration: this.edge.running.states.some(({ name }) => name === ofBascule)
          ? 'of Bascule'
          : 'of the distribution',
      },
    };
  }

  private readonly step = (id: ProvisionActId) => async () => {
    const step = this.plan().steps.find((one) => one.id === id);
    if (step?.state === 'right') return { did: null };
    this.found = { ...this.found, ...this.effects[id]() };
    return { did: step?.does ?? null };
  };

  private inside(part: Partial<NonNullable<ProvisionFound['inside']>>): Partial<ProvisionFound> {
    return { inside: { ...provisionFound.bare, ...this.found.inside, ...part } };
  }

  private readonly effects: Readonly<Record<ProvisionActId, () => Partial<ProvisionFound>>> = {
    project: () => ({ incusProject: { isThere: true } }),
    storage: () => ({ storage: { isThere: true } }),
    network: () => ({ network: provisionFound.network }),
    profile: () => ({ profile: provisionFound.profile }),
    instance: () => ({ instance: { ...provisionFound.instance, devices: {} }, ...this.inside({}) }),
    packages: () => this.inside({ packages: this.wanted.packages }),
    folders: () => this.inside({ folders: this.wanted.folders }),
    service: () => this.inside({ isServiceActive: true, isServiceEnabled: true }),
    instances: () => ({
      sideBySide: Object.fromEntries((this.wanted.sideBySide?.instances ?? []).map(({ name }) => [name, 'running'])),
    }),
    ports: () => ({
      instance: {
        ...provisionFound.instance,
        devices: Object.fromEntries(this.wanted.forwards.map((forward) => [forward.device, deviceOf(forward)])),
      },
    }),
  };

  readonly activities: Activities['provision'] = asActivities({
    planProvision: async () => ({ steps: this.plan().steps, entrances: ['0.0.0.0:80'] }),
    seeConfiguration: async () => ({ configuration: this.look().inside?.configuration ?? 'none' }),
    makeIncusProject: this.step('project'),
    makeStoragePool: this.step('storage'),
    makeNetwork: this.step('network'),
    makeProfile: this.step('profile'),
    launchEdge: this.step('instance'),
    installPackages: this.step('packages'),
    makeFolders: this.step('folders'),
    startHaproxy: this.step('service'),
    launchSideBySide: this.step('instances'),
    leadPorts: this.step('ports'),
  });
}
