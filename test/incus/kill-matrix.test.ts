import { describe, test } from 'vitest';
import { chance, quickToStart, say, serve } from '../rig/chaos.js';
import { type KillRow, type Kind, killInRows, killRows, kinds, moments, partsOf, rowsOf } from '../rig/kill-matrix.js';
import { Stage, worthKilling } from '../rig/kill-stage.js';
import { isWhole } from '../rig/tier.js';
import { useIncusd } from './rig/containers.js';
import { inIncus, startInstanceProject } from './rig/projects.js';

/** In how many places of each kind of operation a worker is killed; other ones each time. */
const placesOfAKind = Number(process.env.CHAOS_PLACES ?? 1);
const random = chance();

useIncusd();

const start = (): Promise<Stage> =>
  Stage.start(async (serving) => {
    const rig = await startInstanceProject((yaml, names) => worthKilling(quickToStart(inIncus(yaml, names))));
    try {
      await serve(rig.project, serving, '--repair');
      return rig;
    } catch (error) {
      await rig.stop();
      throw error;
    }
  });

const killIn = (rows: readonly KillRow<Stage>[], section: string, part: string): Promise<void> =>
  killInRows<Stage>(rows, {
    section: `incus-kill-worker.${section}`,
    table: {
      title: 'The worker is killed in every activity, where edge and instances are in Incus',
      about:
        'SIGKILL before, during and after activities whose edge and instances are containers; another worker is started. ' +
        'A place that is left empty was not drawn in the last run.',
      columns: ['operation', 'activity', ...moments],
    },
    part,
    start,
  });

/** Some of the places of a kind, each in a row of its activity. */
function drawn(kind: Kind): readonly KillRow<Stage>[] {
  const rows = killRows<Kind, Stage>(kind, rowsOf(kind));
  const all = rows.flatMap(({ cells }) => cells);
  const chosen = new Set(random.shuffled(all).slice(0, placesOfAKind));
  return rows
    .map((row) => ({ ...row, cells: row.cells.filter((cell) => chosen.has(cell)) }))
    .filter(({ cells }) => cells.length > 0);
}

describe('a worker that is killed, where edge and instances are in Incus', () => {
  // What Temporal has lost has nothing to do with where instances are.
  const killed = kinds.filter(({ isFirst }) => !isFirst);
  // One that is ill only under visitors takes as long as three others.
  const sampled = placesOfAKind > 1 ? killed : killed.filter(({ fault }) => fault !== 'sick when visited');
  if (isWhole) {
    for (const { name, section, rows } of partsOf(killed)) {
      test(`leaves it to the next one in a ${name}`, { timeout: 1_200_000 }, () => killIn(rows, section, name));
    }
  } else {
    test('anywhere in an operation of each kind leaves it to the next one, and fails no visitor', {
      timeout: 300_000 * Math.max(placesOfAKind, 2),
    }, () => {
      const seed = `CHAOS_SEED=${random.seed}`;
      say(seed);
      return killIn(sampled.flatMap(drawn), '1', seed);
    });
  }
});
