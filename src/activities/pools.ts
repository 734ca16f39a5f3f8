import { backendName } from '../domain/names.js';
import type { PlannedComponent, ReleasePlan } from '../domain/operation.js';
import type { ServerPlace } from '../haproxy/runtime.js';

/** A component's server on the edge. */
export function poolServer(environment: string, { configuration, instance }: PlannedComponent): ServerPlace {
  return { backend: backendName(environment, configuration.pool), server: instance };
}

/** The edge's server of each component of the release. */
export function poolServers(environment: string, plan: ReleasePlan): readonly ServerPlace[] {
  return plan.components.map((component) => poolServer(environment, component));
}
