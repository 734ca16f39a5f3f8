import { dirname } from 'node:path/posix';
import type { RawHeader } from './archive-header.js';
import { goesThroughLink, leadsOutside, normalized } from './archive-links.js';

/** An entry with its extended headers applied. */
export interface Entry extends Omit<RawHeader, 'type'> {
  readonly type: 'file' | 'folder' | 'link' | 'hard link';
}

/** What there is to be once all is unpacked. */
export interface Unpacked {
  readonly type: 'file' | 'folder' | 'link';
  /** Of a file. */
  readonly size: number;
  /** Of a link. */
  readonly target: string;
}

/** Why an entry is refused: what it could do elsewhere, or what cannot be unpacked as it was packed. */
export interface Refusal {
  readonly entry: string;
  readonly reason: string;
  readonly isHostile: boolean;
}

const nameMaxBytes = 255;
/** Linux takes 4096 for a whole path, and the release's folder comes before it. */
const pathMaxBytes = 3_500;
const targetMaxBytes = 4_095;

/**
 * Decides entry by entry whether an archive may be unpacked, and keeps what is to be there afterwards. What the file system
 * would refuse for the archive's sake is refused here, with the entry's name.
 */
export class EntryGate {
  count = 0;
  readonly unpacked = new Map<string, Unpacked>();
  readonly #links = new Map<string, string>();

  constructor(private readonly maxEntries: number) {}

  /** Null where the entry may be unpacked. */
  refuses(entry: Entry): Refusal | null {
    this.count += 1;
    return this.#tooMany(entry) ?? this.#hostile(entry) ?? this.#impossible(entry);
  }

  /** Only at the end all links are known that a link may lead through. */
  refusesAtEnd(): Refusal | null {
    for (const entry of this.#links.keys()) {
      if (leadsOutside(this.#links, entry)) return hostile(entry, 'it is a link that leads outside');
    }
    return null;
  }

  #tooMany({ path }: Entry): Refusal | null {
    if (this.count <= this.maxEntries) return null;
    return hostile(path, `the archive has more than ${this.maxEntries} entries`);
  }

  #hostile({ path, linkPath, type }: Entry): Refusal | null {
    const place = reasonAgainstPath(path);
    if (place !== null) return hostile(path, place);
    if (this.#goesThroughLink(path)) return hostile(path, 'it goes through a link of the archive');
    if (type === 'link') {
      this.#links.set(normalized(path), linkPath);
      return leadsOutside(this.#links, path) ? hostile(path, 'it is a link that leads outside') : null;
    }
    if (type !== 'hard link') return null;
    return reasonAgainstPath(linkPath) === null && !goesThroughLink(this.#links, linkPath)
      ? null
      : hostile(path, 'it is a hard link that leads outside or through a link');
  }

  #impossible(entry: Entry): Refusal | null {
    const path = normalized(entry.path);
    const reason = reasonAgainstName(entry, path) ?? this.#conflict(entry, path) ?? this.#missingTarget(entry, path);
    if (reason !== null) return { entry: entry.path, reason, isHostile: false };
    if (path !== '') this.unpacked.set(path, this.#after(entry));
    return null;
  }

  /** A path that is a file in one entry and a folder in another. */
  #conflict({ type }: Entry, path: string): string | null {
    const known = this.unpacked.get(path)?.type;
    if (known !== undefined && (known === 'folder') !== (type === 'folder')) return describeConflict(path);
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
      const above = this.unpacked.get(folder)?.type;
      if (above === 'folder') return null;
      if (above !== undefined) return describeConflict(folder);
      this.unpacked.set(folder, { type: 'folder', size: 0, target: '' });
    }
    return null;
  }

  #missingTarget({ type, linkPath }: Entry, path: string): string | null {
    if (type !== 'hard link') return null;
    const target = normalized(linkPath);
    if (target === path) return 'it is a hard link to itself';
    if (this.unpacked.get(target)?.type === 'file') return null;
    return `it is a hard link to ${JSON.stringify(linkPath)}, and no file of that name is before it in the archive`;
  }

  #after({ type, size, linkPath }: Entry): Unpacked {
    if (type === 'hard link') {
      return { type: 'file', size: this.unpacked.get(normalized(linkPath))?.size ?? 0, target: '' };
    }
    return { type, size: type === 'file' ? size : 0, target: type === 'link' ? linkPath : '' };
  }

  /** Most entries lie in a folder that was looked at already, and that is none. */
  #goesThroughLink(path: string): boolean {
    if (this.#links.size === 0) return false;
    const known = normalized(path);
    if (this.unpacked.get(dirname(known))?.type === 'folder') return this.#links.has(known);
    return goesThroughLink(this.#links, path);
  }
}

const hostile = (entry: string, reason: string): Refusal => ({ entry, reason, isHostile: true });

const describeConflict = (path: string): string =>
  `${JSON.stringify(path)} is a folder in one entry of the archive, and none in another`;

function reasonAgainstPath(path: string): string | null {
  if (path.startsWith('/')) return 'its path is absolute';
  return path.split('/').includes('..') ? 'its path has .. in it' : null;
}

function reasonAgainstName({ type, linkPath, size, ...entry }: Entry, path: string): string | null {
  if (path === '' && type !== 'folder') return 'it has no name';
  const texts = [entry.path, linkPath];
  // What was no UTF-8 is this character by now, and two such names may be one.
  if (texts.some((text) => text.includes('\uFFFD'))) return 'its name, or its target, is not UTF-8';
  if (texts.some((text) => text.includes('\0'))) return 'its name, or its target, has a NUL in it';
  if (Buffer.byteLength(path) > pathMaxBytes) return `its path is longer than ${pathMaxBytes} bytes`;
  if (Buffer.byteLength(path) > nameMaxBytes && longestName(path) > nameMaxBytes) {
    return `a name in its path is longer than ${nameMaxBytes} bytes, which no file system takes`;
  }
  if (type === 'link' && (linkPath === '' || Buffer.byteLength(linkPath) > targetMaxBytes)) {
    return `it is a link whose target is empty, or longer than ${targetMaxBytes} bytes`;
  }
  if (type !== 'file' && size > 0) return `it is a ${type}, and has ${size} bytes of content`;
  return null;
}

const longestName = (path: string): number => Math.max(...path.split('/').map((name) => Buffer.byteLength(name)));
