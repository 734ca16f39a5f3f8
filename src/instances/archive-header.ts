/**
 * Headers of tar archives: ustar (POSIX), old GNU, and the extended headers of pax. Everything is read or refused: a reader
 * that passes over what it does not know leaves files out.
 */

export const blockBytes = 512;

/** A header as it is in the archive, before extended headers apply. */
export interface RawHeader {
  readonly path: string;
  readonly linkPath: string;
  readonly mode: number;
  readonly size: number;
  /** Seconds since the epoch. */
  readonly modifiedAt: number;
  /** One character; NUL counts as `0`, a file. */
  readonly type: string;
}

/** Why an archive's bytes are no archive, or none that is whole. */
export class ArchiveFault extends Error {
  override readonly name = 'ArchiveFault';
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

/** A block of 512 bytes: null where it is the end mark. Throws `ArchiveFault` where it is no header. */
export function readHeader(block: Buffer): RawHeader | null {
  if (block[0] === 0 && isZero(block)) return null;
  if (readNumber(block, 148, 8) !== checksumOf(block)) throw new ArchiveFault('no header where one belongs');
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? readText(block, 345, 155) : '';
  const name = readText(block, 0, 100);
  return {
    path: prefix === '' ? name : `${prefix}/${name}`,
    linkPath: readText(block, 157, 100),
    mode: readNumber(block, 100, 8) ?? 0o644,
    size: sizeOf(readNumber(block, 124, 12)),
    modifiedAt: readNumber(block, 136, 12) ?? 0,
    type: block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0),
  };
}

/** What `tar` is given for an entry: nothing of it is left to another reader's taste. */
export function writeHeader(header: RawHeader): Buffer {
  const { path, linkPath } = header;
  return Buffer.concat([
    ...(Buffer.byteLength(path) > 100 ? [longName('L', path)] : []),
    ...(Buffer.byteLength(linkPath) > 100 ? [longName('K', linkPath)] : []),
    plainHeader(header),
  ]);
}

export const paddingAfter = (size: number): number => (blockBytes - (size % blockBytes)) % blockBytes;

/** Two blocks of zeros. */
export const endMark = Buffer.alloc(2 * blockBytes);

/** The records of a pax header, each `<length> <key>=<value>\n`. Throws `ArchiveFault` where it has anything else in it. */
export function readPax(body: Buffer): ReadonlyMap<string, string> {
  const records = new Map<string, string>();
  for (let at = 0; at < body.length; ) {
    const [digits = '', length = ''] = /^([1-9]\d{0,7}) /.exec(body.toString('latin1', at, at + 9)) ?? [];
    const end = at + Number(length);
    const equals = body.indexOf(0x3d, at);
    const key = body.toString('utf8', at + digits.length, equals);
    if (digits === '' || end > body.length || equals < 0 || equals >= end || body[end - 1] !== 0x0a || key === '')
      throw new ArchiveFault('a damaged pax header');
    records.set(key, body.toString('utf8', equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** GNU's header of a name that is longer than its field. */
function longName(type: 'L' | 'K', name: string): Buffer {
  const body = Buffer.from(`${name}\0`);
  const header = { path: '././@LongLink', linkPath: '', mode: 0, size: body.length, modifiedAt: 0, type };
  return Buffer.concat([plainHeader(header), body, Buffer.alloc(paddingAfter(body.length))]);
}

function plainHeader({ path, linkPath, mode, size, modifiedAt, type }: RawHeader): Buffer {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, digits: number) =>
    block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
  Buffer.from(path).copy(block, 0, 0, 100);
  octal(mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(Math.min(Math.max(Math.floor(modifiedAt) || 0, 0), 0o77777777777), 136, 11);
  block.write(type, 156, 'latin1');
  Buffer.from(linkPath).copy(block, 157, 0, 100);
  // As GNU tar writes it, which is what long names belong to.
  block.write('ustar  \0', 257, 'latin1');
  octal(checksumOf(block), 148, 6);
  return block;
}

/** Of all bytes, with blanks for the checksum's own. */
function checksumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let index = 0; index < blockBytes; index += 1) {
    if (index < 148 || index >= 156) sum += block[index] ?? 0;
  }
  return sum;
}

function readText(block: Buffer, at: number, length: number): string {
  const end = block.indexOf(0, at);
  return block.toString('utf8', at, end === -1 || end > at + length ? at + length : end);
}

/** Octal digits, or with the highest bit set GNU's binary numbers. Null where there is none; NaN where it is none. */
function readNumber(block: Buffer, at: number, length: number): number | null {
  const first = block[at] ?? 0;
  if (first >= 0x80) {
    const digits = [first & 0x7f, ...block.subarray(at + 1, at + length)];
    // 0xff begins a negative one.
    return first === 0xff ? Number.NaN : digits.reduce((sum, digit) => sum * 256 + digit, 0);
  }
  const text = block.toString('latin1', at, at + length).replaceAll(/^[ \0]+|[ \0].*$/gs, '');
  if (text === '') return null;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
}

function sizeOf(found: number | null): number {
  const size = found ?? 0;
  if (Number.isSafeInteger(size)) return size;
  throw new ArchiveFault('a header whose size cannot be read');
}
