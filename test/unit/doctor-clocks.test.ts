import { describe, expect, test } from 'vitest';
import { clockDifferences } from '../../src/cli/doctor.js';

const seen = (workerAheadMs: number, temporalAheadMs: number | null) => ({
  at: new Date(Date.now() + workerAheadMs).toISOString(),
  temporalAheadMs,
  checks: [],
  usage: [],
});
const said = (workerAheadMs: number, temporalAheadMs: number | null, askedAt = Date.now()) =>
  clockDifferences(seen(workerAheadMs, temporalAheadMs), askedAt).map(({ message }) => message);

describe('doctor on clocks', () => {
  test('finds nothing where they agree, as far as a task may take', () => {
    expect(said(0, 0)).toEqual([]);
    expect(said(1_000, -1_000)).toEqual([]);
    expect(said(0, null)).toEqual([]);
    expect(said(-30_000, 0, Date.now() - 40_000)).toEqual([]);
  });

  test.each([3_600_000, -3_600_000])("names the worker's clock that is %i ms off", (aheadMs) => {
    expect(said(aheadMs, 0)).toEqual([expect.stringContaining("the worker's clock")]);
  });

  test.each([3_600_000, -3_600_000])("names Temporal's clock that is %i ms off", (aheadMs) => {
    expect(said(0, aheadMs)).toEqual([expect.stringContaining("Temporal's clock")]);
  });
});
