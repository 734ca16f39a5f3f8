import { Context } from '@temporalio/activity';
import { changeEdge, type EdgeName, withdrawEdgeChange } from '../client/edge.js';
import type { EdgeChange, EdgeChangeResult } from '../domain/edge-change.js';
import { asActivities } from './as-activities.js';
import { loadProject, type WorkerContext } from './project.js';

/** What an operation asks of the edge's own workflow. */
export function edgeRequestActivities(context: WorkerContext) {
  async function edgeName(): Promise<EdgeName> {
    const { configuration } = await loadProject(context);
    return { project: configuration.project, edge: configuration.edge.name };
  }

  return asActivities({
    async requestEdgeChange(change: EdgeChange): Promise<EdgeChangeResult> {
      return changeEdge(context.client, await edgeName(), change, Context.current().cancellationSignal);
    },

    async withdrawEdgeChange({ id }: { id: string }): Promise<EdgeChangeResult> {
      return withdrawEdgeChange(context.client, await edgeName(), id, Context.current().cancellationSignal);
    },
  });
}
