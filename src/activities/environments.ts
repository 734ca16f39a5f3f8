import { deployedEnvironments } from '../domain/rolling.js';
import { asActivities } from './as-activities.js';
import { loadProject, type WorkerContext } from './project.js';

/** Asked from inside an Update, so it has to be quick. */
export function environmentActivities(context: WorkerContext) {
  return asActivities({
    async knownEnvironments(_: Record<string, never>): Promise<readonly string[]> {
      const { configuration } = await loadProject(context);
      return deployedEnvironments(configuration);
    },
  });
}
