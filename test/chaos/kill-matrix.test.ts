import { afterAll, describe, expect, test } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { WorkerContext } from '../../src/activities/project.js';
import { certificateKinds } from '../rig/certificate-kinds.js';
import { chance, quick, say, startServingProject } from '../rig/chaos.js';
import { type Kind, kinds, notKilledHere, type Row, rowsOf } from '../rig/kill-kinds.js';
import { killInRows, killRows, moments, nameOf } from '../rig/kill-rows.js';
import { Stage, worthKilling } from '../rig/kill-stage.js';
import { isWhole } from '../rig/reliability.js';

/** Kinds of operations that `make test` kills in, other ones each time. */
const sampledKinds = 2;
/** Executions that one test of the whole matrix kills in, three times each. */
const rowsOfATest = 5;
const random = chance();

const start = (): Promise<Stage> =>
  Stage.start(async (serving) => {
    const project = await startServingProject(serving, (yaml) => worthKilling(quick(yaml)));
    return { project, stop: () => project.stop() };
  });

describe('the list of what a worker is killed in', () => {
  const every = [...kinds, ...certificateKinds];

  test('names every activity there is', () => {
    const context = {} as WorkerContext;
    const all = Object.values(createActivities(context)).flatMap((group) => Object.keys(group));
    const named = new Set([...every.flatMap(({ activities }) => activities), ...Object.keys(notKilledHere)]);
    expect([...named].toSorted()).toEqual(all.toSorted());
  });

  test('kills in each of them', () => {
    const killed = new Set(every.flatMap((kind) => rowsOf(kind).map(({ activity }) => activity)));
    const run = new Set(every.flatMap(({ activities }) => activities));
    expect([...killed].toSorted()).toEqual([...run].toSorted());
  });
});

function sampleTest(): void {
  let stage: Stage | null = null;
  afterAll(() => stage?.stop());

  test('anywhere in an operation of one kind or another leaves it to the next one, and fails no visitor', {
    timeout: 600_000,
  }, async () => {
    stage = await start();
    const dear: readonly Kind['fault'][] = ['sick when visited', 'wrong on one host'];
    const sampled = random
      .shuffled(kinds.filter(({ fault, isFirst }) => !isFirst && !dear.includes(fault)))
      .slice(0, sampledKinds);
    for (const [index, kind] of sampled.entries()) {
      const rows = rowsOf(kind);
      const row = rows[Math.floor(random.next() * rows.length)];
      const moment = moments[Math.floor(random.next() * moments.length)];
      if (!row || !moment) throw new Error('a kind has no activities');
      const cell = { kind, row, moment };
      const context = `CHAOS_SEED=${random.seed}, ${nameOf(cell)}`;
      say(context);
      await stage.run(cell, index % 2 === 0 ? 'failing deploy' : 'deploy').catch((error: Error) => {
        throw new Error(`${context}: ${error.message}`, { cause: error });
      });
    }
    await stage.end();
  });
}

const parts = kinds.flatMap((kind) => {
  const rows = rowsOf(kind);
  const count = Math.ceil(rows.length / rowsOfATest);
  return Array.from({ length: count }, (_, index) => ({
    kind,
    part: index + 1,
    count,
    rows: rows.slice(index * rowsOfATest, (index + 1) * rowsOfATest),
  }));
});

function wholeTests(): void {
  for (const { kind, rows, part, count } of parts) {
    test.concurrent(
      `leaves it to the next one in a ${kind.name} (part ${part} of ${count})`,
      {
        timeout: 1_200_000,
      },
      () => killInAll(kind, rows, part),
    );
  }
}

/** Kills in each of these rows, at each moment. */
async function killInAll(kind: Kind, rows: readonly Row[], part: number): Promise<void> {
  await killInRows<Stage>(killRows(kind, rows), {
    section: `kill-worker.${1 + kinds.indexOf(kind)}${part}`,
    table: {
      title: 'The worker is killed in every activity',
      about:
        'SIGKILL before, during and after each activity; another worker is started. The operation has to end as the ' +
        'same one does that nobody disturbs, with the exit code of the command that waits for it.',
      columns: ['operation', 'activity', ...moments],
    },
    part: `${kind.name}, part ${part}`,
    start,
  });
}

if (isWhole) describe('a worker that is killed before, during and after each activity', wholeTests);
else describe('a worker that is killed', sampleTest);
