import { describe, expect, test } from 'vitest';
import { addCounters, judgeTraffic, type TrafficSample } from '../../src/domain/traffic-judge.js';
import { BasculeError } from '../../src/errors.js';

const sample = (requests: number, errors: number, more: Partial<TrafficSample> = {}): TrafficSample => ({
  ...{ requests, errors, connectionErrors: 0, latencyMs: null },
  ...more,
});
const none = sample(0, 0);
const limits = { maxErrorShare: 0.05, maxLatencyMs: null, minRequests: 50 };
const judge = (release: TrafficSample, baseline = none, more: Partial<Parameters<typeof judgeTraffic>[2]> = {}) =>
  judgeTraffic(release, baseline, { ...limits, ...more });

describe('a release', () => {
  test.each([
    ['is not judged by fewer answers than minRequests', sample(49, 49), none],
    ['may have the share of errors that is allowed', sample(100, 5), none],
    ['may have what the release before had, and the allowed share beside it', sample(100, 55), sample(1000, 500)],
    ['is not judged for a URL that always gave 5xx', sample(50, 50), sample(60, 58)],
    ['may lack any answer', none, sample(100, 0)],
  ])('%s', (_, release, baseline) => {
    expect(judge(release, baseline)).toBe(null);
  });

  test('fails by more errors than the release before had and the allowed share beside', () => {
    expect(judge(sample(100, 6))).toEqual({ measure: 'errors', found: 0.06, allowed: 0.05, baseline: null });
    const fault = judge(sample(100, 16), sample(1000, 100));
    expect(fault).toMatchObject({ measure: 'errors', found: 0.16, baseline: 0.1 });
    expect(fault?.allowed).toBeCloseTo(0.15);
  });

  test('finds no excuse in a release before that was hardly asked', () => {
    expect(judge(sample(100, 20), sample(49, 49))).toMatchObject({ measure: 'errors', baseline: null });
  });

  test('fails by connections that it does not take, also where nobody got through', () => {
    const refusing = sample(0, 0, { connectionErrors: 60 });
    expect(judge(refusing)).toEqual({ measure: 'connections', found: 1, allowed: 0.05, baseline: null });
    expect(judge(sample(50, 0, { connectionErrors: 50 }), refusing)).toBe(null);
  });

  test('fails by latency only where that is limited, and the release before was faster', () => {
    const slow = sample(100, 0, { latencyMs: 900 });
    expect(judge(slow)).toBe(null);
    const limited = { maxLatencyMs: 500 };
    expect(judge(slow, none, limited)).toEqual({ measure: 'latency', found: 900, allowed: 500, baseline: null });
    expect(judge(slow, sample(100, 0, { latencyMs: 950 }), limited)).toBe(null);
    expect(judge(slow, sample(100, 0, { latencyMs: 800 }), limited)).toMatchObject({ allowed: 800, baseline: 800 });
    expect(judge(sample(100, 0), none, limited)).toBe(null);
  });
});

test('counters of several HAProxy workers add up', () => {
  expect(addCounters([])).toEqual({ requests: 0, errors: 0, connectionErrors: 0 });
  const second = { requests: 10, errors: 2, connectionErrors: 3 };
  expect(addCounters([{ requests: 1, errors: 1, connectionErrors: 1 }, second])).toEqual({
    ...{ requests: 11, errors: 3, connectionErrors: 4 },
  });
});

test('a soak that failed says what was counted, allowed, and usual before', () => {
  const of = { environment: 'prod', color: 'green', requests: 60, errors: 12, connectionErrors: 0 };
  const errors = new BasculeError('errors-in-soak', {
    ...{ ...of, measure: 'errors', allowed: 0.07, baseline: 0.02, allowedShare: 0.05 },
  });
  expect(errors.message).toBe(
    'prod: 12 of 60 answers of the new release were 5xx in its soak, 20 %; the release before had 2 %, and 5 % more are allowed',
  );
  const refused = { ...of, connectionErrors: 30, measure: 'connections', allowed: 0.05, baseline: null } as const;
  expect(new BasculeError('errors-in-soak', { ...refused, allowedShare: 0.05 }).message).toBe(
    'prod: 30 of 90 connections to the new release failed in its soak, 33.3 %; 5 % are allowed',
  );
});
