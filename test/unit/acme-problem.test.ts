import { describe, expect, test } from 'vitest';
import { errorOf, errorOfConnection, problemInWords, retryAfter } from '../../src/acme/problem.js';
import { LocalHost } from '../../src/hosts/local.js';

const authority = { host: new LocalHost(), state: '/state', directory: 'https://ca.example.org/directory' };
const answer = (status: number, type: string | null, headers: Record<string, string> = {}) => ({
  status,
  headers,
  data: type === null ? '<html>' : { type: `urn:ietf:params:acme:error:${type}`, detail: 'as it says' },
});

describe('a problem in words', () => {
  test('names each host name that it is about', () => {
    const words = problemInWords({
      type: 'urn:ietf:params:acme:error:rejectedIdentifier',
      detail: 'Some of the names are refused',
      subproblems: [
        {
          type: 'urn:ietf:params:acme:error:rejectedIdentifier',
          detail: 'forbidden by policy',
          identifier: { value: 'a.example.org' },
        },
        { type: 'urn:ietf:params:acme:error:dns', detail: 'no such name', identifier: { value: 'b.example.org' } },
      ],
    });
    expect(words.split('\n')).toEqual([
      'Some of the names are refused (rejectedIdentifier)',
      'a.example.org: forbidden by policy (rejectedIdentifier)',
      'b.example.org: no such name (dns)',
    ]);
  });

  test('has nothing that a terminal takes for a command', () => {
    expect(problemInWords({ detail: 'red \u001b[31m\nnext' })).toBe('red  [31m next');
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  test.each([
    { header: '120', ms: 120_000, at: '2026-01-01T00:02:00Z' },
    { header: '86400', ms: 86_400_000, at: '2026-01-02T00:00:00Z' },
    { header: '604800', ms: 604_800_000, at: '2026-01-08T00:00:00Z' },
    { header: 'Thu, 01 Jan 2026 00:05:00 GMT', ms: 300_000, at: '2026-01-01T00:05:00Z' },
    { header: 'Sat, 10 Jan 2026 00:00:00 GMT', ms: 9 * 86_400_000, at: '2026-01-10T00:00:00Z' },
    { header: 'Wed, 31 Dec 2025 00:05:00 GMT', ms: 0, at: '2025-12-31T00:05:00Z' },
    { header: 'soon', ms: null, at: null },
    { header: undefined, ms: null, at: null },
  ])('$header', ({ header, ms, at }) => {
    expect(retryAfter({ 'retry-after': header }, now)).toEqual({ retryAfterMs: ms, retryAt: at });
  });

  test('of a date is waited for by the clock of the authority, and shown as it says', () => {
    const headers = { 'retry-after': 'Thu, 01 Jan 2026 02:00:00 GMT', date: 'Thu, 01 Jan 2026 01:00:00 GMT' };
    expect(retryAfter(headers, now)).toEqual({ retryAfterMs: 3_600_000, retryAt: '2026-01-01T02:00:00Z' });
  });

  test('of more seconds than there are moments is still a moment', () => {
    expect(retryAfter({ 'retry-after': '9'.repeat(30) }, now).retryAt).toMatch(/^2035-/);
  });

  test.each([
    ['beside seconds', { 'retry-after': '3600' }],
    ['alone', {}],
  ])('in the words of a rate limit is the date that is shown (%s)', (_, headers) => {
    const detail = 'too many certificates (5) already issued, retry after 2036-12-02 03:04:05 UTC: see https://…';
    const data = { type: 'urn:ietf:params:acme:error:rateLimited', detail };
    const error = errorOf(authority, 'take an order', { status: 429, headers, data });
    expect(error?.args).toMatchObject({ retryAt: '2036-12-02T03:04:05Z', retryAfterMs: expect.any(Number) });
    expect(error?.remedy).toContain('2036-12-02T03:04:05Z');
    expect(
      `${error?.message} ${error?.remedy}`.match(/\d{4}-\d\d-\d\d/g)?.filter((day) => day !== '2036-12-02'),
    ).toEqual([]);
  });
});

describe('whether another try can help', () => {
  test.each([
    { said: answer(429, 'rateLimited', { 'retry-after': '60' }), code: 'acme-rate-limited', retryable: true },
    { said: answer(403, 'rateLimited'), code: 'acme-rate-limited', retryable: true },
    { said: answer(500, 'serverInternal'), code: 'acme-unavailable', retryable: true },
    { said: answer(503, null, { 'retry-after': '7' }), code: 'acme-unavailable', retryable: true },
    { said: answer(400, 'badNonce'), code: 'acme-unavailable', retryable: true },
    { said: answer(400, 'rejectedIdentifier'), code: 'acme-refused', retryable: false },
    { said: answer(404, null), code: 'acme-refused', retryable: false },
  ])('$code after $said.status', ({ said, code, retryable }) => {
    expect(errorOf(authority, 'take an order', said)).toMatchObject({ code, isRetryable: retryable });
  });

  test('and when', () => {
    const limited = errorOf(authority, 'take an order', answer(429, 'rateLimited', { 'retry-after': '3600' }));
    expect(limited?.args).toMatchObject({ retryAfterMs: 3_600_000 });
    expect(limited?.remedy).toMatch(/may be asked again at 20\d\d-/);
    const out = errorOf(authority, 'take an order', answer(503, null, { 'retry-after': '7' }));
    expect(out?.args).toMatchObject({ retryAfterMs: 7_000 });
  });

  test('an authority that is not there is asked again, one that is not trusted is not', () => {
    const failed = (code: string) => errorOfConnection(authority, 'answer', Object.assign(new Error('no'), { code }));
    expect(failed('ECONNREFUSED')).toMatchObject({ code: 'acme-unavailable', isRetryable: true });
    expect(failed('ETIMEDOUT')).toMatchObject({ code: 'acme-unavailable', isRetryable: true });
    expect(failed('SELF_SIGNED_CERT_IN_CHAIN')).toMatchObject({ code: 'acme-untrusted', isRetryable: false });
  });
});
