import { authorityActivities } from './authority.js';
import { certificateActivities } from './certificates.js';
import { edgeActivities } from './edge.js';
import { edgeRequestActivities } from './edge-requests.js';
import { environmentActivities } from './environments.js';
import { failoverActivities } from './failover.js';
import { inspectionActivities } from './inspection.js';
import { instanceActivities } from './instances.js';
import { planActivities } from './plans.js';
import type { WorkerContext } from './project.js';
import { provisionActivities } from './provision.js';
import { rollingActivities } from './rolling.js';
import { watchActivities } from './watches.js';

/** All activities, grouped by how long they may take: src/workflows/proxies.ts gives each group its timeouts. */
export function createActivities(context: WorkerContext) {
  return {
    authority: authorityActivities(context),
    certificates: certificateActivities(context),
    edge: edgeActivities(context),
    edgeRequests: edgeRequestActivities(context),
    environments: environmentActivities(context),
    failover: failoverActivities(context),
    inspection: inspectionActivities(context),
    instances: instanceActivities(context),
    plans: planActivities(context),
    provision: provisionActivities(context),
    rolling: rollingActivities(context),
    watches: watchActivities(context),
  };
}

export type Activities = ReturnType<typeof createActivities>;
