import { stripVTControlCharacters } from 'node:util';
import { ownSequence, shownText } from './leaving-text.js';
import type { OutputStream } from './process-context.js';

/** Control sequences of ECMA-48, and DEC's two for the cursor. */
const hideCursor = ownSequence('?25l');
const showCursor = ownSequence('?25h');
const lineBegin = ownSequence('G');
const eraseLine = ownSequence('K');
const eraseBelow = ownSequence('J');
const eraseScreen = `${ownSequence('H')}${ownSequence('2J')}`;
const up = (lines: number): string => (lines > 0 ? ownSequence(`${lines}A`) : '');

/** The last lines on a terminal, which are drawn again in place. The cursor is hidden meanwhile, and back at the end. */
export class LiveArea {
  #drawnLines = 0;

  constructor(private readonly terminal: OutputStream) {
    terminal.write(hideCursor);
    process.once('exit', () => terminal.write(showCursor));
  }

  /**
   * Draws the lines in place of those before; `above` stays on the screen for good. One write of whole lines, each
   * cleared to its end: nothing is empty in between, so nothing flickers.
   */
  draw(lines: readonly string[], above: readonly string[] = []): void {
    if (lines.length === 0 && above.length === 0 && this.#drawnLines === 0) return;
    // Where nobody set a size it is 0.
    const columns = (this.terminal.columns || 80) - 1;
    const whole = [...above, ...lines].map((line) => `${lineBegin}${fitted(shownText(line), columns)}${eraseLine}\n`);
    this.terminal.write(`${up(this.#drawnLines)}${whole.join('')}${eraseBelow}`);
    this.#drawnLines = lines.length;
  }

  /** For a terminal that got another size: nobody knows where the lines are by now. */
  clearScreen(): void {
    this.terminal.write(eraseScreen);
    this.#drawnLines = 0;
  }

  /** What was drawn stays, and the cursor is back. */
  end(): void {
    this.terminal.write(showCursor);
  }
}

/** As many of the lines as fit above the footer on a screen of so many rows, the last of them saying what is missing. */
export function fittedRows(lines: readonly string[], footer: readonly string[], rows: number): readonly string[] {
  // The cursor stands on a row of its own, below.
  const room = Math.max(rows - 1 - footer.length, 1);
  if (lines.length <= room) return [...lines, ...footer];
  const shown = lines.slice(0, room - 1);
  return [...shown, `… ${lines.length - shown.length} more lines do not fit`, ...footer];
}

/** A line that does not fit loses its colors, so that no escape sequence is cut in the middle. */
function fitted(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  return plain.length <= columns ? line : `${plain.slice(0, Math.max(columns - 1, 0))}…`;
}
