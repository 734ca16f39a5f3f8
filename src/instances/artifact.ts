import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ArtifactsConfiguration, SecretSource } from '../domain/configuration.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { removeHalfWritten, writing } from '../hosts/writing.js';
import { hasSystemCode } from '../system-error.js';
import { artifactUrl, checksumUrl, parseChecksum } from './artifact-names.js';
import { openSource, type Source, type Token } from './artifact-source.js';

/** Far more than any list of checksums. */
const checksumMaxBytes = 1_000_000;

/** Longer than an operation takes from an artifact's fetching to its unpacking. */
const artifactInUseMs = 60 * 60 * 1_000;

/** A server that takes longer to begin its answer is not reachable, for whoever only looks. */
const probeMs = 5_000;

/** An artifact that cannot become another one under the same URL. */
export interface ArtifactPin {
  readonly url: string;
  readonly sha256: string;
  /** Bytes, where they are known. */
  readonly size?: number;
}

export type ReadSecret = (source: SecretSource, purpose: string) => Promise<string> | string;

/**
 * Fixes which artifact a release means: by its checksum file, or where the configuration names none by fetching it.
 *
 * @throws `artifact-not-found`, `artifact-unauthorized`, `artifact-unreachable`, `artifact-truncated`,
 * `artifact-too-large`, `artifact-checksum-unreadable`
 */
export async function pinArtifact(
  artifacts: ArtifactsConfiguration,
  names: { component: string; environment: string; sha: string },
  readSecret: ReadSecret,
  signal?: AbortSignal,
): Promise<ArtifactPin> {
  const url = artifactUrl(artifacts.url, names);
  if (artifacts.checksum === undefined) return await pinByContent(url, artifacts, readSecret, signal);
  const checksum = checksumUrl(artifacts.checksum, { ...names, url });
  const text = await inTime(checksum, artifacts, signal, async (deadline) => {
    const source = await openSource(checksum, await tokenOf(artifacts, readSecret), deadline);
    return await readText(source, checksum);
  });
  const sha256 = parseChecksum(text, basename(new URL(url).pathname));
  if (sha256 === null) throw new BasculeError('artifact-checksum-unreadable', { url: checksum });
  return { url, sha256 };
}

/**
 * Fetches a pinned artifact into a file, which has its name only when it is whole and right; one that is there already
 * is taken. `onProgress` gets the bytes so far, and of how many.
 *
 * @throws `artifact-wrong-checksum`, `file-not-writable`, and those of `pinArtifact`
 */
export async function fetchArtifact(
  pin: ArtifactPin,
  file: string,
  artifacts: ArtifactsConfiguration,
  readSecret: ReadSecret,
  options: { signal?: AbortSignal; onProgress?: (bytes: number, size: number | null) => void } = {},
): Promise<void> {
  if ((await digestOf(file)) === pin.sha256) return await markUsed(file);
  const partial = `${file}.partial-${randomUUID()}`;
  try {
    await writing(file, () => mkdir(dirname(file), { recursive: true }));
    const sha256 = await inTime(pin.url, artifacts, options.signal, async (deadline) => {
      const source = await openSource(pin.url, await tokenOf(artifacts, readSecret), deadline);
      return await store(source, partial, { ...artifacts, url: pin.url, onProgress: options.onProgress });
    });
    if (sha256 !== pin.sha256) {
      throw new BasculeError('artifact-wrong-checksum', { url: pin.url, expected: pin.sha256, found: sha256 });
    }
    await writing(file, () => rename(partial, file));
  } finally {
    await removeHalfWritten(partial);
  }
}

/**
 * Asks for an artifact and reads nothing of it. Answers its URL where there is none, null where there is one.
 *
 * @throws `artifact-unauthorized`, `artifact-unreachable`
 */
export async function probeArtifact(
  artifacts: ArtifactsConfiguration,
  names: { component: string; environment: string; sha: string },
  readSecret: ReadSecret,
): Promise<string | null> {
  const url = artifactUrl(artifacts.url, names);
  const asking = new AbortController();
  const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(probeMs)]);
  try {
    const { chunks } = await openSource(url, await tokenOf(artifacts, readSecret), signal);
    asking.abort();
    for await (const _ of chunks) break;
    return null;
  } catch (error) {
    if (isBasculeError(error) && error.code === 'artifact-not-found') return url;
    if (asking.signal.aborted) return null;
    throw error;
  }
}

/**
 * Keeps the `kept` artifacts of a folder that were used last, and every one that was used within the last hour: an
 * operation may be about to unpack it. The others can be fetched again.
 */
export async function pruneArtifacts(folder: string, kept: number): Promise<void> {
  const files = (await readdir(folder)).filter((name) => !name.includes('.partial-')).map((name) => join(folder, name));
  const dated = await Promise.all(files.map(async (file) => ({ file, usedAt: await usedAt(file) })));
  const unused = dated
    .sort((a, b) => b.usedAt - a.usedAt)
    .slice(kept)
    .filter(({ usedAt }) => Date.now() - usedAt > artifactInUseMs);
  for (const { file } of unused) await rm(file, { force: true });
}

/** Ms since the epoch; what another operation has removed meanwhile counts as in use. */
async function usedAt(file: string): Promise<number> {
  try {
    return (await stat(file)).mtimeMs;
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return Date.now();
    throw error;
  }
}

async function markUsed(file: string): Promise<void> {
  const now = new Date();
  await utimes(file, now, now);
}

async function pinByContent(
  url: string,
  artifacts: ArtifactsConfiguration,
  readSecret: ReadSecret,
  signal?: AbortSignal,
): Promise<ArtifactPin> {
  return await inTime(url, artifacts, signal, async (deadline) => {
    const source = await openSource(url, await tokenOf(artifacts, readSecret), deadline);
    const digest = createHash('sha256');
    let size = 0;
    for await (const chunk of limited(source, url, artifacts.maxBytes)) {
      digest.update(chunk);
      size += chunk.length;
    }
    return { url, sha256: digest.digest('hex'), size };
  });
}

async function tokenOf({ token }: ArtifactsConfiguration, readSecret: ReadSecret): Promise<Token | null> {
  if (!token) return null;
  const from = 'env' in token ? `the environment variable ${token.env}` : `the file ${token.file}`;
  return { value: await readSecret(token, 'artifacts.token'), from };
}

/** Runs with the configured time limit; where that passes the error says so, and the caller's own stop is thrown as it is. */
async function inTime<T>(
  url: string,
  { timeoutMs }: ArtifactsConfiguration,
  signal: AbortSignal | undefined,
  run: (deadline: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    return await run(signal ? AbortSignal.any([signal, timeout]) : timeout);
  } catch (error) {
    signal?.throwIfAborted();
    if (!timeout.aborted) throw error;
    throw new BasculeError('artifact-unreachable', { url, reason: `it took longer than ${timeoutMs / 1_000} s` });
  }
}

async function readText(source: Source, url: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of limited(source, url, checksumMaxBytes)) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** Answers the SHA-256 of what it wrote. */
async function store(
  source: Source,
  file: string,
  {
    url,
    maxBytes,
    onProgress,
  }: { url: string; maxBytes: number; onProgress: ((bytes: number, size: number | null) => void) | undefined },
): Promise<string> {
  const digest = createHash('sha256');
  const handle = await writing(file, () => open(file, 'wx', 0o600));
  try {
    let written = 0;
    for await (const chunk of limited(source, url, maxBytes)) {
      digest.update(chunk);
      await writing(file, () => handle.writeFile(chunk));
      written += chunk.length;
      onProgress?.(written, source.size);
    }
    await writing(file, () => handle.sync());
  } finally {
    await handle.close();
  }
  return digest.digest('hex');
}

async function* limited({ size, chunks }: Source, url: string, maxBytes: number): AsyncGenerator<Buffer> {
  let received = 0;
  for await (const chunk of chunks) {
    received += chunk.length;
    if (received > maxBytes || (size ?? 0) > maxBytes)
      throw new BasculeError('artifact-too-large', { what: url, maxBytes });
    yield chunk;
  }
}

/** SHA-256 of a file, null where there is none. */
async function digestOf(file: string): Promise<string | null> {
  const digest = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file)) digest.update(chunk);
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return null;
    throw error;
  }
  return digest.digest('hex');
}
