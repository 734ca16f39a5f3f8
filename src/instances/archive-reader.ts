import { Transform, type TransformCallback } from 'node:stream';
import { type Entry, EntryGate, type Refusal } from './archive-entries.js';
import {
  ArchiveFault,
  blockBytes,
  endMark,
  paddingAfter,
  type RawHeader,
  readHeader,
  readPax,
  writeHeader,
} from './archive-header.js';

/** Names alone are in these. */
const extensionMaxBytes = 1_000_000;

/** Kinds of entries that Bascule unpacks, by the header's type flag. */
const unpackedTypes: Readonly<Record<string, Entry['type']>> = {
  '0': 'file',
  '1': 'hard link',
  '2': 'link',
  '5': 'folder',
  // Contiguous: a file everywhere but on systems of the 1980s.
  '7': 'file',
};

/** Those that could act outside of the release, or that no release has. */
const specialTypes: Readonly<Record<string, string>> = {
  '3': 'a character device',
  '4': 'a block device',
  '6': 'a FIFO',
};

/** What each of the others is, for its refusal. */
const otherTypes: Readonly<Record<string, string>> = {
  A: 'an access control list of Solaris',
  D: "a folder of GNU tar's incremental backups",
  E: 'an extended attribute of Solaris',
  I: 'an inode without content',
  M: 'the rest of a file that begins on another volume',
  N: 'a list of long names, as GNU tar had them before 1990',
  S: 'a sparse file',
  V: 'the label of a volume',
  X: 'an extended header of Solaris',
};

/** Keys of pax headers that say nothing about content: owners, times, attributes. All others are refused. */
const harmlessKeys =
  /^(?:[acm]time|[ug]id|[ug]name|comment|SCHILY\.(?:dev|ino|nlink|devmajor|devminor|fflags|(?:xattr|acl)\..*)|LIBARCHIVE\..*|RHT\.security\..*|MSWINDOWS\..*)$/s;
const readKeys: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'hdrcharset']);

/** What extended headers say of the entry that follows. */
interface Extension {
  path?: string;
  linkPath?: string;
  size?: number;
  modifiedAt?: number;
  /** Why the entry cannot be taken, once its name is known. */
  reason?: string;
}

/** Where it is in the archive. */
type At =
  | { readonly kind: 'header' }
  | { readonly kind: 'content'; readonly entry: string; readonly size: number; left: number }
  | { readonly kind: 'extension'; readonly type: string; readonly size: number; left: number; readonly parts: Buffer[] }
  | { readonly kind: 'padding'; left: number }
  | { readonly kind: 'end' };

/** An archive with an entry that is refused. */
export class EntryRefused extends Error {
  override readonly name = 'EntryRefused';
  constructor(readonly refusal: Refusal) {
    super(`${refusal.entry}: ${refusal.reason}`);
  }
}

/**
 * Reads a tar archive that comes in, and passes on the same entries with headers of its own: whatever unpacks them cannot
 * read them in another way than the gate did. Fails with `EntryRefused` and `ArchiveFault`.
 */
export class ArchiveReader extends Transform {
  readonly gate: EntryGate;
  #at: At = { kind: 'header' };
  #extension: Extension | null = null;
  /** The beginning of a header whose end did not come yet. */
  #rest: Buffer = Buffer.alloc(0);
  #offset = 0;

  constructor({ maxEntries }: { readonly maxEntries: number }) {
    super();
    this.gate = new EntryGate(maxEntries);
  }

  /** Whether it begins as a tar archive does. */
  get isArchive(): boolean {
    return this.#offset > 0;
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    try {
      const passedOn = this.#read(chunk);
      done(null, passedOn.length === 0 ? undefined : Buffer.concat(passedOn));
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    try {
      this.#end();
      done(null, endMark);
    } catch (error) {
      done(error as Error);
    }
  }

  #read(chunk: Buffer): Buffer[] {
    const passedOn: Buffer[] = [];
    let bytes = chunk;
    while (bytes.length > 0) {
      if (this.#at.kind === 'end') {
        if (bytes.some((byte) => byte !== 0)) throw new ArchiveFault('there is more behind its end mark');
        return passedOn;
      }
      if (this.#at.kind === 'header') {
        const block = Buffer.concat([this.#rest, bytes.subarray(0, blockBytes - this.#rest.length)]);
        bytes = bytes.subarray(block.length - this.#rest.length);
        this.#rest = block;
        if (block.length === blockBytes) {
          this.#rest = Buffer.alloc(0);
          this.#onHeader(block, passedOn);
        }
        continue;
      }
      const taken = bytes.subarray(0, this.#at.left);
      bytes = bytes.subarray(taken.length);
      this.#at.left -= taken.length;
      this.#offset += taken.length;
      if (this.#at.kind === 'content') passedOn.push(taken);
      if (this.#at.kind === 'extension') this.#at.parts.push(taken);
      if (this.#at.left === 0) this.#onRead(passedOn);
    }
    return passedOn;
  }

  #onHeader(block: Buffer, passedOn: Buffer[]): void {
    const header = this.#headerOf(block);
    this.#offset += blockBytes;
    if (header === null) {
      if (this.#extension) throw new ArchiveFault('an extended header has no entry');
      this.#at = { kind: 'end' };
      return;
    }
    if ('gxLK'.includes(header.type)) {
      this.#beginExtension(header, passedOn);
      return;
    }
    const entry = this.#entryOf(header);
    const refusal = this.gate.refuses(entry);
    if (refusal) throw new EntryRefused(refusal);
    passedOn.push(writeHeader({ ...entry, type: typeFlag(entry.type), mode: modeOf(entry) }));
    this.#at = { kind: 'content', entry: entry.path, size: entry.size, left: entry.size };
    if (entry.size === 0) this.#onRead(passedOn);
  }

  #headerOf(block: Buffer): RawHeader | null {
    try {
      return readHeader(block);
    } catch (error) {
      if (error instanceof ArchiveFault) error.message += ` (byte ${this.#offset})`;
      throw error;
    }
  }

  #beginExtension({ type, size }: RawHeader, passedOn: Buffer[]): void {
    if (size > extensionMaxBytes) throw new ArchiveFault(`an extended header of ${size} bytes`);
    this.#at = { kind: 'extension', type, size, left: size, parts: [] };
    if (size === 0) this.#onRead(passedOn);
  }

  /** The content of an entry, or of an extended header, was read whole. */
  #onRead(passedOn: Buffer[]): void {
    const at = this.#at;
    if (at.kind === 'padding') this.#at = { kind: 'header' };
    if (at.kind !== 'content' && at.kind !== 'extension') return;
    const left = paddingAfter(at.size);
    if (at.kind === 'extension') this.#extend(at.type, Buffer.concat(at.parts));
    else passedOn.push(Buffer.alloc(left));
    this.#at = left === 0 ? { kind: 'header' } : { kind: 'padding', left };
  }

  #extend(type: string, body: Buffer): void {
    if (type === 'g') {
      for (const key of readPax(body).keys()) {
        if (!harmlessKeys.test(key) && key !== 'hdrcharset')
          throw new ArchiveFault(`a global pax header with ${key}, which Bascule does not unpack`);
      }
      return;
    }
    const more = type === 'x' ? extensionOf(readPax(body)) : longNameOf(type, body);
    const known = this.#extension ?? {};
    if (Object.keys(more).some((key) => key in known)) throw new ArchiveFault('two extended headers for one entry');
    this.#extension = { ...known, ...more };
  }

  #entryOf(header: RawHeader): Entry {
    const { reason, ...extension } = this.#extension ?? {};
    this.#extension = null;
    const { type: flag, ...entry } = { ...header, ...extension };
    const special = specialTypes[flag];
    const type = unpackedTypes[flag];
    if (special) throw refusalOf(entry.path, `it is ${special}, and only files, folders and links may be in it`, true);
    if (!type) {
      const what = otherTypes[flag] ?? `of type ${JSON.stringify(flag)}, which tar's documents do not name`;
      throw refusalOf(entry.path, `it is ${what}, which Bascule does not unpack`);
    }
    if (reason !== undefined) throw refusalOf(entry.path, reason);
    // As tar marked folders before it had a type for them.
    return { ...entry, type: type === 'file' && entry.path.endsWith('/') ? 'folder' : type };
  }

  #end(): void {
    const at = this.#at;
    if (at.kind === 'content') throw new ArchiveFault(`it ends inside of ${JSON.stringify(at.entry)}: it was cut off`);
    if (at.kind !== 'end' && this.gate.count > 0) throw new ArchiveFault('it has no end mark: it was cut off');
    if (at.kind !== 'end' && (this.#offset > 0 || this.#rest.length > 0))
      throw new ArchiveFault('it ends inside of its first header');
    const refusal = this.gate.refusesAtEnd();
    if (refusal) throw new EntryRefused(refusal);
  }
}

function extensionOf(records: ReadonlyMap<string, string>): Extension {
  const extension: Extension = {};
  for (const key of records.keys()) {
    if (key.startsWith('GNU.sparse.') || key === 'SCHILY.realsize' || key === 'SUN.holesdata') {
      return { ...nameIn(records), reason: 'it is a sparse file, which Bascule does not unpack' };
    }
    if (!readKeys.has(key) && !harmlessKeys.test(key)) {
      return {
        ...nameIn(records),
        reason: `its pax header has ${JSON.stringify(key)}, which Bascule does not unpack`,
      };
    }
  }
  const charset = records.get('hdrcharset') ?? 'BINARY';
  if (charset !== 'BINARY' && charset !== 'ISO-IR 10646 2000 UTF-8')
    extension.reason = `its name is in the character set ${JSON.stringify(charset)}`;
  const size = records.get('size');
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw new ArchiveFault('a pax header whose size cannot be read');
  const modifiedAt = Number(records.get('mtime') ?? Number.NaN);
  const linkPath = records.get('linkpath');
  return {
    ...extension,
    ...nameIn(records),
    ...(linkPath !== undefined && { linkPath }),
    ...(size !== undefined && { size: Number(size) }),
    ...(!Number.isNaN(modifiedAt) && { modifiedAt }),
  };
}

/** A sparse file has its name in a key of its own. */
function nameIn(records: ReadonlyMap<string, string>): Extension {
  const path = records.get('GNU.sparse.name') ?? records.get('path');
  return path === undefined ? {} : { path };
}

function longNameOf(type: string, body: Buffer): Extension {
  const end = body.indexOf(0);
  const name = body.toString('utf8', 0, end === -1 ? body.length : end);
  return type === 'L' ? { path: name } : { linkPath: name };
}

function refusalOf(entry: string, reason: string, isHostile = false): EntryRefused {
  return new EntryRefused({ entry, reason, isHostile });
}

const typeFlag = (type: Entry['type']): string =>
  Object.entries(unpackedTypes).find(([, known]) => known === type)?.[0] ?? '0';

/** No setuid, setgid or sticky bit; and what is unpacked can be removed again. */
const modeOf = ({ mode, type }: Entry): number => (mode & 0o777) | (type === 'folder' ? 0o700 : 0o600);
