import { InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../config/units.js';
import { operationsKeptMs } from '../domain/defaults.js';
import type { Color } from '../domain/edge-state.js';
import { shaPattern } from '../domain/names.js';
import { BasculeError } from '../errors.js';

/** Milliseconds of `500ms`, `60s`, `5m` or `1h`. */
export function durationArgument(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError('Expected a duration such as 500ms, 60s, 5m or 1h.');
  return ms;
}

const dayMs = 86_400_000;

/** `--retention`; `when` says which other option it belongs to. */
export const retentionOption = (when = ''): Option =>
  new Option(
    '--retention <duration>',
    `${when}how long Temporal keeps an operation after its end, such as 90d or 72h (default: ${operationsKeptMs / dayMs}d)`,
  ).argParser(retentionArgument);

/** Milliseconds of `30d` or `72h`, as Temporal's own `--retention` reads them; an hour is the least that it takes. */
function retentionArgument(text: string): number {
  const [, count = '', unit = ''] = /^([1-9][0-9]{0,4})([dh])$/.exec(text) ?? [];
  if (unit === '') throw new InvalidArgumentError('Expected days or hours, such as 30d or 72h.');
  return Number(count) * (unit === 'd' ? dayMs : 3_600_000);
}

export function colorArgument(text: string): Color {
  if (text !== 'blue' && text !== 'green') throw new InvalidArgumentError('Expected blue or green.');
  return text;
}

export function countArgument(text: string): number {
  if (!/^[1-9][0-9]{0,5}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1 to 999999.');
  return Number(text);
}

/** A sha in lower case. Throws `bad-sha`. */
export function shaArgument(text: string): string {
  const sha = text.toLowerCase();
  if (!shaPattern.test(sha)) throw new BasculeError('bad-sha', { sha: text });
  return sha;
}

/**
 * Takes `[ENV] WHAT` apart: where there is one argument, the environment was left out.
 * Throws `usage` where there is none.
 */
export function optionalFirst(
  first: string | undefined,
  second: string | undefined,
  missing: string,
): { readonly environment: string | undefined; readonly value: string } {
  if (first === undefined)
    throw new BasculeError('usage', { problem: `${missing} is missing`, help: 'See its --help.' });
  return second === undefined ? { environment: undefined, value: first } : { environment: first, value: second };
}

/** Leaves out what was not given. */
export function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
