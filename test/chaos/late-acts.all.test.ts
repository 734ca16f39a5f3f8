import { describe, test } from 'vitest';
import { quickUnderLoad, startServingProject } from '../rig/chaos.js';
import { withShortLease } from '../rig/fail-point.js';
import { killInRows, kinds, moments, rowsOf, rowsOfKind } from '../rig/kill-matrix.js';
import { placeOf, Stage, worthKilling } from '../rig/kill-stage.js';

/** What only reads, or only waits, has nothing to do late. */
const writes: ReadonlySet<string> = new Set([
  ...['stageConfig', 'installConfig', 'reloadEdge', 'recordColor', 'restoreConfig', 'reloadRestored', 'unstageConfig'],
  ...['recreateInstance', 'migrate', 'startInstance', 'waitUntilUpOnEdge', 'removeInstance', 'markFailed'],
]);
const stopped = kinds.filter(({ name }) => !name.startsWith('rollback') && !name.startsWith('first'));

describe('a worker that was stopped and wakes after another one took over', () => {
  test.concurrent.each(stopped)('changes nothing of a $name', { timeout: 2_400_000 }, (kind) =>
    killInRows<Stage>(
      rowsOfKind(
        kind,
        rowsOf(kind).filter(({ activity }) => writes.has(activity)),
        (stage: Stage, cell) => stage.run(cell, { how: 'stop' }),
      ),
      {
        section: `late-acts.${1 + kinds.indexOf(kind)}`,
        table: {
          title: 'A worker is stopped for longer than its timeout, and acts late',
          about:
            'SIGSTOP before, during and after each activity that writes. Another worker takes over and ends the operation; then ' +
            'SIGCONT. What comes late is refused by the fence, or finds it done and changes nothing: no file, no process, no ' +
            'server of HAProxy.',
          columns: ['operation', 'activity', ...moments],
        },
        part: kind.name,
        start: () =>
          Stage.start(async (serving) =>
            placeOf(await startServingProject(serving, (yaml) => worthKilling(quickUnderLoad(yaml)), withShortLease)),
          ),
      },
    ),
  );
});
