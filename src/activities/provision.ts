import { Context } from '@temporalio/activity';
import { wantedConfiguration } from '../config/address-book.js';
import {
  type PlannedProvision,
  type ProvisionActId,
  type ProvisionDone,
  type ProvisionRequest,
  type ProvisionWanted,
  provisionWanted,
} from '../domain/provision.js';
import { isDeployed, sideBySideEnvironment } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { IncusClient } from '../hosts/incus-client.js';
import { instanceOf } from '../instances/places.js';
import { lookAtProvided, provideInstance } from '../instances/provide.js';
import { provisionActs } from '../provision/act.js';
import { type ProvisionPlace, planFrom, type SideBySideInstance } from '../provision/look.js';
import { asActivities } from './as-activities.js';
import { type Project, readProject, type WorkerContext } from './project.js';

/** The steps of `bascule provision`: each looks first, and does only what is missing. */
export function provisionActivities(context: WorkerContext) {
  /** Throws `edge-not-in-incus`, and as `readProject`. */
  async function open<T>(run: (place: ProvisionPlace, wanted: ProvisionWanted) => Promise<T>): Promise<T> {
    const project = await readProject(context);
    const { configuration, edge } = project;
    const wanted = provisionWanted(configuration);
    if (wanted === null) throw new BasculeError('edge-not-in-incus', { file: context.configurationFile });
    const client = new IncusClient(wanted.place);
    try {
      return await run({ client, host: edge.host, sideBySide: await sideBySideOf(project, wanted) }, wanted);
    } finally {
      await client.close();
    }
  }

  const step =
    (id: ProvisionActId) =>
    (_: ProvisionRequest): Promise<ProvisionDone> =>
      open(async (place, wanted) => {
        const { found, steps } = await planFrom(place, wanted);
        const planned = steps.find((one) => one.id === id);
        if (!planned || planned.state === 'right') return { did: null };
        await provisionActs[id]({ place, wanted, found, signal: Context.current().cancellationSignal });
        return { did: planned.does };
      });

  return asActivities({
    planProvision: (_: ProvisionRequest): Promise<PlannedProvision> =>
      open(async (place, wanted) => {
        const { steps } = await planFrom(place, wanted);
        return { steps, entrances: wanted.forwards.map(({ listen }) => `${listen.address}:${listen.port}`) };
      }),
    /** Whose haproxy.cfg is on the edge. */
    seeConfiguration: (_: ProvisionRequest) =>
      open(async (place, wanted) => {
        const { found } = await planFrom(place, wanted);
        return { configuration: found.inside?.configuration ?? 'none' };
      }),
    makeIncusProject: step('project'),
    makeStoragePool: step('storage'),
    makeNetwork: step('network'),
    makeProfile: step('profile'),
    launchEdge: step('instance'),
    installPackages: step('packages'),
    makeFolders: step('folders'),
    startHaproxy: step('service'),
    launchSideBySide: step('instances'),
    leadPorts: step('ports'),
  });
}

/** At the addresses that the edge's first configuration has. */
async function sideBySideOf(project: Project, { sideBySide }: ProvisionWanted): Promise<readonly SideBySideInstance[]> {
  if (sideBySide === null) return [];
  const { configuration, addresses } = await wantedConfiguration(project.configuration);
  return configuration.components.flatMap((component) =>
    (component.instances ?? []).flatMap((name) => {
      const address = addresses[name];
      if (!address) return [];
      const at = { name: component.name, instance: name, address };
      const instance = instanceOf(project, sideBySideEnvironment, { target: null }, at);
      const of = { isDeployed: isDeployed(component) };
      return {
        name,
        look: () => lookAtProvided(instance, of),
        provide: (signal) => provideInstance(instance, { ...of, signal }),
      };
    }),
  );
}
