import type { ServerAddress } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';

/**
 * One plain word of haproxy.cfg. The loader has checked each value by its kind already; this holds where applied.json was
 * edited by hand.
 *
 * @throws `edge-value-unsafe`
 */
export function word(value: string): string {
  if (!/^(?!-)[A-Za-z0-9._~:/*-]+$/.test(value)) throw new BasculeError('edge-value-unsafe', { value });
  return value;
}

/** Base64url as a part of a word: one of 64 begins with what a word must not begin with. Throws `edge-value-unsafe`. */
export function base64urlPart(value: string): string {
  if (!/^[A-Za-z0-9_-]+$/.test(value)) throw new BasculeError('edge-value-unsafe', { value });
  return value;
}

/** HAProxy takes a comma for the end of an address, and expands $ even within quotes. Throws `edge-value-unsafe`. */
export function pathWord(path: string): string {
  if (!/^\/[^\p{C},$'"\\]*$/u.test(path)) throw new BasculeError('edge-value-unsafe', { value: path });
  return /^[A-Za-z0-9._~/-]+$/.test(path) ? path : `'${path}'`;
}

/** `<address>:<port>`. Throws `edge-value-unsafe`. */
export const addressWord = ({ address, port }: ServerAddress): string => `${word(address)}:${port}`;

/**
 * Any text as one word in double quotes (configuration manual, 2.2 "Quoting and escaping"): within them only `"`, `\` and
 * `$` mean something else, and a control character is written `\xHH`.
 */
export function quotedText(text: string): string {
  const escaped = text
    .replace(/["\\$]/g, (character) => `\\${character}`)
    .replaceAll('\n', '\\n')
    .replace(/\p{Cc}/gu, (character) =>
      [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
    );
  return `"${escaped}"`;
}

/** Milliseconds in HAProxy's largest unit that fits. */
export function durationWord(milliseconds: number): string {
  for (const [unit, size] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (milliseconds >= size && milliseconds % size === 0) return `${milliseconds / size}${unit}`;
  }
  return `${milliseconds}ms`;
}

/** Lines of words, each column as wide as its widest word. */
export function alignedColumns(rows: readonly (readonly string[])[]): readonly string[] {
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(width(column)))
      .join(' ')
      .trimEnd(),
  );
}
