/** A section of haproxy.cfg: the line that begins it, and the lines below, each as its words. */
export interface HaproxySection {
  readonly head: readonly string[];
  readonly lines: readonly (readonly string[])[];
}

/** The words that begin a section of the configurations in tests. */
const heads = ['global', 'defaults', 'resolvers', 'frontend', 'backend', 'listen', 'peers', 'userlist', 'program'];

/**
 * haproxy.cfg as HAProxy reads it, by the configuration manual alone (2.2 "Quoting and escaping") and with nothing of
 * Bascule's own: the oracle of what a rendered file says.
 */
export function readSections(text: string): readonly HaproxySection[] {
  const sections: { head: readonly string[]; lines: (readonly string[])[] }[] = [];
  const variables = new Map<string, string>();
  for (const { words } of readLines(text, variables)) {
    if (words[0] === 'setenv') variables.set(words[1] ?? '', words[2] ?? '');
    if (heads.includes(words[0] ?? '')) sections.push({ head: words, lines: [] });
    else if (sections.length === 0) throw new Error(`a line before every section: ${words.join(' ')}`);
    else sections.at(-1)?.lines.push(words);
  }
  return sections;
}

export interface HaproxyLine {
  readonly number: number;
  readonly words: readonly string[];
}

/** Lines that say something, with their numbers from 1 on. */
export function readLines(text: string, variables: ReadonlyMap<string, string> = new Map()): readonly HaproxyLine[] {
  return text
    .split('\n')
    .map((line, index) => ({ number: index + 1, words: wordsOf(line, variables) }))
    .filter(({ words }) => words.length > 0);
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** Words of one line. Throws where a quote is not closed. */
function wordsOf(line: string, variables: ReadonlyMap<string, string>): readonly string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = '';
  for (let at = 0; at < line.length; at += 1) {
    const character = line.charAt(at);
    const escaped = quote === "'" ? null : /^\\(?:x([0-9A-Fa-f]{2})|([ "'#\\nrt])|(\$))/.exec(line.slice(at));
    if (escaped && (escaped[3] === undefined || quote === '"')) {
      const [all, hex, one, dollar = ''] = escaped;
      word = `${word ?? ''}${hex === undefined ? (escapes[one ?? ''] ?? one ?? dollar) : String.fromCharCode(Number.parseInt(hex, 16))}`;
      at += all.length - 1;
    } else if (character === quote) quote = '';
    else if (quote === '' && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (quote === '"' && character === '$') {
      const [all, braced, plain] = /^\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))/.exec(line.slice(at)) ?? [];
      if (all === undefined) throw new Error(`a variable without a name: ${line}`);
      word = `${word ?? ''}${variables.get(braced ?? plain ?? '') ?? ''}`;
      at += all.length - 1;
    } else if (quote === '' && character === '#') break;
    else if (quote === '' && /[ \t]/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = `${word ?? ''}${character}`;
  }
  if (quote !== '') throw new Error(`a quote that is not closed: ${line}`);
  return word === null ? words : [...words, word];
}
