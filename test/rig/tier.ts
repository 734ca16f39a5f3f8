/** Whether `make test-all` runs: whole matrices and random values; `make test` has fixed samples. */
export const isWhole = process.env.BASCULE_TEST_ALL === '1';

/** How many times as slow as two quiet cores this machine is, as `make test` measured it when it began. */
const slowness = Number(process.env.BASCULE_TEST_SLOWNESS ?? 1);

/** A bound of a wait for a condition, for this machine. */
export const scaled = (ms: number): number => Math.round(ms * slowness);
