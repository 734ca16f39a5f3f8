import { describe, test } from 'vitest';
import { quickToStart, serve } from '../rig/chaos.js';
import { withShortLease } from '../rig/fail-point.js';
import { type Kind, killInRows, kinds, moments, partsOf } from '../rig/kill-matrix.js';
import { Stage, worthKilling } from '../rig/kill-stage.js';
import { stopInRows, stoppedKinds } from '../rig/late-acts.js';
import { useIncusd } from './rig/containers.js';
import { lookAtInstances } from './rig/instance-look.js';
import { inIncus, startInstanceProject } from './rig/projects.js';

// Hours: `-t` runs a part of it.

const where = ', where edge and instances are in Incus';

useIncusd();

const start = (variables: Readonly<Record<string, string>> = {}): Promise<Stage> =>
  Stage.start(async (serving) => {
    const configure = (yaml: string, names: Parameters<typeof inIncus>[1]) =>
      worthKilling(quickToStart(inIncus(yaml, names)));
    const rig = await startInstanceProject(configure, variables);
    try {
      await serve(rig.project, serving, '--repair');
      return { ...rig, look: () => lookAtInstances(rig) };
    } catch (error) {
      await rig.stop();
      throw error;
    }
  });

// What Temporal has lost has nothing to do with where instances are.
const killed = partsOf<Kind, Stage>(kinds.filter(({ isFirst }) => !isFirst));

describe(`a worker that is killed before, during and after each activity${where}`, () => {
  test.each(killed)('leaves it to the next one in a $name', { timeout: 1_200_000 }, ({ name, section, rows }) =>
    killInRows<Stage>(rows, {
      section: `incus-kill-worker.${section}`,
      table: {
        title: `The worker is killed in every activity${where}`,
        about:
          'SIGKILL before, during and after activities whose edge and instances are containers; another worker is started.',
        columns: ['operation', 'activity', ...moments],
      },
      part: name,
      start: () => start(),
    }),
  );
});

// A switch and a soak write what a deploy writes.
const stopped = stoppedKinds.filter(({ name, fault }) => name !== 'switch' && fault !== 'sick when visited');

describe(`a worker that was stopped and wakes after another one took over${where}`, () => {
  test.each(stopped)('changes nothing of a $name', { timeout: 3_600_000 }, (kind) =>
    stopInRows(kind, { section: 'incus-late-acts', where, start: () => start(withShortLease) }),
  );
});
