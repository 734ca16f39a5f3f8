import { randomInt } from 'node:crypto';
import pc from 'picocolors';
import { controlCharacters, escapedCharacter } from '../visible-text.js';
import type { OutputStream } from './process-context.js';

// Text of others (a program's log, a reason, an answer of a server) is printed beside this program's own colors. Its own
// control sequences carry numbers that nobody else knows, until the text leaves: every other control character leaves as
// text.

export type Colors = ReturnType<typeof pc.createColors>;

/** Parameters as any other, so that what measures the width of text takes the sequence for one. */
const sign = Array.from({ length: 3 }, () => randomInt(1_000, 10_000)).join(';');
const begin = `\x1b[${sign};`;

/** The control sequence `CSI <sequence>` of this program itself. */
export const ownSequence = (sequence: string): string => `${begin}${sequence}`;

const signed = (text: string): string => text.replaceAll('\x1b[', begin);

const ownOrControl = new RegExp(`\\x1b\\[${sign};[0-?]*[@-~]|\r\n|${controlCharacters}`, 'gu');

/** Text as it is shown, but for the mark of this program's own sequences. */
export const shownText = (text: string): string =>
  text.replaceAll(ownOrControl, (found) => {
    if (found.startsWith(begin)) return found;
    return found === '\r\n' ? '\n' : escapedCharacter(found);
  });

/** A stream that text leaves by. */
export function leaving(stream: OutputStream): OutputStream {
  const write = (text: string): boolean => stream.write(shownText(String(text)).replaceAll(begin, '\x1b['));
  return new Proxy(stream, {
    get(target, name) {
      if (name === 'write') return write;
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Colors of this program's own. */
export function ownColors(areShown: boolean): Colors {
  const colors = pc.createColors(areShown);
  if (!areShown) return colors;
  const own = Object.entries(colors).map(([name, color]) => [
    name,
    typeof color === 'function' ? withSign(color) : color,
  ]);
  return Object.fromEntries(own) as Colors;
}

/** Where text within has ended a color of the same kind, this one goes on. */
function withSign(color: (text: string) => string): (text: unknown) => string {
  const [open = '', close = ''] = color('\0').split('\0').map(signed);
  return (text) => `${open}${String(text).replaceAll(close, `${close}${open}`)}${close}`;
}
