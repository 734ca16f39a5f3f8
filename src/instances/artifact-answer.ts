import { stripVTControlCharacters } from 'node:util';
import type { Answer } from './artifact-source.js';

const lineMaxLength = 100;

/** What some programs' files begin with. */
const kinds: readonly (readonly [string, string])[] = [
  ['PK\u0003\u0004', 'a zip archive'],
  ['BZh', 'an archive compressed by bzip2'],
  ['\u00fd7zXZ', 'an archive compressed by xz'],
  ['\u007fELF', 'a program'],
];

/** What came in place of an artifact, in one line: its type, its size and how it begins. Shows no control character. */
export function describeAnswer({ contentType, bytes, begin }: Answer): string {
  const type = contentType === null ? '' : `${printable(contentType)}, `;
  return `${type}${bytes} bytes${bytes === 0 ? '' : `, ${describeBegin(begin)}`}`;
}

function describeBegin(begin: Buffer): string {
  const bytes = begin.toString('latin1');
  const kind = kinds.find(([magic]) => bytes.startsWith(magic))?.[1];
  if (kind) return kind;
  const text = begin.toString('utf8');
  // The last character may be cut in two.
  if (text.slice(0, -1).includes('\uFFFD') || text.includes('\0')) return 'not a text';
  const line = text.split(/[\r\n]+/).find((each) => printable(each) !== '') ?? '';
  return `beginning with ${JSON.stringify(printable(line).slice(0, lineMaxLength))}`;
}

const printable = (text: string): string =>
  stripVTControlCharacters(text)
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '')
    .trim();
