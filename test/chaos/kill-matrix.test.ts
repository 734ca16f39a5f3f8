import { afterAll, describe, expect, test } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { WorkerContext } from '../../src/activities/project.js';
import { certificateKinds } from '../rig/certificate-kinds.js';
import { chance, quick, say, startServingProject } from '../rig/chaos.js';
import { type Kind, kinds, notKilledHere, rowsOf } from '../rig/kill-kinds.js';
import { killInRows, moments, nameOf, partsOf } from '../rig/kill-rows.js';
import { Stage, worthKilling } from '../rig/kill-stage.js';
import { isWhole } from '../rig/reliability.js';

/** Kinds of operations that `make test` kills in, other ones each time. */
const sampledKinds = 2;
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

function wholeTests(): void {
  for (const part of partsOf(kinds)) {
    test.concurrent(`leaves it to the next one in a ${part.name}`, { timeout: 1_200_000 }, () =>
      killInRows<Stage>(part.rows, {
        section: `kill-worker.${part.section}`,
        table: {
          title: 'The worker is killed in every activity',
          about:
            'SIGKILL before, during and after each activity; another worker is started. The operation has to end as the ' +
            'same one does that nobody disturbs, with the exit code of the command that waits for it.',
          columns: ['operation', 'activity', ...moments],
        },
        part: part.name,
        start,
      }),
    );
  }
}

if (isWhole) describe('a worker that is killed before, during and after each activity', wholeTests);
else describe('a worker that is killed', sampleTest);
