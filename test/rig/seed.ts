import type { Parameters } from 'fast-check';
import { isWhole } from './tier.js';

/** Of all property tests: always the same in `make test`, another in each `make test-all`. */
export const seed = Number(process.env.BASCULE_TEST_SEED ?? (isWhole ? Date.now() % 2 ** 31 : 1));

/** How a property is shown: without looking for a smaller counterexample, which takes minutes where HAProxy runs. */
export const replayable = <Values>(numRuns: number): Parameters<Values> => ({
  seed,
  numRuns,
  endOnFailure: true,
  reporter: ({ failed, errorInstance, numRuns: run }) => {
    if (!failed) return;
    throw new Error(`BASCULE_TEST_SEED=${seed}, run ${run}: ${String(errorInstance)}`, { cause: errorInstance });
  },
});
