import { stripVTControlCharacters } from 'node:util';
import { shownText } from './leaving-text.js';

/** Lines of aligned columns, two spaces apart; colors do not count as width. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, column) => Math.max(...rows.map((row) => width(row[column] ?? ''))));
  return rows.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell)))
      .join('  ')
      .trimEnd(),
  );
}

const width = (cell: string): number => stripVTControlCharacters(shownText(cell)).length;
