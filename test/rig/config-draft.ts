import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { parseConfiguration } from '../../src/config/load.js';
import type { Configuration } from '../../src/domain/configuration.js';
import { isBasculeError } from '../../src/errors.js';
import type { ValueKind } from './config-values.js';

/** A configuration with a place for each string of it: `value(kind, base)` where one stands that may be tried. */
export type Shape<Input> = (value: (kind: ValueKind, base: string) => string) => Input;

/** A place in a shape. */
export interface Place {
  readonly kind: ValueKind;
  /** What stands there where no other string does. */
  readonly base: string;
}

export interface Settled<Input> {
  /** What is left of the tried strings after those that were refused: it has no error. */
  readonly input: Input;
  readonly configuration: Configuration;
  /** By place: what stands there, null for the base. */
  readonly accepted: readonly (string | null)[];
  /** How many strings were tried. */
  readonly tried: number;
}

type Path = readonly (string | number)[];

/** Every place of a shape, in its order. */
export function placesOf(shape: Shape<unknown>): readonly Place[] {
  const places: Place[] = [];
  shape((kind, base) => {
    places.push({ kind, base });
    return base;
  });
  return places;
}

/**
 * Writes bascule.yaml with the tried strings at their places, and takes out those that it is refused for until there is
 * no error left. Throws where an error names no place of a string that was tried: then a field took the blame for another.
 */
export function settle<Input>(shape: Shape<Input>, tried: readonly string[], folder: string): Settled<Input> {
  const places = placesOf(shape);
  const paths = pathsOf(shape, places.length);
  let chosen: readonly (string | null)[] = withoutRepeatedKeys(places, paths, tried);
  const count = chosen.filter((value) => value !== null).length;
  for (const [index, value] of chosen.entries()) {
    if (places[index]?.kind === 'opened' && value !== null) offerFile(folder, value);
  }
  for (;;) {
    const texts = places.map(({ base }, index) => chosen[index] ?? base);
    const input = shape(inOrder(texts));
    const outcome = parsed(stringify(input), join(folder, 'bascule.yaml'));
    if (!('problems' in outcome)) return { input, configuration: outcome, accepted: chosen, tried: count };
    const shown = paths.map((path) => formatted(path.map((part) => textOf(part, texts))));
    const refused = outcome.problems.map((problem) => {
      const index = shown.findIndex((path, place) => chosen[place] !== null && problem.startsWith(`${path}: `));
      if (index < 0) throw new Error(`refused, but not by the name of what was tried: ${problem}`);
      return index;
    });
    chosen = chosen.map((value, index) => (refused.includes(index) ? null : value));
  }
}

const inOrder = (texts: readonly string[]) => {
  let next = 0;
  return (): string => {
    next += 1;
    return texts[next - 1] ?? '';
  };
};

const token = (index: number): string => `place-${index}-`;
const placeIn = (part: string | number): number | null => {
  const [, index] = /^place-(\d+)-$/.exec(String(part)) ?? [];
  return index === undefined ? null : Number(index);
};
const textOf = (part: string | number, texts: readonly string[]): string | number => texts[placeIn(part) ?? -1] ?? part;

/** Where each place is: its value's path, or that of the key which it is. Keys that are places are left as tokens. */
function pathsOf(shape: Shape<unknown>, count: number): readonly Path[] {
  const paths: Path[] = [];
  const note = (part: unknown, path: Path) => {
    const index = typeof part === 'string' ? placeIn(part) : null;
    if (index !== null) paths[index] ??= path;
  };
  const walk = (value: unknown, path: Path) => {
    note(value, path);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, item] of Object.entries(value)) {
      const below = [...path, Array.isArray(value) ? Number(key) : key];
      note(key, below);
      walk(item, below);
    }
  };
  walk(shape(inOrder(Array.from({ length: count }, (_, index) => token(index)))), []);
  return paths;
}

/** Of two keys that are the same only the first is tried: the other would replace it. */
function withoutRepeatedKeys(places: readonly Place[], paths: readonly Path[], tried: readonly string[]) {
  const keys = new Set<string>();
  return places.map((_, index) => {
    const value = tried[index] ?? '';
    const path = paths[index] ?? [];
    if (placeIn(path.at(-1) ?? '') !== index) return value;
    const key = JSON.stringify([path.slice(0, -1), value]);
    if (keys.has(key)) return null;
    keys.add(key);
    return value;
  });
}

/** The file that a string names, where there can be one below the folder. */
function offerFile(folder: string, path: string): void {
  const file = resolve(folder, path);
  if (!file.startsWith(`${folder}/opened/`) || path.includes('\0')) return;
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '# frontend\n');
  } catch {
    // Too long for a file system: then it is to be refused.
  }
}

function parsed(text: string, file: string): Configuration | { readonly problems: readonly string[] } {
  try {
    return parseConfiguration(text, file);
  } catch (error) {
    if (!isBasculeError(error) || error.code !== 'config-invalid') throw error;
    const { problems } = error.args as { problems: readonly string[] };
    return { problems: problems.map((problem) => problem.slice(file.length).replace(/^:\d+:\d+ /, '')) };
  }
}

/** As errors name it: keys that are no plain word in brackets and quotes. */
function formatted(path: Path): string {
  return path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`;
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(part)) return `${before}[${JSON.stringify(part)}]`;
    return before === '' ? part : `${before}.${part}`;
  }, '');
}
