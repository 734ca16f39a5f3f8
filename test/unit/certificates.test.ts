import { describe, expect, test } from 'vitest';
import { nextLook, planLooks, renewalDue, renewalMoment } from '../../src/domain/certificates.js';

const day = 24 * 60 * 60_000;
const at = (days: number): string => new Date(Date.UTC(2026, 0, 1) + days * day).toISOString();
const certificate = (serial: string, days: number) => ({ serial, notBefore: at(0), notAfter: at(days) });

describe('a certificate is due', () => {
  test.each([
    { lifetime: 90, notYet: 59.9, due: 60.1 },
    { lifetime: 6, notYet: 3.9, due: 4.1 },
  ])('when a third of its $lifetime days is left', ({ lifetime, notYet, due }) => {
    const own = certificate('00ff', lifetime);
    expect(renewalDue(own, Date.parse(at(notYet)))).toBe(false);
    expect(renewalDue(own, Date.parse(at(due)))).toBe(true);
  });

  test('within the window that the authority says, each at a moment of its own that stays the same', () => {
    const window = { start: at(10), end: at(12) };
    const moments = ['01', '4000000000', 'aa80000000', 'ffffffff'].map((serial) =>
      renewalMoment(certificate(serial, 90), window),
    );
    for (const moment of moments) {
      expect(moment).toBeGreaterThanOrEqual(Date.parse(window.start));
      expect(moment).toBeLessThan(Date.parse(window.end));
    }
    expect(new Set(moments).size).toBeGreaterThan(2);
    expect(renewalMoment(certificate('aa80000000', 90), window)).toBe(moments[2]);
    expect(moments[2]).toBe(Date.parse(at(11)));
  });

  test('at once, where the window has passed: the authority is about to revoke it', () => {
    expect(renewalDue(certificate('ff', 90), Date.parse(at(1)), { start: at(0.1), end: at(0.2) })).toBe(true);
  });

  test.each([
    { what: 'ends before it starts', window: { start: at(12), end: at(10) } },
    { what: 'begins after the certificate has run out', window: { start: at(91), end: at(92) } },
    { what: 'is no time at all', window: { start: 'soon', end: 'later' } },
  ])('by its age, where the window $what', ({ window }) => {
    expect(renewalMoment(certificate('ff', 90), window)).toBe(Date.parse(at(60)));
  });
});

describe('looks at certificates', () => {
  const hour = day / 24;
  const minute = hour / 60;
  const start = Date.UTC(2026, 0, 1);
  const offset = 3 * hour + 17 * minute;
  const moment = (ms: number): string => new Date(ms).toISOString();

  interface Authority {
    readonly lifeMs: number;
    /** As parts of the life, from its beginning. */
    readonly window?: readonly [number, number];
    /** Whether it answers a try of a renewal. */
    readonly answers?: (renewal: number, attempt: number) => boolean;
  }

  /** Lives a number of lives of a certificate; answers how much of the life was left when it was renewed, at worst and best. */
  function simulate({ lifeMs, window, answers = () => true }: Authority, lives: number) {
    const issue = (at: number, serial: number) => ({
      certificate: { serial: (serial * 0x9e3779b1).toString(16), notBefore: moment(at), notAfter: moment(at + lifeMs) },
      window: window ? { start: moment(at + window[0] * lifeMs), end: moment(at + window[1] * lifeMs) } : null,
    });
    let installed = issue(start, 1);
    const left: number[] = [];
    let attempt = 0;
    for (let now = start; left.length < lives; ) {
      now = nextLook(planLooks([installed], [], now), offset, now);
      if (!renewalDue(installed.certificate, now, installed.window)) continue;
      attempt += 1;
      if (!answers(left.length, attempt) && attempt < 1_000) continue;
      left.push((Date.parse(installed.certificate.notAfter) - now) / lifeMs);
      installed = issue(now, left.length + 1);
      attempt = 0;
    }
    return { least: Math.min(...left), most: Math.max(...left) };
  }

  const lives = [1, 2, 6, 12, 24, 48, 72, 144, 240, 288, 300, 1_080, 2_160, 4_320, 398 * 24];
  const windows = [undefined, [0.5, 0.55], [0.6, 0.7], [0.9, 0.95], [0.98, 0.999], [0.99, 1.5]] as const;

  test.each(lives)('renew one of %i h in time, whatever window its authority says', (hours) => {
    for (const window of windows) {
      const { least, most } = simulate({ lifeMs: hours * hour, ...(window && { window }) }, 20);
      expect({ window, isInTime: least >= 1 / 12 || least * hours * hour >= day, most: most <= 0.51 }).toEqual({
        ...{ window, isInTime: true, most: true },
      });
    }
  });

  test.each(lives)('renew one of %i h in time where two tries in a row fail', (hours) => {
    const { least } = simulate({ lifeMs: hours * hour, answers: (_, attempt) => attempt > 2 }, 20);
    expect(least).toBeGreaterThan(0.1);
  });

  test('come once a day for those of 90 days, at the same time of day, whatever is due when', () => {
    const plan = planLooks([{ certificate: certificate('ff', 90), window: { start: at(20), end: at(21) } }], [], start);
    expect(plan).toEqual({ everyMs: day, at: [], patienceMs: 12 * hour });
    expect(nextLook(plan, offset, start)).toBe(start + offset);
    expect(nextLook(plan, offset, start + offset)).toBe(start + offset + day);
  });

  test.each([
    { days: 6, every: 12 * hour, patience: 6 * hour },
    { days: 1, every: 2 * hour, patience: hour },
    { days: 1 / 24, every: 5 * minute, patience: 2.5 * minute },
  ])('come twelve times in $days days, and when one is due', ({ days, every, patience }) => {
    const plan = planLooks([{ certificate: certificate('ff', days), window: null }], [], start);
    expect(plan).toEqual({ everyMs: every, at: [start + (days * day * 2) / 3], patienceMs: patience });
  });

  test('come as often as the shortest life needs', () => {
    const both = [90, 1].map((days) => ({ certificate: certificate('ff', days), window: null }));
    expect(planLooks(both, [], start).everyMs).toBe(2 * hour);
    expect(planLooks([], [], start)).toEqual({ everyMs: day, at: [], patienceMs: 12 * hour });
  });

  test('come at the moment at which an authority wants to be asked again, once each', () => {
    const plan = planLooks(
      [],
      ['2026-01-02T00:00:00.5Z', '2026-01-02T00:00:01Z', '2025-12-31T00:00:00Z', 'soon'],
      start,
    );
    expect(plan.at).toEqual([Date.parse('2026-01-02T00:00:01Z')]);
    expect(nextLook(plan, offset, start + offset)).toBe(plan.at[0]);
  });
});
