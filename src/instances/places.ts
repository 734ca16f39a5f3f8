import { join } from 'node:path';
import {
  type AppliedConfiguration,
  type ComponentConfiguration,
  type Configuration,
  type EdgeConfiguration,
  profilesOf,
} from '../domain/configuration.js';
import { type Color, colors } from '../domain/edge-state.js';
import type { IncusPlace } from '../domain/incus-place.js';
import { instanceName } from '../domain/names.js';
import type { PlannedComponent } from '../domain/operation.js';
import { isDeployed, sideBySideEnvironment } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { incusHostOf } from '../hosts/edge-host.js';
import type { Host } from '../hosts/host.js';
import type { Instance } from './record.js';

/** Where an instance of Incus has the folder with what is known of it. */
const directoryInInstance = '/var/lib/bascule';

/** The worker's machine, and the edge before the instances, which may be on another one. */
interface EdgePlace {
  readonly host: Host;
  readonly edge: { readonly host: Host; readonly configuration: EdgeConfiguration };
  /** For an instance of Incus: how it is reached. */
  readonly reach?: (place: IncusPlace) => Host;
}

/** What every instance of a project has in common. */
type Of = Pick<Configuration, 'project' | 'instances' | 'components'>;

/** Which instance it is. */
type At = Pick<Instance, 'name' | 'environment' | 'component' | 'color' | 'address' | 'port'>;

/** Where a component of a color runs. */
export function instanceOf(
  { configuration, ...place }: EdgePlace & { readonly configuration: Of },
  environment: string,
  plan: { readonly target: Color | null },
  component: Pick<PlannedComponent, 'name' | 'instance' | 'address'>,
): Instance {
  const { name, instance, address } = component;
  return instanceAt(place, configuration, {
    ...{ name: instance, environment, component: name, color: plan.target, ...address },
  });
}

/** An instance, and what the configuration in force says of its component. */
export interface PlacedInstance {
  readonly instance: Instance;
  readonly component: ComponentConfiguration;
}

/** Every instance that the configuration in force has, and that Bascule runs. */
export function allInstances(place: EdgePlace, { configuration, addresses }: AppliedConfiguration): PlacedInstance[] {
  if (configuration.topology === 'multi-instance') return sideBySide(place, { configuration, addresses });
  return configuration.environments.flatMap((environment) =>
    configuration.components.flatMap((component) =>
      colors.flatMap((color) => {
        const name = instanceName(environment, component.name, color);
        const address = addresses[name];
        if (!address) return [];
        const at = { name, environment: environment.name, component: component.name, color, ...address };
        return [{ instance: instanceAt(place, configuration, at), component }];
      }),
    ),
  );
}

/** Those of one color of an environment. */
export function instancesOfColor(
  place: EdgePlace,
  applied: AppliedConfiguration,
  environment: string,
  color: Color | null,
): PlacedInstance[] {
  return allInstances(place, applied).filter(
    ({ instance }) => instance.environment === environment && instance.color === color,
  );
}

/**
 * The one of a component; of several side by side the first one, or the one that is named. Throws `unknown-component`,
 * which names those that there are.
 */
export function findInstance(
  place: EdgePlace,
  { configuration, ...applied }: AppliedConfiguration,
  wanted: { environment: string; component: string; color: Color; instance?: string },
): PlacedInstance {
  const { environment, component, instance: named } = wanted;
  const color = configuration.topology === 'multi-instance' ? null : wanted.color;
  const found = instancesOfColor(place, { configuration, ...applied }, environment, color).find(
    (one) => one.component.name === component && (named === undefined || one.instance.name === named),
  );
  if (found) return found;
  const all = allInstances(place, { configuration, ...applied }).map(({ instance }) =>
    [instance.environment, instance.component, ...(named === undefined ? [] : [instance.name])].join(' '),
  );
  throw new BasculeError('unknown-component', { environment, component, known: [...new Set(all)] });
}

/** Those of multi-instance, in the order of the configuration; none of a component that Bascule only leads visitors to. */
function sideBySide(
  place: EdgePlace,
  { configuration, addresses }: Pick<AppliedConfiguration, 'configuration' | 'addresses'>,
): PlacedInstance[] {
  const environment = sideBySideEnvironment;
  return configuration.components.filter(isDeployed).flatMap((component) =>
    (component.instances ?? []).flatMap((name) => {
      const address = addresses[name];
      if (!address) return [];
      const at = { name, environment, component: component.name, color: null, ...address };
      return [{ instance: instanceAt(place, configuration, at), component }];
    }),
  );
}

function instanceAt(place: EdgePlace, { project, instances, components }: Of, at: At): Instance {
  const { edge, host: here } = place;
  const edgeConfig = edge.configuration.files.config;
  if (instances.driver === 'process') {
    const edgeHost = edge.host === here ? {} : { edgeHost: edge.host };
    return { ...at, host: here, edgeConfig, ...edgeHost, directory: instances.directory };
  }
  const { image, project: incusProject, remote } = instances;
  const where = {
    instance: at.name,
    ...(incusProject !== undefined && { project: incusProject }),
    ...(remote !== undefined && { remote }),
  };
  const { client } = incusHostOf(where);
  const host = place.reach?.(where) ?? incusHostOf(where);
  const component = components.find(({ name }) => name === at.component);
  const user = component?.user ?? `${project}-${at.component}`;
  const profiles = profilesOf(instances, component);
  const addresses = join(edge.configuration.files.state, 'addresses');
  const incus = { client, project, creator: '', user, image, profiles, addresses };
  return { ...at, host, edgeConfig, edgeHost: edge.host, directory: directoryInInstance, incus };
}

/** Where an artifact lies until it is unpacked; two components with the same content share it. */
export function artifactFile(configuration: Configuration, sha256: string): string {
  return join(configuration.instances.directory, 'artifacts', sha256);
}
