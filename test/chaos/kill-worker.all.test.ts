import { describe, expect, test } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { WorkerContext } from '../../src/activities/project.js';
import { quickUnderLoad, startServingProject } from '../rig/chaos.js';
import { killInRows, kinds, moments, partsOf, rowsOf } from '../rig/kill-matrix.js';
import { placeOf, Stage, worthKilling } from '../rig/kill-stage.js';

const start = (): Promise<Stage> =>
  Stage.start(async (serving) =>
    placeOf(await startServingProject(serving, (yaml) => worthKilling(quickUnderLoad(yaml)))),
  );

test('the matrix has every activity of an operation with colors', () => {
  const { edge, edgeRequests, environments, instances, plans, watches } = createActivities({} as WorkerContext);
  const all = [edge, edgeRequests, environments, instances, plans, watches].flatMap((group) => Object.keys(group));
  const killed = new Set(kinds.flatMap((kind) => rowsOf(kind).map(({ activity }) => activity)));
  // Run only where an undo fails, or a cleanup is stopped as it removes.
  const notKilled = ['disownInstances', 'markNeedsOperator', 'restoreColors'];
  expect(all.filter((activity) => !killed.has(activity)).toSorted()).toEqual(notKilled);
});

describe('a worker that is killed before, during and after each activity', () => {
  test.concurrent.each(partsOf<(typeof kinds)[number], Stage>(kinds))(
    'leaves it to the next one in a $name',
    { timeout: 1_200_000 },
    ({ name, section, rows }) =>
      killInRows<Stage>(rows, {
        section: `kill-worker.${section}`,
        table: {
          title: 'The worker is killed in every activity',
          about:
            'SIGKILL before, during and after each activity; another worker is started. The operation has to end as the ' +
            'same one does that nobody disturbs, with the exit code of the command that waits for it.',
          columns: ['operation', 'activity', ...moments],
        },
        part: name,
        start,
      }),
  );
});
