import { randomUUID } from 'node:crypto';
import { createReadStream, lstatSync, readlinkSync } from 'node:fs';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Readable, Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate } from 'node:timers/promises';
import * as zlib from 'node:zlib';
import { execa } from 'execa';
import { BasculeError } from '../errors.js';
import { removeHalfWritten, writing } from '../hosts/writing.js';
import { hasSystemCode } from '../system-error.js';
import type { EntryGate, Unpacked } from './archive-entries.js';
import { ArchiveFault } from './archive-header.js';
import { ArchiveReader, EntryRefused } from './archive-reader.js';

/** What a release may hold at most, unpacked. */
const unpackedMaxBytes = 8_000_000_000;
const unpackedMaxEntries = 500_000;

/** Read at once; Node.js's own smaller pieces would cost more than the decompression. */
const pieceBytes = 1_048_576;

/** Of what tar says. */
const mostShownLines = 5;

/** An archive, and how messages call it. */
interface Archive {
  readonly file: string;
  readonly name: string;
  /** What came in its place, where that is known. */
  readonly answer?: string;
}

interface Limits {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/**
 * Unpacks an artifact (tar, tar.gz or tar.zst, told by its content) into a folder that has its name only when it is
 * complete; one that is there already is taken. An artifact with a single entry that could touch anything outside is
 * refused as a whole, as is one with an entry that cannot be unpacked as it was packed. Owners, setuid bits and extended
 * attributes of the archive are not taken over.
 *
 * @throws `artifact-hostile`, `artifact-entry-unsupported`, `artifact-not-a-tar`, `artifact-damaged`, `artifact-too-large`,
 * `artifact-compression-unsupported`, `file-not-writable`, `command-not-found`
 */
export async function unpackArtifact(
  file: string,
  folder: string,
  options: { maxBytes?: number; maxEntries?: number; signal?: AbortSignal } = {},
): Promise<void> {
  if (await isFolder(folder)) return;
  const limits = limitsOf(options);
  const partial = `${folder}.partial-${randomUUID()}`;
  try {
    await writing(folder, async () => {
      await mkdir(partial, { recursive: true });
      await unpackInto(partial, { file, name: file }, limits, options.signal);
      await rename(partial, folder);
    });
  } finally {
    await removeHalfWritten(partial);
  }
}

/**
 * Reads an artifact as `unpackArtifact` does, before it is unpacked: what that would refuse is refused. `name` is how
 * messages call it. Answers what is to be there once it is unpacked: paths, and bytes of its files. Throws the same errors,
 * but for `file-not-writable` and `command-not-found`.
 */
export async function checkArtifact(
  file: string,
  options: { name?: string; answer?: string; maxBytes?: number; maxEntries?: number; signal?: AbortSignal } = {},
): Promise<{ readonly paths: number; readonly bytes: number }> {
  const { name = file, answer, signal } = options;
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const archive = { file, name, ...(answer !== undefined && { answer }) };
  const { unpacked } = await readArchive(archive, nowhere, limitsOf(options), signal);
  const bytes = [...unpacked.values()].reduce((sum, { size }) => sum + size, 0);
  return { paths: unpacked.size, bytes };
}

const limitsOf = (options: Partial<Limits>): Limits => ({
  maxBytes: options.maxBytes ?? unpackedMaxBytes,
  maxEntries: options.maxEntries ?? unpackedMaxEntries,
});

async function unpackInto(folder: string, archive: Archive, limits: Limits, signal?: AbortSignal): Promise<void> {
  const unpacking = startTar(folder);
  let gate: EntryGate;
  try {
    gate = await readArchive(archive, unpacking.input, limits, signal);
  } catch (error) {
    // Where tar ended before the archive did, it says why.
    if (hasSystemCode(error, 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'))
      throw asUnpackingError(archive, folder, await unpacking.end());
    unpacking.stop();
    await unpacking.end();
    throw error;
  }
  const ended = await unpacking.end();
  if (ended.exitCode !== 0) throw asUnpackingError(archive, folder, ended);
  await requireUnpacked(archive, folder, gate.unpacked);
}

/** Reads an archive to its end and writes what may be unpacked of it. */
async function readArchive(archive: Archive, into: Writable, limits: Limits, signal?: AbortSignal): Promise<EntryGate> {
  const reader = new ArchiveReader(limits);
  const tar = await decompressed(archive);
  try {
    await pipeline(tar.stream, withinLimits(archive, limits), reader, into, { ...(signal ? { signal } : {}) });
    await tar.end();
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof EntryRefused)) await tar.end();
    throw asArtifactError(archive, reader, error);
  }
  if (reader.gate.count === 0) throw notATar(archive);
  return reader.gate;
}

interface TarEnd {
  readonly exitCode: number | undefined;
  readonly reason: string;
}

/** The system's own tar, which unpacks what it reads. It gets no options out of the worker's environment (`TAR_OPTIONS`). */
function startTar(folder: string): { input: Writable; stop: () => void; end: () => Promise<TarEnd> } {
  const options = ['--no-same-owner', '--no-same-permissions'];
  const program = execa('tar', ['-x', '-f', '-', '-C', folder, ...options], {
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C' },
    extendEnv: false,
    stdin: 'pipe',
    stdout: 'ignore',
    reject: false,
  });
  // Told by `end`; without a listener it would end the worker.
  program.stdin.on('error', () => undefined);
  return {
    input: program.stdin,
    stop: () => void program.kill('SIGKILL'),
    end: async () => {
      const { exitCode, code, signal, stderr } = await program;
      if (code === 'ENOENT') throw new BasculeError('command-not-found', { host: 'local', program: 'tar' });
      const reason = stderr.split('\n').slice(0, mostShownLines).join('\n') || `tar was ended by ${signal ?? code}`;
      return { exitCode, reason };
    },
  };
}

/** How many files are looked at between two looks at everything else that the worker does. */
const lookedAtOnce = 500;

/** That everything is there, whole: the proof does not rest on what unpacked it. */
async function requireUnpacked(
  { name }: Archive,
  folder: string,
  unpacked: ReadonlyMap<string, Unpacked>,
): Promise<void> {
  let count = 0;
  for (const [path, wanted] of unpacked) {
    const found = describeFound(join(folder, path), wanted);
    if (found !== null) {
      const reason = `${JSON.stringify(path)} is ${found} after unpacking`;
      throw new BasculeError('artifact-damaged', { file: name, reason });
    }
    count += 1;
    if (count % lookedAtOnce === 0) await setImmediate();
  }
}

/** What is there in place of what should be; null where that is there. */
function describeFound(path: string, wanted: Unpacked): string | null {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return 'missing';
  const type = found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'link';
  if (type !== wanted.type) return `a ${type} and no ${wanted.type}`;
  if (type === 'file' && found.size !== wanted.size) return `of ${found.size} bytes, and has ${wanted.size} in it,`;
  if (type === 'link' && readlinkSync(path) !== wanted.target) return 'a link to elsewhere';
  return null;
}

/** Passes the archive on while it is within the limits: what counts is what comes out of the decompression. */
function withinLimits({ name }: Archive, { maxBytes, maxEntries }: Limits): Transform {
  // Each entry has a header and its content is filled up, 512 bytes each.
  const most = maxBytes + maxEntries * 1_024;
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      if (bytes > most) return done(new BasculeError('artifact-too-large', { what: `${name}, unpacked,`, maxBytes }));
      done(null, chunk);
    },
  });
}

interface Decompressed {
  readonly stream: Readable;
  /** Throws what the decompression has to say at its end. */
  readonly end: () => Promise<void>;
}

async function decompressed({ file, name }: Archive): Promise<Decompressed> {
  const end = async () => {};
  const compression = compressionOf(await firstBytes(file));
  if (compression === null) return { stream: createReadStream(file, { highWaterMark: pieceBytes }), end };
  if (compression === 'zstd' && !createZstdDecompress) return unzstd({ file, name });
  const decompress =
    compression === 'gzip'
      ? zlib.createGunzip({ chunkSize: pieceBytes })
      : createZstdDecompress?.({ chunkSize: pieceBytes });
  // An error of reading reaches the pipeline through the decompression.
  return { stream: compose(createReadStream(file, { highWaterMark: pieceBytes }), decompress as Transform), end };
}

/** Node.js has it from 22.15 on. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: (options: { chunkSize: number }) => Transform };

function compose(from: Readable, through: Transform): Readable {
  from.on('error', (error) => through.destroy(error));
  through.on('close', () => from.destroy());
  return from.pipe(through);
}

function unzstd({ file, name }: Archive): Decompressed {
  const program = execa('zstd', ['-dc', '--', file], {
    stdin: 'ignore',
    encoding: 'buffer',
    buffer: { stdout: false, stderr: true },
    reject: false,
  });
  const end = async () => {
    const { exitCode, code, signal, stderr } = await program;
    if (code === 'ENOENT') throw new BasculeError('artifact-compression-unsupported', { file: name });
    // Where the tar ended early, or was refused, nobody reads on.
    if (exitCode === 0 || signal === 'SIGPIPE') return;
    throw new BasculeError('artifact-damaged', { file: name, reason: Buffer.from(stderr).toString('utf8').trim() });
  };
  return { stream: program.stdout, end };
}

async function firstBytes(file: string): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function compressionOf(bytes: Buffer): 'gzip' | 'zstd' | null {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip';
  return bytes.length >= 4 && bytes.readUInt32LE(0) === 0xfd2fb528 ? 'zstd' : null;
}

function asArtifactError(archive: Archive, reader: ArchiveReader, error: unknown): unknown {
  const { name: file } = archive;
  if (error instanceof EntryRefused) {
    const { isHostile, ...refused } = error.refusal;
    return new BasculeError(isHostile ? 'artifact-hostile' : 'artifact-entry-unsupported', { file, ...refused });
  }
  if (error instanceof ArchiveFault) {
    return reader.isArchive ? new BasculeError('artifact-damaged', { file, reason: error.message }) : notATar(archive);
  }
  const { message, code } = error as NodeJS.ErrnoException;
  // What the disk says is not the artifact's fault.
  return code?.startsWith('Z_') ? new BasculeError('artifact-damaged', { file, reason: message }) : error;
}

const notATar = ({ name, answer }: Archive): BasculeError =>
  new BasculeError('artifact-not-a-tar', { file: name, answer: answer ?? null });

/** What of tar's errors is the machine's fault: another try, or somebody who makes room, can help. */
const ofMachine =
  /No space left|quota exceeded|Read-only file system|Input\/output error|Permission denied|not permitted|Cannot allocate|Too many open files|tar was ended/i;

function asUnpackingError({ name }: Archive, folder: string, { reason }: TarEnd): BasculeError {
  return ofMachine.test(reason)
    ? new BasculeError('file-not-writable', { file: folder, reason })
    : new BasculeError('artifact-damaged', { file: name, reason });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return false;
    throw error;
  }
}
