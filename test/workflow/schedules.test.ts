import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { SiteFault } from '../rig/schedule.js';
import { violationsOf } from '../rig/schedule-runs.js';
import { isWhole } from '../rig/tier.js';
import type { Fault } from './rig/faults.js';
import { type Rig, startRigWithLimits } from './rig/rig.js';
import { worldSite } from './rig/world-site.js';

// Schedules of two clients on two environments: the real workflows on Temporal's dev server, with an edge and instances
// in memory, compared with test/rig/model.ts. `make test` always runs the same ones, `make test-all` random ones.

/** On two cores a hundred take half a minute: `make chaos N=…` acts out more. */
const runs = Number(process.env.CHAOS_RUNS ?? (isWhole ? 200 : 10));
const seed = process.env.CHAOS_SEED ?? String(isWhole ? randomInt(1, 1_000_000) : 1);

const stepsOfOperations = [
  'pinRelease',
  'planRollback',
  'planSwitch',
  'planCleanup',
  'requestEdgeChange stand-down',
  'drainColor',
  'fetchArtifact backend',
  'recreateInstance web',
  'migrate backend',
  'migrate web',
  'startInstance backend',
  'waitUntilUpOnEdge',
  'requestEdgeChange switch',
  'watchSoak',
  'removeInstance web',
];
const stepsOfEdge = ['readEdge', 'renderConfig', 'stageConfig', 'installConfig', 'reloadEdge', 'verifyTraffic'].flatMap(
  (step) => [`${step} of stand-down`, `${step} of switch`],
);
const recording = ['recordColor of stand-down', 'recordColor of switch'];

const step = fc.constantFrom(...stepsOfOperations, ...stepsOfEdge, ...recording);
const kind = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.constantFrom<Fault>('fails once', 'fails once after its effect', 'fails', 'fails after its effect'),
  },
  // Noticed only when no heartbeat came for five seconds.
  {
    weight: 1,
    arbitrary: fc.constantFrom<Fault>('hangs after its effect', 'hangs once after its effect'),
  },
);
const one = fc.tuple(step, kind).map(([step, what]): SiteFault => ({ step, what }));
/** A step fails, and what undoes it fails too. */
const undoFailures = [
  ['watchSoak', 'requestEdgeChange switch-back'],
  ['watchSoak', 'installConfig of switch-back'],
  ['watchSoak', 'markFailed'],
  ['startInstance web', 'markFailed'],
  ['requestEdgeChange switch', 'markFailed'],
] as const;
const twice = fc
  .constantFrom(...undoFailures)
  .map((steps): readonly SiteFault[] => steps.map((step) => ({ step, what: 'fails' })));
const faults = fc.oneof(
  { weight: 30, arbitrary: one.map((fault): readonly SiteFault[] => [fault]) },
  { weight: 6, arbitrary: twice },
  { weight: 1, arbitrary: fc.constant<readonly SiteFault[]>([{ step: null, what: 'the worker is restarted' }]) },
);

let rig: Rig;
beforeAll(async () => {
  vi.stubEnv('CHAOS_SEED', seed);
  rig = await startRigWithLimits({ maxHeartbeatThrottleInterval: '200ms', shutdownGraceTime: '100ms' });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rig.stop();
});

test(`${runs} schedules of two clients on two environments (CHAOS_SEED=${seed}) leave what the model says`, {
  timeout: 120_000 + runs * 3_000,
}, async () => {
  const violations = await violationsOf('workflows', {
    on: 'the workflows, with an edge and instances in memory',
    runs,
    lanes: Math.min(20, runs),
    withinMs: 120_000,
    shrinkMs: 60_000,
    maxCommands: 6,
    pauses: [...stepsOfOperations, ...stepsOfEdge],
    faults,
    newSite: async () => worldSite(rig),
  });
  expect(violations).toBe('');
});
