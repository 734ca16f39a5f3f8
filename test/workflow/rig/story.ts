import type { Held } from './faults.js';
import type { World } from './world.js';

/** Steps of a deploy in order; those that run at the same time stand together. */
export const story: readonly (readonly string[])[] = [
  ['pinRelease'],
  ['requestEdgeChange stand-down'],
  ['drainColor', 'fetchArtifact backend', 'fetchArtifact web'],
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

/**
 * Holds a step and those that run at the same time. A test that stops a deploy needs all of them to stand still: the
 * test server gets stuck for ten seconds where an activity ends while its cancellation is on the way.
 *
 * @param isTaken whether the operation has a step at all
 */
export function holdStep(
  { faults }: World,
  step: string,
  isTaken: (other: string) => boolean = () => true,
): Held & { releaseStep(): void } {
  const together = ([...story, removal].find((steps) => steps.includes(step)) ?? [step]).filter(isTaken);
  const holds = together.map((one) => ({ one, held: faults.hold(one) }));
  return {
    reached: Promise.all(holds.map(({ held }) => held.reached)).then(() => {}),
    release: () => {
      for (const { held } of holds) held.release();
    },
    releaseStep: () => holds.find(({ one }) => one === step)?.held.release(),
  };
}
