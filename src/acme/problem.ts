import { BasculeError, isBasculeError } from '../errors.js';
import { type Authority, nameOf } from './authority.js';
import { type Problem, parseObject, problemObject } from './objects.js';

/** What an authority answered. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly data: unknown;
}

const longestRetryAfterMs = 24 * 60 * 60_000;
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

/** How long to wait, in ms, by a Retry-After of seconds or a date (RFC 9110, 10.2.3); null where there is none. */
export function retryAfterMs(header: unknown, now = Date.now()): number | null {
  if (typeof header !== 'string') return null;
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), longestRetryAfterMs);
}

/** The error that an answer amounts to; null where it is none. */
export function errorOf(authority: Authority, act: string, answer: RawAnswer): BasculeError | null {
  const { status, headers, data } = answer;
  if (status < 400) return null;
  const ca = nameOf(authority);
  const problem = readProblem(data);
  const type = shortType(problem);
  const text = type || problem.detail ? problemInWords(problem) : `HTTP ${status}`;
  const wait = retryAfterMs(headers['retry-after']);
  if (status === 429 || type === 'rateLimited') {
    const retryAt = wait === null ? null : new Date(Date.now() + wait).toISOString();
    return new BasculeError('acme-rate-limited', { ca, act, problem: text, retryAt, retryAfterMs: wait });
  }
  // A nonce that is refused was asked for anew a few times already.
  if (status >= 500 || status === 408 || type === 'badNonce') {
    return new BasculeError('acme-unavailable', { ca, act, reason: text, retryAfterMs: wait });
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
