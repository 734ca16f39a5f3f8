/**
 * What a terminal acts on instead of showing it: C0 but for tab and line feed, DEL, C1, and what turns the direction of
 * text, breaks a line or is not seen (Unicode 16, 23.2).
 */
export const controlCharacters =
  '[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]';

/** As JSON writes a character that it does not take as it is: within JSON it stays the same text. */
export const escapedCharacter = (character: string): string =>
  Array.from({ length: character.length }, (_, index) => character.charCodeAt(index))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('');

const controls = new RegExp(controlCharacters, 'gu');

/** Text of others with its control characters as text, so that it can only be read. */
export const visibleText = (text: string): string =>
  text.replaceAll('\r\n', '\n').replaceAll(controls, escapedCharacter);
