import { BasculeError, isBasculeError, type RetryAfter } from '../errors.js';
import { type Authority, nameOf } from './authority.js';
import { type Problem, parseObject, problemObject } from './objects.js';

/** What an authority answered. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly data: unknown;
}

/** Ten years: a moment beyond cannot be written down. */
const longestRetryAfterMs = 10 * 365 * 24 * 60 * 60_000;
const longestText = 2_000;

/** `rejectedIdentifier` of `urn:ietf:params:acme:error:rejectedIdentifier`; empty where there is none. */
const shortType = ({ type = '' }: Pick<Problem, 'type'>): string => type.slice(type.lastIndexOf(':') + 1);

/** A problem document; empty where an answer holds none. */
export const readProblem = (data: unknown): Problem => parseObject(problemObject, data).data ?? {};

/** Text of an authority as one line, without what a terminal would take for a command. */
export const oneLine = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ');

/** A problem in words, those of each name below it. */
export function problemInWords(problem: Problem): string {
  const own = [problem.detail ?? problem.title, shortType(problem) && `(${shortType(problem)})`].filter(Boolean);
  const below = (problem.subproblems ?? []).map(
    ({ identifier, ...each }) => `${identifier?.value ? `${identifier.value}: ` : ''}${problemInWords(each)}`,
  );
  const lines = [own.join(' ') || 'it does not say why', ...below].map(oneLine);
  return lines.join('\n').slice(0, longestText);
}

/**
 * When to ask again by a Retry-After of seconds or a date (RFC 9110, 10.2.3). How long that is follows from the authority's
 * own clock, the date from its own words.
 */
export function retryAfter(headers: RawAnswer['headers'], now = Date.now()): Required<RetryAfter> {
  const header = String(headers['retry-after'] ?? '');
  const sentAt = Date.parse(String(headers.date ?? '')) || now;
  const isInSeconds = /^\s*\d+\s*$/.test(header);
  const wantedMs = isInSeconds ? Number(header) * 1_000 : Date.parse(header) - sentAt;
  if (Number.isNaN(wantedMs)) return never;
  const retryAfterMs = Math.min(Math.max(wantedMs, 0), longestRetryAfterMs);
  return { retryAfterMs, retryAt: asMoment(isInSeconds ? now + retryAfterMs : Date.parse(header)) };
}

const never: Required<RetryAfter> = { retryAfterMs: null, retryAt: null };
const asMoment = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

/** As `retryAfter`; a date in the words of a rate limit is the one that is meant. */
function retryAfterLimit(headers: RawAnswer['headers'], { detail = '' }: Problem): Required<RetryAfter> {
  const said = retryAfter(headers);
  const [, day, time] = /retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?: ?UTC|Z)/i.exec(detail) ?? [];
  const at = Date.parse(`${day}T${time}Z`);
  if (Number.isNaN(at)) return said;
  return { retryAfterMs: said.retryAfterMs ?? Math.max(at - Date.now(), 0), retryAt: asMoment(at) };
}

/** The error that an answer amounts to; null where it is none. */
export function errorOf(authority: Authority, act: string, answer: RawAnswer): BasculeError | null {
  const { status, headers, data } = answer;
  if (status < 400) return null;
  const ca = nameOf(authority);
  const problem = readProblem(data);
  const type = shortType(problem);
  const text = type || problem.detail ? problemInWords(problem) : `HTTP ${status}`;
  if (status === 429 || type === 'rateLimited') {
    return new BasculeError('acme-rate-limited', { ca, act, problem: text, ...retryAfterLimit(headers, problem) });
  }
  // A nonce that is refused was asked for anew a few times already.
  if (status >= 500 || status === 408 || type === 'badNonce') {
    return new BasculeError('acme-unavailable', { ca, act, reason: text, ...retryAfter(headers) });
  }
  return new BasculeError('acme-refused', { ca, act, status, type, problem: text });
}

/** Codes of Node.js and OpenSSL for a server that is not trusted. */
const untrusted = /CERT|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET)|ALTNAME/;

/** The error that a request without an answer amounts to. */
export function errorOfConnection(authority: Authority, act: string, error: unknown): BasculeError {
  if (isBasculeError(error)) return error;
  const ca = nameOf(authority);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // The error itself holds the whole request: it goes no further.
  const reason = error instanceof Error && error.message ? error.message : code || 'no answer';
  return untrusted.test(code)
    ? new BasculeError('acme-untrusted', { ca, reason })
    : new BasculeError('acme-unavailable', { ca, act, reason, retryAfterMs: null });
}

/** Why an authority refused for good, such as `alreadyRevoked`; null where that is not what an error says. */
export function refusalOf(error: unknown): { readonly type: string; readonly status: number } | null {
  return isRefusal(error) ? error.args : null;
}

const isRefusal = (error: unknown): error is BasculeError<'acme-refused'> =>
  isBasculeError(error) && error.code === 'acme-refused';

/** Whether an error says that the authority is out of order or not there. */
export const isUnavailable = (error: unknown): boolean => isBasculeError(error) && error.code === 'acme-unavailable';
