import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ArtifactsConfiguration, SecretSource } from '../domain/configuration.js';
import { shaPattern } from '../domain/names.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { removeHalfWritten, writing } from '../hosts/writing.js';
import { hasSystemCode } from '../system-error.js';
import { describeAnswer } from './artifact-answer.js';
import { type ArtifactNames, artifactUrl, checksumUrl, parseChecksum, shownUrl } from './artifact-names.js';
import { type Access, openSource, type Source } from './artifact-source.js';
import { checkArtifact } from './unpack.js';

/** Far more than any list of checksums. */
const checksumMaxBytes = 1_000_000;

/** Longer than an operation takes from an artifact's fetching to its unpacking. */
const artifactInUseMs = 60 * 60 * 1_000;

/** A server that takes longer to begin its answer is not reachable, for whoever only looks. */
const probeMs = 5_000;

/** An artifact that cannot become another one under the same URL. */
export interface ArtifactPin extends ArtifactNames {
  /** Without its query, which may hold a secret. */
  readonly url: string;
  readonly sha256: string;
  /** Bytes, where they are known. */
  readonly size?: number;
}

export type ReadSecret = (source: SecretSource, purpose: string) => Promise<string> | string;

/**
 * Fixes which artifact a release means: by its checksum file, or where the configuration names none by fetching it.
 *
 * @throws `artifact-not-found`, `artifact-unauthorized`, `artifact-unreachable`, `artifact-server-untrusted`,
 * `artifact-ca-file-unreadable`, `artifact-truncated`, `artifact-too-large`, `artifact-checksum-unreadable`
 */
export async function pinArtifact(
  artifacts: ArtifactsConfiguration,
  { component, environment, sha }: ArtifactNames,
  readSecret: ReadSecret,
  signal?: AbortSignal,
): Promise<ArtifactPin> {
  const names = { component, environment, sha };
  const url = urlOf(artifacts, names);
  const access = await accessOf(artifacts, url, readSecret);
  const pin = { ...names, url: shownUrl(url) };
  if (artifacts.checksum === undefined) return { ...pin, ...(await digestOfSource(url, artifacts, access, signal)) };
  const checksum = checksumUrl(artifacts.checksum, { ...names, url });
  const { text, answer } = await inTime(checksum, artifacts, signal, async (deadline) => {
    const source = await openSource(checksum, access, deadline);
    return { text: await readText(source, checksum), answer: source.answer() };
  });
  const sha256 = parseChecksum(text, basename(new URL(url).pathname));
  if (sha256 !== null) return { ...pin, sha256 };
  throw new BasculeError('artifact-checksum-unreadable', { url: shownUrl(checksum), answer: describeAnswer(answer) });
}

/**
 * Fetches a pinned artifact into a file, which has its name only when it is whole, right, and can be unpacked; one that is
 * there already is taken. `onProgress` gets the bytes so far, and of how many.
 *
 * @throws `artifact-not-configured` for a pin that `pinArtifact` would not make, `artifact-wrong-checksum`,
 * `file-not-writable`, and those of `pinArtifact` and `checkArtifact`
 */
export async function fetchArtifact(
  pin: ArtifactPin,
  file: string,
  artifacts: ArtifactsConfiguration,
  readSecret: ReadSecret,
  options: { signal?: AbortSignal; onProgress?: (bytes: number, size: number | null) => void } = {},
): Promise<void> {
  const url = urlOf(artifacts, pin);
  if (shownUrl(url) !== pin.url) {
    throw new BasculeError('artifact-not-configured', { what: shownUrl(pin.url), expected: shownUrl(url) });
  }
  if ((await digestOf(file)) === pin.sha256) return await markUsed(file);
  const { signal } = options;
  const access = await accessOf(artifacts, url, readSecret);
  const partial = `${file}.partial-${randomUUID()}`;
  try {
    await writing(file, () => mkdir(dirname(file), { recursive: true }));
    const { sha256, answer } = await inTime(url, artifacts, signal, async (deadline) => {
      const source = await openSource(url, access, deadline);
      const digest = await store(source, partial, { ...artifacts, url, onProgress: options.onProgress });
      return { sha256: digest, answer: describeAnswer(source.answer()) };
    });
    if (sha256 !== pin.sha256) {
      throw new BasculeError('artifact-wrong-checksum', { url: pin.url, expected: pin.sha256, found: sha256, answer });
    }
    await checkArtifact(partial, { name: pin.url, answer, ...(signal ? { signal } : {}) });
    await writing(file, () => rename(partial, file));
  } finally {
    await removeHalfWritten(partial);
  }
}

/**
 * Asks for an artifact and reads nothing of it. Answers its URL where there is none, null where there is one.
 *
 * @throws `artifact-unauthorized`, `artifact-unreachable`, `artifact-server-untrusted`, `artifact-ca-file-unreadable`
 */
export async function probeArtifact(
  artifacts: ArtifactsConfiguration,
  names: ArtifactNames,
  readSecret: ReadSecret,
): Promise<string | null> {
  const url = urlOf(artifacts, names);
  const asking = new AbortController();
  const signal = AbortSignal.any([asking.signal, AbortSignal.timeout(probeMs)]);
  try {
    const { chunks } = await openSource(url, await accessOf(artifacts, url, readSecret), signal);
    asking.abort();
    for await (const _ of chunks) break;
    return null;
  } catch (error) {
    if (isBasculeError(error) && error.code === 'artifact-not-found') return shownUrl(url);
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

/** A sha of other characters could lead to another server. */
function urlOf({ url }: ArtifactsConfiguration, names: ArtifactNames): string {
  if (shaPattern.test(names.sha)) return artifactUrl(url, names);
  throw new BasculeError('artifact-not-configured', { what: `a release ${JSON.stringify(names.sha)}`, expected: url });
}

async function digestOfSource(
  url: string,
  artifacts: ArtifactsConfiguration,
  access: Access,
  signal?: AbortSignal,
): Promise<{ sha256: string; size: number }> {
  return await inTime(url, artifacts, signal, async (deadline) => {
    const source = await openSource(url, access, deadline);
    const digest = createHash('sha256');
    let size = 0;
    for await (const chunk of limited(source, url, artifacts.maxBytes)) {
      digest.update(chunk);
      size += chunk.length;
    }
    return { sha256: digest.digest('hex'), size };
  });
}

/** How the artifact of a URL is asked for, and all that belongs to it: its checksum, and where it redirects to. */
async function accessOf(
  { token, caFile }: ArtifactsConfiguration,
  url: string,
  readSecret: ReadSecret,
): Promise<Access> {
  const access = { origin: new URL(url).origin, ...(caFile !== undefined && { caFile }) };
  if (!token) return { ...access, token: null };
  const from = 'env' in token ? `the environment variable ${token.env}` : `the file ${token.file}`;
  return { ...access, token: { value: await readSecret(token, 'artifacts.token'), from } };
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
    const reason = `it took longer than ${timeoutMs / 1_000} s`;
    throw new BasculeError('artifact-unreachable', { url: shownUrl(url), reason });
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
      throw new BasculeError('artifact-too-large', { what: shownUrl(url), maxBytes });
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
