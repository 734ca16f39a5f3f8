import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { expect, inject, test } from 'vitest';
import { recordHistories } from './rig/histories.js';

/**
 * Histories of workflows as they run in production: a change of the workflows that can't replay them would break what
 * is in the middle of its work while the worker is updated. `UPDATE_HISTORIES=1` writes them anew, on purpose.
 */
const directory = fileURLToPath(new URL('./histories/', import.meta.url));

const read = async (file: string): Promise<History> => JSON.parse(await readFile(join(directory, file), 'utf8'));
const replay = (history: History) =>
  Worker.runReplayHistory({ workflowBundle: { codePath: inject('workflowBundle') } }, history, workflowIdOf(history));

interface History {
  readonly events: readonly {
    readonly workflowExecutionStartedEventAttributes?: { readonly workflowId: string };
    activityTaskScheduledEventAttributes?: { activityType: { name: string } };
  }[];
}

/** Workflows tell their names by their id. */
function workflowIdOf({ events }: History): string {
  return events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? '';
}

if (process.env.UPDATE_HISTORIES) {
  test('the histories are written anew', async () => {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    await recordHistories((name, history) => writeFile(join(directory, `${name}.json`), history));
  });
} else {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.json')).sort();

  test.each(files.map((file) => basename(file, '.json')))('the workflows replay %s', async (name) => {
    await replay(await read(`${name}.json`));
  });

  test('there is a history of each kind of workflow', () => {
    const kinds = new Set(files.map((file) => file.split('.')[0]));
    expect([...kinds].sort()).toEqual(['cleanup', 'deploy', 'edge', 'environment', 'rollback', 'switch', 'switchEdge']);
  });

  test('a history that the workflows would not have written is caught', async () => {
    const history = await read('switchEdge.succeeded.json');
    const scheduled = history.events.find((event) => event.activityTaskScheduledEventAttributes);
    if (scheduled?.activityTaskScheduledEventAttributes) {
      scheduled.activityTaskScheduledEventAttributes.activityType.name = 'reloadEdge';
    }
    await expect(replay(history)).rejects.toThrow(DeterminismViolationError);
  });
}
