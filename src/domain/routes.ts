import type { ComponentConfiguration, RouteConfiguration } from './configuration.js';

/** A route and the component it leads to. */
export interface ComponentRoute extends RouteConfiguration {
  readonly component: ComponentConfiguration;
}

/** All routes in the order in which the edge tries them: the longest prefix first, and of the same the ones with extensions. */
export function routesInOrder(components: readonly ComponentConfiguration[]): readonly ComponentRoute[] {
  return components
    .flatMap((component) => component.routes.map((route) => ({ ...route, component })))
    .sort(
      (a, b) =>
        b.prefix.length - a.prefix.length ||
        (a.prefix < b.prefix ? -1 : Number(a.prefix > b.prefix)) ||
        Number(b.extensions !== undefined) - Number(a.extensions !== undefined),
    );
}

/** The component that the edge routes a path to, or null where neither a route nor a default component takes it. */
export function componentForPath(
  components: readonly ComponentConfiguration[],
  path: string,
): ComponentConfiguration | null {
  const route = routesInOrder(components).find((each) => leadsTo(each, path));
  return route?.component ?? components.find((component) => component.isDefault) ?? null;
}

/**
 * The path to ask a component for through the edge: its health path where a route leads there, else one that one of its
 * routes takes, else `/`.
 */
export function probePath(component: ComponentConfiguration, components: readonly ComponentConfiguration[]): string {
  const paths = [component.health.path, ...component.routes.map(examplePath), '/'];
  return paths.find((path) => componentForPath(components, path)?.name === component.name) ?? component.health.path;
}

const examplePath = ({ prefix, extensions: [extension] = [] }: RouteConfiguration): string =>
  extension === undefined ? prefix : `${prefix.replace(/\/$/, '')}/probe.${extension}`;

/** `/api` takes `/api` and what lies below, not `/apix`; `/api/` takes what begins with it. */
function leadsTo({ prefix, extensions }: RouteConfiguration, path: string): boolean {
  const isBelow = prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix || path.startsWith(`${prefix}/`);
  return isBelow && (extensions === undefined || extensions.some((extension) => path.endsWith(`.${extension}`)));
}
