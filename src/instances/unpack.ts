import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { type Readable, Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import { execa } from 'execa';
import { extract, Parser, type ReadEntry } from 'tar';
import { BasculeError, isBasculeError } from '../errors.js';
import { removeHalfWritten, writing } from '../hosts/writing.js';
import { hasSystemCode } from '../system-error.js';
import { goesThroughLink, leadsOutside, normalized } from './archive-links.js';

/** What a release may hold at most, unpacked. */
const unpackedMaxBytes = 8_000_000_000;
const unpackedMaxEntries = 500_000;

interface Limits {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/**
 * Unpacks an artifact (tar, tar.gz or tar.zst, told by its content) into a folder that has its name only when it is
 * complete; one that is there already is taken. An artifact with a single entry that could touch anything outside is
 * refused as a whole. Owners and setuid bits of the archive are not taken over.
 *
 * @throws `artifact-hostile`, `artifact-not-a-tar`, `artifact-damaged`, `artifact-too-large`,
 * `artifact-compression-unsupported`, `file-not-writable`
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
      await unpackInto(partial, file, limits, options.signal);
      await rename(partial, folder);
    });
  } finally {
    await removeHalfWritten(partial);
  }
}

/**
 * Reads an artifact as `unpackArtifact` does, for one that is unpacked elsewhere: what that would refuse is refused.
 * Throws the same errors, but for `file-not-writable`.
 */
export async function checkArtifact(
  file: string,
  options: { maxBytes?: number; maxEntries?: number; signal?: AbortSignal } = {},
): Promise<void> {
  const reader = (admits: EntryGate['admits']) =>
    new Parser({
      strict: true,
      filter: (_, entry) => admits(entry as ReadEntry),
      onReadEntry: (entry) => void entry.resume(),
    });
  await readArchive(file, reader, limitsOf(options), options.signal);
}

async function unpackInto(folder: string, file: string, limits: Limits, signal?: AbortSignal): Promise<void> {
  const unpacker = (admits: EntryGate['admits']) =>
    extract({
      cwd: folder,
      strict: true,
      preserveOwner: false,
      filter: (_, entry) => admits(entry as ReadEntry),
    });
  await readArchive(file, unpacker, limits, signal);
}

const limitsOf = (options: Partial<Limits>): Limits => ({
  maxBytes: options.maxBytes ?? unpackedMaxBytes,
  maxEntries: options.maxEntries ?? unpackedMaxEntries,
});

async function readArchive(
  file: string,
  readerOf: (admits: EntryGate['admits']) => Parser,
  limits: Limits,
  signal?: AbortSignal,
): Promise<void> {
  const gate = new EntryGate(file, limits.maxEntries);
  const reader = readerOf((entry) => gate.admits(entry));
  const archive = await decompressed(file);
  try {
    await pipeline(archive.stream, tarBytes(file, limits), reader as unknown as Writable, {
      ...(signal ? { signal } : {}),
    });
    await archive.end();
  } catch (error) {
    signal?.throwIfAborted();
    if (gate.refusal) throw gate.refusal;
    await archive.end();
    throw asArtifactError(file, gate, error);
  }
  gate.end();
}

/** Decides entry by entry. After its first refusal nothing more is unpacked. */
class EntryGate {
  refusal: BasculeError | null = null;
  entries = 0;
  readonly #links = new Map<string, string>();

  constructor(
    private readonly file: string,
    private readonly maxEntries: number,
  ) {}

  admits(entry: ReadEntry): boolean {
    if (this.refusal) return false;
    this.entries += 1;
    const reason = this.#reasonAgainst(entry);
    if (reason !== null) {
      this.refusal = new BasculeError('artifact-hostile', { file: this.file, entry: entry.path, reason });
      return false;
    }
    // No setuid, setgid or sticky bit; and what is unpacked can be removed again.
    entry.mode = ((entry.mode ?? 0o644) & 0o777) | (entry.type === 'Directory' ? 0o700 : 0o600);
    return true;
  }

  /** Only now are all links known that a link may lead through. */
  end(): void {
    if (this.refusal) throw this.refusal;
    if (this.entries === 0) throw new BasculeError('artifact-not-a-tar', { file: this.file });
    for (const entry of this.#links.keys()) {
      if (!leadsOutside(this.#links, entry)) continue;
      throw new BasculeError('artifact-hostile', { file: this.file, entry, reason: 'it is a link that leads outside' });
    }
  }

  #reasonAgainst(entry: ReadEntry): string | null {
    if (this.entries > this.maxEntries) return `the archive has more than ${this.maxEntries} entries`;
    const place = reasonAgainstPath(entry.path);
    if (place !== null) return place;
    if (goesThroughLink(this.#links, entry.path)) return 'it goes through a link of the archive';
    switch (entry.type) {
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
        return normalized(entry.path) === '' ? 'it has no name' : null;
      case 'Directory':
        return null;
      case 'SymbolicLink':
        this.#links.set(normalized(entry.path), entry.linkpath ?? '');
        return leadsOutside(this.#links, entry.path) ? 'it is a link that leads outside' : null;
      case 'Link': {
        const target = entry.linkpath ?? '';
        return reasonAgainstPath(target) === null && !goesThroughLink(this.#links, target)
          ? null
          : 'it is a hard link that leads outside or through a link';
      }
      default:
        return `it is a ${entry.type}, and only files, folders and links may be in an artifact`;
    }
  }
}

function reasonAgainstPath(path: string): string | null {
  if (path.startsWith('/')) return 'its path is absolute';
  return path.split('/').includes('..') ? 'its path has .. in it' : null;
}

/** Passes the archive on while it is a tar and within the limits: what counts is what comes out of the decompression. */
function tarBytes(file: string, { maxBytes, maxEntries }: Limits): Transform {
  // Each entry has a header and its content is filled up, 512 bytes each.
  const most = maxBytes + maxEntries * 1_024;
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      // The tar library would decompress once more, past this limit.
      if (bytes === 0 && compressionOf(chunk) !== null) return done(new BasculeError('artifact-not-a-tar', { file }));
      bytes += chunk.length;
      if (bytes > most) return done(new BasculeError('artifact-too-large', { what: `${file}, unpacked,`, maxBytes }));
      done(null, chunk);
    },
  });
}

interface Decompressed {
  readonly stream: Readable;
  /** Throws what the decompression has to say at its end. */
  readonly end: () => Promise<void>;
}

async function decompressed(file: string): Promise<Decompressed> {
  const end = async () => {};
  const compression = compressionOf(await firstBytes(file));
  if (compression === null) return { stream: createReadStream(file), end };
  if (compression === 'zstd' && !createZstdDecompress) return unzstd(file);
  const decompress = compression === 'gzip' ? zlib.createGunzip() : createZstdDecompress?.();
  // An error of reading reaches the pipeline through the decompression.
  return { stream: compose(createReadStream(file), decompress as Transform), end };
}

/** Node.js has it from 22.15 on. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

function compose(from: Readable, through: Transform): Readable {
  from.on('error', (error) => through.destroy(error));
  through.on('close', () => from.destroy());
  return from.pipe(through);
}

function unzstd(file: string): Decompressed {
  const program = execa('zstd', ['-dc', '--', file], {
    stdin: 'ignore',
    encoding: 'buffer',
    buffer: { stdout: false, stderr: true },
    reject: false,
  });
  const end = async () => {
    const { exitCode, code, signal, stderr } = await program;
    if (code === 'ENOENT') throw new BasculeError('artifact-compression-unsupported', { file });
    // Where the tar ended early, or was refused, nobody reads on.
    if (exitCode === 0 || signal === 'SIGPIPE') return;
    throw new BasculeError('artifact-damaged', { file, reason: Buffer.from(stderr).toString('utf8').trim() });
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

function asArtifactError(file: string, gate: EntryGate, error: unknown): unknown {
  if (isBasculeError(error)) return error;
  const { message, code, tarCode } = error as NodeJS.ErrnoException & { tarCode?: string };
  const isOfArchive = code?.startsWith('Z_') || code === tarCode;
  // What the disk says is not the artifact's fault.
  if (!isOfArchive) return error;
  if (tarCode && gate.entries === 0) return new BasculeError('artifact-not-a-tar', { file });
  return new BasculeError('artifact-damaged', { file, reason: message });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return false;
    throw error;
  }
}
