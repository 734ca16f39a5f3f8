import { describe, test } from 'vitest';
import { quickUnderLoad, startServingProject } from '../rig/chaos.js';
import { withShortLease } from '../rig/fail-point.js';
import { placeOf, Stage, worthKilling } from '../rig/kill-stage.js';
import { stopInRows, stoppedKinds } from '../rig/late-acts.js';

describe('a worker that was stopped and wakes after another one took over', () => {
  test.concurrent.each(stoppedKinds)('changes nothing of a $name', { timeout: 2_400_000 }, (kind) =>
    stopInRows(kind, {
      section: 'late-acts',
      start: () =>
        Stage.start(async (serving) =>
          placeOf(await startServingProject(serving, (yaml) => worthKilling(quickUnderLoad(yaml)), withShortLease)),
        ),
    }),
  );
});
