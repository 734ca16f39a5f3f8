import type { Parameters } from 'fast-check';

/** Of all property tests; one that failed is repeated with the seed that its error names. */
export const seed = Number(process.env.BASCULE_TEST_SEED ?? Date.now() % 2 ** 31);

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
