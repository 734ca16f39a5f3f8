import { setTimeout } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { EdgeChange, EdgeChangeAnswer, EdgeChangeResult } from '../domain/edge-change.js';
import { edgeWorkflowId } from '../domain/names.js';
import { withSignal } from './abortable.js';
import { queryWorkflow } from './query.js';
import { type LastingWorkflow, updateWithStart } from './update.js';

export interface EdgeName {
  readonly project: string;
  readonly edge: string;
}

/** How often the edge is asked whether a change has ended: often at first, since most take half a second. */
const askEveryMs = { first: 25, last: 1_000 } as const;

/**
 * Asks the edge for a change and waits for its end, at most until `signal`. A change id that the edge knows is that
 * change, running or ended: asking again changes nothing.
 */
export async function changeEdge(
  client: Client,
  name: EdgeName,
  change: EdgeChange,
  signal: AbortSignal,
): Promise<EdgeChangeResult> {
  const id = edgeWorkflowId(name.project, name.edge);
  let answer = await withSignal(client, signal, () =>
    updateWithStart<EdgeChange, EdgeChangeAnswer>(client, edgeWorkflow(name), 'change', change),
  );
  for (
    let waitMs: number = askEveryMs.first;
    answer.state !== 'ended';
    waitMs = Math.min(waitMs * 1.2, askEveryMs.last)
  ) {
    await setTimeout(waitMs, undefined, { signal });
    answer = await queryWorkflow<EdgeChangeAnswer>(client, id, 'change', { id: change.id });
  }
  return answer.result;
}

/**
 * Takes a change back that is no longer wanted, and answers what became of it: `withdrawn`, or what it came to be
 * before the withdrawal reached it. It waits for that at most until `signal`: the worker that would answer may be the
 * one that asks, and about to end.
 */
export async function withdrawEdgeChange(
  client: Client,
  name: EdgeName,
  id: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<EdgeChangeResult> {
  return withSignal(client, signal, () =>
    updateWithStart<{ id: string }, EdgeChangeResult>(client, edgeWorkflow(name), 'withdraw', { id }),
  );
}

const edgeWorkflow = ({ project, edge }: EdgeName): LastingWorkflow => ({
  type: 'edge',
  id: edgeWorkflowId(project, edge),
  project,
  summary: `edge ${edge} of ${project}`,
});
