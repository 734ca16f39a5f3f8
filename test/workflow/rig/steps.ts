import type { Fault, Held } from './faults.js';
import type { World } from './world.js';

/** Steps of a deploy in order; those that run at the same time stand together. */
export const deploySteps: readonly (readonly string[])[] = [
  ['pinRelease'],
  ['fetchArtifact backend', 'fetchArtifact web'],
  ['requestEdgeChange stand-down'],
  ['drainColor'],
  ['recreateInstance backend', 'recreateInstance web'],
  ['migrate backend'],
  ['migrate web'],
  ['startInstance backend', 'startInstance web'],
  ['waitUntilUpOnEdge'],
  ['requestEdgeChange switch'],
  ['watchSoak'],
];

/** Steps of a cleanup that run at the same time. */
const removal = ['removeInstance backend', 'removeInstance web'];

export const migrationLost = (component: string): string => `the migration of ${component} ran and is not taken back`;
const backend = [migrationLost('backend')];
const both = [...backend, migrationLost('web')];

/** Each step of a rolling deploy in order, and what is lost if it ends there. */
export const rollingSteps: Readonly<Record<string, readonly string[]>> = {
  pinRelease: [],
  'fetchArtifact backend': [],
  'fetchArtifact web': [],
  'drainInstance backend-1': [],
  'replaceRelease backend-1': [],
  'migrate backend-1': backend,
  'startInstance backend-1': backend,
  'admitInstance backend-1': backend,
  'drainInstance backend-2': backend,
  'replaceRelease backend-2': backend,
  'startInstance backend-2': backend,
  'admitInstance backend-2': backend,
  'drainInstance web-1': backend,
  'replaceRelease web-1': backend,
  'migrate web-1': both,
  'startInstance web-1': both,
  'admitInstance web-1': both,
  'recordReleases now': both,
  pruneInstances: [],
};

/** What undoes one instance of a rolling deploy, in order. */
export const rollingUndo = [
  'retakeInstance',
  'replaceRelease',
  'startInstance',
  'admitInstance',
  'leaveFailed',
] as const;

/** Each step of an edge change in order, and what undoes the change if it ends there. */
export const edgeSteps: Readonly<Record<string, readonly string[]>> = {
  readEdge: [],
  renderConfig: [],
  stageConfig: ['unstageConfig'],
  installConfig: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  reloadEdge: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  verifyTraffic: ['restoreConfig', 'reloadRestored', 'unstageConfig'],
  recordColor: ['restoreColors', 'restoreConfig', 'reloadRestored', 'unstageConfig'],
};

/** A step and those that run at the same time. */
export const togetherWith = (step: string): readonly string[] =>
  [...deploySteps, removal].find((steps) => steps.includes(step)) ?? [step];

/**
 * Holds a step and those that run at the same time. A test that stops a deploy must hold all of them: the test server
 * hangs for ten seconds if an activity ends while its cancellation is on the way.
 *
 * @param isTaken whether the operation has a step at all
 */
export function holdStep(
  { faults }: World,
  step: string,
  isTaken: (other: string) => boolean = () => true,
): Held & { releaseStep(): void } {
  const together = togetherWith(step).filter(isTaken);
  const holds = together.map((one) => ({ one, held: faults.hold(one) }));
  return {
    reached: Promise.all(holds.map(({ held }) => held.reached)).then(() => {}),
    release: () => {
      for (const { held } of holds) held.release();
    },
    releaseStep: () => holds.find(({ one }) => one === step)?.held.release(),
  };
}

/**
 * Sets what goes wrong. A step that fails for good stops those that run at the same time, which have to stand still for
 * that: call the answer when the operation has begun.
 *
 * @param isTaken whether the operation has a step at all
 */
export function setFaults(
  world: World,
  faults: Readonly<Record<string, Fault>>,
  isTaken?: (step: string) => boolean,
): () => Promise<void> {
  for (const [step, fault] of Object.entries(faults)) world.faults.set(step, fault);
  const failing = Object.keys(faults).find((step) => togetherWith(step).length > 1 && !faults[step]?.includes('once'));
  if (failing === undefined) return async () => {};
  const held = holdStep(world, failing, isTaken);
  return async () => {
    await held.reached;
    held.releaseStep();
  };
}

/** Runs something for each step at the same time; its results by their steps. */
export async function forEachStep<T>(
  steps: readonly string[],
  run: (step: string) => Promise<T>,
): Promise<Record<string, T>> {
  return Object.fromEntries(await Promise.all(steps.map(async (step) => [step, await run(step)] as const)));
}
