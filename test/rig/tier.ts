import type { Parameters } from 'fast-check';

/** Whether `make test-all` runs: whole matrices and random values; `make test` has fixed samples. */
export const isWhole = process.env.BASCULE_TEST_ALL === '1';

/** How many times as slow as two quiet cores this machine is, as `make test` measured it when it began. */
const slowness = Number(process.env.BASCULE_TEST_SLOWNESS ?? 1);

/** A bound of a wait for a condition, for this machine. */
export const scaled = (ms: number): number => Math.round(ms * slowness);

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
