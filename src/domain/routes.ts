import type { ComponentConfiguration, RouteConfiguration } from './configuration.js';

/** A route and the component it leads to. */
export interface ComponentRoute extends RouteConfiguration {
  readonly component: ComponentConfiguration;
}

/** All routes in the order in which the edge tries them: the longest prefix first. */
export function routesInOrder(components: readonly ComponentConfiguration[]): readonly ComponentRoute[] {
  return components
    .flatMap((component) => component.routes.map(({ prefix }) => ({ prefix, component })))
    .sort((a, b) => b.prefix.length - a.prefix.length || (a.prefix < b.prefix ? -1 : 1));
}

/** The component that the edge routes a path to, or null where neither a route nor a default component takes it. */
export function componentForPath(
  components: readonly ComponentConfiguration[],
  path: string,
): ComponentConfiguration | null {
  const route = routesInOrder(components).find(({ prefix }) => leadsTo(prefix, path));
  return route?.component ?? components.find((component) => component.isDefault) ?? null;
}

/**
 * The path to ask a component for through the edge: its health path where a route leads there, else the prefix of one
 * of its routes, else `/`.
 */
export function probePath(component: ComponentConfiguration, components: readonly ComponentConfiguration[]): string {
  const paths = [component.health.path, ...component.routes.map(({ prefix }) => prefix), '/'];
  return paths.find((path) => componentForPath(components, path)?.name === component.name) ?? component.health.path;
}

/** `/api` takes `/api` and what lies below, not `/apix`; `/api/` takes what begins with it. */
function leadsTo(prefix: string, path: string): boolean {
  return prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix || path.startsWith(`${prefix}/`);
}
