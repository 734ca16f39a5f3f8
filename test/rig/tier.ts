/** Whether `make test-all` runs: whole matrices and random values; `make test` has fixed samples. */
export const isWhole = process.env.BASCULE_TEST_ALL === '1';
