import { type Kind, killInRows, kinds, moments, rowsOf, rowsOfKind } from './kill-matrix.js';
import type { Stage } from './kill-stage.js';

/** What only reads, or only waits, has nothing to do late. */
const writes: ReadonlySet<string> = new Set([
  ...['stageConfig', 'installConfig', 'reloadEdge', 'recordColor', 'restoreConfig', 'reloadRestored', 'unstageConfig'],
  ...['recreateInstance', 'migrate', 'startInstance', 'waitUntilUpOnEdge', 'removeInstance', 'markFailed'],
]);

/** Kinds of operations whose worker is stopped: what rollbacks write a deploy and a switch write too. */
export const stoppedKinds = kinds.filter(({ name }) => !name.startsWith('rollback') && !name.startsWith('first'));

/**
 * Stops the worker in every activity of a kind that writes, and lets it go on when another one has ended the operation,
 * wherever edge and instances are. The project was started with `withShortLease`.
 */
export const stopInRows = (
  kind: Kind,
  { section, where = '', start }: { readonly section: string; readonly where?: string; start(): Promise<Stage> },
): Promise<void> =>
  killInRows<Stage>(
    rowsOfKind(
      kind,
      rowsOf(kind).filter(({ activity }) => writes.has(activity)),
      (stage: Stage, cell) => stage.run(cell, { how: 'stop' }),
    ),
    {
      section: `${section}.${1 + kinds.indexOf(kind)}`,
      table: {
        title: `A worker is stopped for longer than its timeout, and acts late${where}`,
        about:
          'SIGSTOP before, during and after each activity that writes. Another worker takes over and ends the operation; then ' +
          'SIGCONT. What comes late is refused by the fence, or finds it done and changes nothing: no file, no process, no ' +
          'server of HAProxy.',
        columns: ['operation', 'activity', ...moments],
      },
      part: kind.name,
      start,
    },
  );
