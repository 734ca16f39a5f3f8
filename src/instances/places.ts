import { join } from 'node:path';
import type {
  AppliedConfiguration,
  ComponentConfiguration,
  EdgeConfiguration,
  LocalConfiguration,
  ProcessInstances,
} from '../domain/configuration.js';
import { type Color, colors } from '../domain/edge-state.js';
import { instanceName } from '../domain/names.js';
import type { PlannedComponent } from '../domain/operation.js';
import { isDeployed, sideBySideEnvironment } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import type { Instance } from './record.js';

/** The machine of the instances, and the edge before them, which may be on another one. */
interface EdgePlace {
  readonly host: Host;
  readonly edge: { readonly host: Host; readonly configuration: EdgeConfiguration };
}

/** Where a component of a color runs. */
export function instanceOf(
  { configuration, ...place }: EdgePlace & { readonly configuration: LocalConfiguration },
  environment: string,
  plan: { readonly target: Color | null },
  component: Pick<PlannedComponent, 'name' | 'instance' | 'address'>,
): Instance {
  return {
    ...hostsOf(place),
    name: component.instance,
    environment,
    component: component.name,
    color: plan.target,
    ...component.address,
    directory: configuration.instances.directory,
  };
}

/** An instance, and what the configuration in force says of its component. */
export interface PlacedInstance {
  readonly instance: Instance;
  readonly component: ComponentConfiguration;
}

/** Every instance that the configuration in force has, and that Bascule runs. */
export function allInstances(place: EdgePlace, { configuration, addresses }: AppliedConfiguration): PlacedInstance[] {
  const { instances } = configuration;
  if (instances.driver !== 'process') return [];
  if (configuration.topology === 'multi-instance') return sideBySide(place, { configuration, addresses }, instances);
  return configuration.environments.flatMap((environment) =>
    configuration.components.flatMap((component) =>
      colors.flatMap((color) => {
        const instance = placeOf(instances, place, { environment, component, color, addresses });
        return instance ? [{ instance, component }] : [];
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
  { directory }: ProcessInstances,
): PlacedInstance[] {
  return configuration.components.filter(isDeployed).flatMap((component) =>
    (component.instances ?? []).flatMap((name) => {
      const address = addresses[name];
      if (!address) return [];
      const instance: Instance = {
        ...hostsOf(place),
        name,
        environment: sideBySideEnvironment,
        component: component.name,
        color: null,
        ...address,
        directory,
      };
      return [{ instance, component }];
    }),
  );
}

/** The instance of a component in an environment and color, null where it has no address yet. */
function placeOf(
  { directory }: ProcessInstances,
  place: EdgePlace,
  at: {
    environment: { name: string; prefix: string };
    component: ComponentConfiguration;
    color: Color;
    addresses: AppliedConfiguration['addresses'];
  },
): Instance | null {
  const name = instanceName(at.environment, at.component.name, at.color);
  const address = at.addresses[name];
  if (!address) return null;
  return {
    ...hostsOf(place),
    name,
    environment: at.environment.name,
    component: at.component.name,
    color: at.color,
    ...address,
    directory,
  };
}

const hostsOf = ({ host, edge }: EdgePlace): Pick<Instance, 'host' | 'edgeConfig' | 'edgeHost'> => ({
  host,
  edgeConfig: edge.configuration.files.config,
  ...(edge.host === host ? {} : { edgeHost: edge.host }),
});

/** Where an artifact lies until it is unpacked; two components with the same content share it. */
export function artifactFile(configuration: LocalConfiguration, sha256: string): string {
  return join(configuration.instances.directory, 'artifacts', sha256);
}
