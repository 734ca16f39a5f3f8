import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Dispatcher, request } from 'undici';
import { BasculeError } from '../errors.js';

const mostRedirects = 5;

export interface Token {
  readonly value: string;
  /** Where it comes from, for messages. */
  readonly from: string;
}

export interface Source {
  /** Bytes, null where the server does not say. */
  readonly size: number | null;
  readonly chunks: AsyncIterable<Buffer>;
}

/**
 * Opens what lies at a file:, http: or https: URL. The token goes to that URL's own origin only, and a redirect never
 * leads from https: to http:.
 *
 * @throws `artifact-not-found`, `artifact-unauthorized`, `artifact-unreachable`; the chunks throw `artifact-unreachable`
 * and `artifact-truncated`
 */
export async function openSource(url: string, token: Token | null, signal: AbortSignal): Promise<Source> {
  const source = url.startsWith('file:') ? await openFile(url) : await openHttp(url, token, signal);
  return { size: source.size, chunks: whole(url, source) };
}

async function openFile(url: string): Promise<Source> {
  try {
    const file = await open(fileURLToPath(url), 'r');
    const { size, isFile } = await file.stat().then((stat) => ({ size: stat.size, isFile: stat.isFile() }));
    if (isFile) return { size, chunks: file.createReadStream() };
    await file.close();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR')
      throw new BasculeError('artifact-unreachable', { url, reason: message });
  }
  throw new BasculeError('artifact-not-found', { url });
}

async function openHttp(url: string, token: Token | null, signal: AbortSignal): Promise<Source> {
  let at = new URL(url);
  const { origin } = at;
  for (let redirects = 0; redirects <= mostRedirects; redirects += 1) {
    const authorization = token && at.origin === origin ? { authorization: `Bearer ${token.value}` } : {};
    const answer = await ask(url, at, authorization, signal);
    const { statusCode, headers } = answer;
    if (statusCode === 200) {
      const length = Number(headers['content-length'] ?? Number.NaN);
      return { size: Number.isNaN(length) ? null : length, chunks: answer.body };
    }
    await answer.body.dump({ limit: 65_536 });
    const { location } = headers;
    if (![301, 302, 303, 307, 308].includes(statusCode) || typeof location !== 'string') {
      throw refusalOf(url, statusCode, token);
    }
    at = followed(url, at, location);
  }
  throw new BasculeError('artifact-unreachable', { url, reason: `more than ${mostRedirects} redirects` });
}

async function ask(
  url: string,
  at: URL,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(at, { headers, signal });
  } catch (error) {
    throw new BasculeError('artifact-unreachable', { url, reason: reasonOf(error) }, { cause: error });
  }
}

function followed(url: string, from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : null;
  if (to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:')) return to;
  throw new BasculeError('artifact-unreachable', {
    url,
    reason: `it redirects from ${from.protocol} to ${to?.protocol ?? 'no URL'}`,
  });
}

function refusalOf(url: string, status: number, token: Token | null): BasculeError {
  if (status === 404 || status === 410) return new BasculeError('artifact-not-found', { url });
  if (status === 401 || status === 403) {
    return new BasculeError('artifact-unauthorized', { url, status, token: token?.from ?? null });
  }
  return new BasculeError('artifact-unreachable', { url, reason: `the server answered ${status}` });
}

async function* whole(url: string, { size, chunks }: Source): AsyncGenerator<Buffer> {
  let received = 0;
  try {
    for await (const chunk of chunks) {
      received += chunk.length;
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

/** The error's own words; some of undici's errors have only a code, or a cause. */
function reasonOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  return message || code || String(error);
}
