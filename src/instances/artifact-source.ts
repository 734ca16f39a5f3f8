import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Dispatcher, request } from 'undici';
import { isLoopback, mayCarryToken } from '../domain/token-origin.js';
import { BasculeError } from '../errors.js';
import { readVersion } from '../version.js';
import { dispatcherFor } from './artifact-connection.js';
import { shownUrl } from './artifact-names.js';

const mostRedirects = 5;

/** What of an answer is shown where it is not what was asked for. */
const shownBytes = 512;

const userAgent = `bascule/${readVersion()}`;

export interface Token {
  readonly value: string;
  /** Where it comes from, for messages. */
  readonly from: string;
}

/** How artifacts are asked for. */
export interface Access {
  readonly token: Token | null;
  /** Of `artifacts.url`: the token is for this one alone. */
  readonly origin: string;
  /** PEM file of roots that servers are trusted by, besides the usual ones. */
  readonly caFile?: string;
}

/** What a server answered, for the message that it is not what was asked for. */
export interface Answer {
  /** Null where nobody says: of a file. */
  readonly contentType: string | null;
  readonly bytes: number;
  readonly begin: Buffer;
}

export interface Source {
  /** Bytes, null where the server does not say. */
  readonly size: number | null;
  readonly chunks: AsyncIterable<Buffer>;
  /** As far as it was read. */
  readonly answer: () => Answer;
}

interface Opened {
  readonly size: number | null;
  readonly contentType: string | null;
  readonly chunks: AsyncIterable<Buffer>;
}

/**
 * Opens what lies at a file:, http: or https: URL. The token goes to its own origin only, by https: or within this machine,
 * and a redirect never leads from https: to http:.
 *
 * @throws `artifact-not-found`, `artifact-unauthorized`, `artifact-unreachable`, `artifact-server-untrusted`,
 * `artifact-ca-file-unreadable`; the chunks throw `artifact-unreachable` and `artifact-truncated`
 */
export async function openSource(url: string, access: Access, signal: AbortSignal): Promise<Source> {
  const { size, contentType, chunks } = url.startsWith('file:')
    ? await openFile(url)
    : await openHttp(url, access, signal);
  let bytes = 0;
  let begin: Buffer = Buffer.alloc(0);
  const onChunk = (chunk: Buffer) => {
    if (begin.length < shownBytes) begin = Buffer.concat([begin, chunk.subarray(0, shownBytes - begin.length)]);
    bytes += chunk.length;
  };
  return { size, chunks: whole(url, { size, chunks }, onChunk), answer: () => ({ contentType, bytes, begin }) };
}

async function openFile(url: string): Promise<Opened> {
  try {
    const file = await open(fileURLToPath(url), 'r');
    const { size, isFile } = await file.stat().then((stat) => ({ size: stat.size, isFile: stat.isFile() }));
    if (isFile) return { size, contentType: null, chunks: file.createReadStream() };
    await file.close();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR')
      throw new BasculeError('artifact-unreachable', { url, reason: message });
  }
  throw new BasculeError('artifact-not-found', { url });
}

async function openHttp(url: string, access: Access, signal: AbortSignal): Promise<Opened> {
  let at = new URL(url);
  for (let redirects = 0; redirects <= mostRedirects; redirects += 1) {
    const { token } = access;
    const isSent = token !== null && at.origin === access.origin && mayCarryToken(at);
    const authorization = isSent ? { authorization: `Bearer ${token.value}` } : {};
    const answer = await ask(url, at, { headers: { 'user-agent': userAgent, ...authorization }, access, signal });
    const { statusCode, headers } = answer;
    if (statusCode === 200) {
      const length = Number(headers['content-length'] ?? Number.NaN);
      const contentType = [headers['content-type']].flat()[0] ?? null;
      return { size: Number.isNaN(length) ? null : length, contentType, chunks: answer.body };
    }
    await answer.body.dump({ limit: 65_536 });
    const { location } = headers;
    if (![301, 302, 303, 307, 308].includes(statusCode) || typeof location !== 'string') {
      throw refusalOf(url, { status: statusCode, at, access, isSent });
    }
    at = followed(url, at, location);
  }
  throw new BasculeError('artifact-unreachable', {
    url: shownUrl(url),
    reason: `more than ${mostRedirects} redirects`,
  });
}

async function ask(
  url: string,
  at: URL,
  {
    headers,
    access,
    signal,
  }: { readonly headers: Record<string, string>; readonly access: Access; readonly signal: AbortSignal },
): Promise<Dispatcher.ResponseData> {
  const dispatcher = await dispatcherFor(access.caFile, { isDirect: isLoopback(at) });
  try {
    return await request(at, { headers, signal, dispatcher });
  } catch (error) {
    throw unreachable(url, at, error);
  }
}

function followed(url: string, from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  if (to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:')) return to;
  throw new BasculeError('artifact-unreachable', {
    url: shownUrl(url),
    reason: `it redirects from ${from.protocol} to ${to?.protocol ?? 'no URL'}`,
  });
}

function refusalOf(
  asked: string,
  {
    status,
    at,
    access,
    isSent,
  }: { readonly status: number; readonly at: URL; readonly access: Access; readonly isSent: boolean },
): BasculeError {
  const url = shownUrl(asked);
  if (status === 404 || status === 410) return new BasculeError('artifact-not-found', { url });
  if (status !== 401 && status !== 403) {
    return new BasculeError('artifact-unreachable', { url, reason: `the server answered ${status}` });
  }
  // Where another origin was asked, the token was not sent on.
  const elsewhere = access.token !== null && !isSent ? at.origin : null;
  return new BasculeError('artifact-unauthorized', { url, status, token: access.token?.from ?? null, elsewhere });
}

async function* whole(
  asked: string,
  { size, chunks }: Pick<Opened, 'size' | 'chunks'>,
  onChunk: (chunk: Buffer) => void,
): AsyncGenerator<Buffer> {
  const url = shownUrl(asked);
  let received = 0;
  try {
    for await (const chunk of chunks) {
      received += chunk.length;
      onChunk(chunk);
      yield chunk;
    }
  } catch (error) {
    if ((error as Error).name === 'TimeoutError' || (error as Error).name === 'AbortError') {
      throw new BasculeError('artifact-unreachable', { url, reason: reasonOf(error) }, { cause: error });
    }
    const truncated = { url, receivedBytes: received, expectedBytes: size };
    throw new BasculeError('artifact-truncated', truncated, { cause: error });
  }
  if (size !== null && received !== size) {
    throw new BasculeError('artifact-truncated', { url, receivedBytes: received, expectedBytes: size });
  }
}

/** Of OpenSSL and Node.js, that say a server is not the one it claims to be; another try finds the same. */
const untrusted: Readonly<Record<string, 'unknown' | 'expired' | 'other name'>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'unknown',
  CERT_UNTRUSTED: 'unknown',
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'other name',
};

function unreachable(url: string, at: URL, error: unknown): BasculeError {
  const { code = '' } = error as NodeJS.ErrnoException;
  const why = untrusted[code];
  if (why !== undefined) {
    const reason = `${reasonOf(error)} (${code})`;
    return new BasculeError(
      'artifact-server-untrusted',
      { url: shownUrl(url), server: at.host, reason, why },
      { cause: error },
    );
  }
  return new BasculeError('artifact-unreachable', { url: shownUrl(url), reason: reasonOf(error) }, { cause: error });
}

/** The error's own words; some of undici's errors have only a code, or a cause. */
function reasonOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  return message || code || String(error);
}
