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
import type { PlannedComponent, ReleasePlan } from '../domain/operation.js';
import { BasculeError } from '../errors.js';
import type { LocalHost } from '../hosts/local.js';
import type { Instance } from './record.js';

/** The machine that an edge and its instances share. */
interface EdgePlace {
  readonly edge: { readonly host: LocalHost; readonly configuration: EdgeConfiguration };
}

/** Where a component of a color runs. */
export function instanceOf(
  { configuration, edge }: EdgePlace & { readonly configuration: LocalConfiguration },
  environment: string,
  plan: Pick<ReleasePlan, 'target'>,
  component: Pick<PlannedComponent, 'name' | 'instance' | 'address'>,
): Instance {
  return {
    host: edge.host,
    name: component.instance,
    environment,
    component: component.name,
    color: plan.target,
    ...component.address,
    directory: configuration.instances.directory,
    edgeConfig: edge.configuration.files.config,
  };
}

/** An instance, and what the configuration in force says of its component. */
export interface PlacedInstance {
  readonly instance: Instance;
  readonly component: ComponentConfiguration;
}

/** Every instance that the configuration in force has. */
export function allInstances(
  { edge }: EdgePlace,
  { configuration, addresses }: AppliedConfiguration,
): PlacedInstance[] {
  const { instances } = configuration;
  if (instances.driver !== 'process') return [];
  return configuration.environments.flatMap((environment) =>
    configuration.components.flatMap((component) =>
      colors.flatMap((color) => {
        const place = placeOf(instances, edge.host, {
          environment,
          component,
          color,
          addresses,
          config: edge.configuration.files.config,
        });
        return place ? [{ instance: place, component }] : [];
      }),
    ),
  );
}

/** Those of one color of an environment. */
export function instancesOfColor(
  place: EdgePlace,
  applied: AppliedConfiguration,
  environment: string,
  color: Color,
): PlacedInstance[] {
  return allInstances(place, applied).filter(
    ({ instance }) => instance.environment === environment && instance.color === color,
  );
}

/** The one of a component. Throws `unknown-component`, which names those that there are. */
export function findInstance(
  place: EdgePlace,
  applied: AppliedConfiguration,
  { environment, component, color }: { environment: string; component: string; color: Color },
): PlacedInstance {
  const found = instancesOfColor(place, applied, environment, color).find((one) => one.component.name === component);
  if (found) return found;
  const all = allInstances(place, applied).map(({ instance }) => `${instance.environment} ${instance.component}`);
  throw new BasculeError('unknown-component', { environment, component, known: [...new Set(all)] });
}

/** The instance of a component in an environment and color, null where it has no address yet. */
function placeOf(
  { directory }: ProcessInstances,
  host: LocalHost,
  at: {
    environment: { name: string; prefix: string };
    component: ComponentConfiguration;
    color: Color;
    addresses: AppliedConfiguration['addresses'];
    config: string;
  },
): Instance | null {
  const name = instanceName(at.environment, at.component.name, at.color);
  const address = at.addresses[name];
  if (!address) return null;
  return {
    host,
    name,
    environment: at.environment.name,
    component: at.component.name,
    color: at.color,
    ...address,
    directory,
    edgeConfig: at.config,
  };
}

/** Where an artifact lies until it is unpacked; two components with the same content share it. */
export function artifactFile(configuration: LocalConfiguration, sha256: string): string {
  return join(configuration.instances.directory, 'artifacts', sha256);
}
