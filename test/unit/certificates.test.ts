import { describe, expect, test } from 'vitest';
import { renewalDue, renewalMoment } from '../../src/domain/certificates.js';

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
