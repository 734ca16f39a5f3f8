import fc from 'fast-check';
import { expect, test } from 'vitest';
import { edgeChange } from '../rig/kill-matrix.js';
import { masterKilled, projectSite } from '../rig/project-site.js';
import type { SiteFault } from '../rig/schedule.js';
import { violationsOf } from '../rig/schedule-runs.js';

// Random schedules on all of Bascule, each in a project of its own: HAProxy, Temporal, a worker and instances. Artifacts
// that are missing and releases that never get healthy are among what is asked for.

/** Each takes as long as twenty on the workflows alone. */
const runs = Math.ceil(Number(process.env.CHAOS_RUNS ?? 200) / 10);

const activities = [
  ...['pinRelease', 'planRollback', 'planSwitch', 'planCleanup', ...edgeChange, 'drainColor', 'fetchArtifact'],
  ...['recreateInstance', 'startInstance', 'waitUntilUpOnEdge', 'watchSoak', 'removeInstance', 'withdrawEdgeChange'],
];
const killed = fc
  .tuple(fc.constantFrom(...activities), fc.constantFrom('before', 'during', 'after'))
  .map(([activity, moment]): SiteFault => ({ step: `${activity} ${moment}`, what: 'the worker is killed' }));
const faults = fc.oneof(
  { weight: 4, arbitrary: killed.map((fault): readonly SiteFault[] => [fault]) },
  { weight: 1, arbitrary: fc.constant<readonly SiteFault[]>([{ step: 'HAProxy', what: masterKilled }]) },
);

test(`${runs} random schedules leave what the model says, and nothing half-way`, {
  timeout: 300_000 + runs * 300_000,
}, async () => {
  const violations = await violationsOf('project', {
    on: 'all of Bascule, with workers and HAProxy killed',
    runs,
    lanes: 1,
    withinMs: 280_000,
    shrinkMs: 280_000,
    maxCommands: 5,
    pauses: [],
    faults,
    newSite: projectSite,
  });
  expect(violations).toBe('');
});
