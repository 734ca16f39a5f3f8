import type * as z from 'zod';
import { configurationJsonSchema } from './json-schema.js';
import { nearest } from './nearest.js';
import type { ConfigurationPath, Problem } from './problem.js';

type Issue = z.core.$ZodIssue;

/** What zod found, in words for a person: unions by their best match, unknown keys with the nearest known one. */
export function problemsOf(issues: readonly Issue[]): Problem[] {
  return issues.flatMap((issue) => problemsOfIssue(issue, []));
}

/** A copy of `value` without unknown keys, and with undefined for every value that is wrong; null where it itself is. */
export function withoutInvalid(value: unknown, issues: readonly Issue[]): unknown {
  if (issues.some((issue) => issue.path.length === 0 && issue.code !== 'unrecognized_keys')) return null;
  const copy: unknown = structuredClone(value);
  for (const issue of issues) {
    if (issue.code === 'unrecognized_keys') {
      const parent = valueAt(copy, pathOf(issue));
      for (const key of issue.keys) if (isObject(parent)) delete parent[key];
    } else {
      const parent = valueAt(copy, pathOf(issue).slice(0, -1));
      const key = pathOf(issue).at(-1);
      if (isObject(parent) && key !== undefined && Object.hasOwn(parent, key)) parent[key] = undefined;
    }
  }
  return copy;
}

function problemsOfIssue(issue: Issue, parent: ConfigurationPath): Problem[] {
  const path = [...parent, ...pathOf(issue)];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], at: 'key', message: unknownKey(path, key) }));
  }
  const best = issue.code === 'invalid_union' ? bestBranch(issue.errors) : null;
  if (best) return best.flatMap((branchIssue) => problemsOfIssue(branchIssue, path));
  return [{ path, at: 'value', message: issue.message }];
}

/**
 * The issues of the one branch of a union that was clearly meant: the value has its type and it has the fewest issues.
 * Null where none was, or where the value itself is wrong: then the union's own message says what it may be.
 */
function bestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const meant = branches
    .filter((issues) => issues.every((issue) => issue.path.length > 0 || issue.code === 'unrecognized_keys'))
    .toSorted((a, b) => a.length - b.length);
  const [first, second] = meant;
  if (!first) return null;
  if (!second || first.length < second.length) return first;
  const unknownInAll = first.filter(
    (issue) => issue.code === 'unrecognized_keys' && meant.every((issues) => hasUnknownKeys(issues, issue.keys)),
  );
  return unknownInAll.length > 0 ? unknownInAll : null;
}

const hasUnknownKeys = (issues: readonly Issue[], keys: readonly string[]): boolean =>
  issues.some((issue) => issue.code === 'unrecognized_keys' && keys.every((key) => issue.keys.includes(key)));

function unknownKey(path: ConfigurationPath, key: string): string {
  const places = mappingsAt(configurationJsonSchema(), path);
  const driver = places.find((properties) => Object.hasOwn(properties, key))?.driver;
  if (isObject(driver)) return `expected only with \`driver: ${driver.const}\``;
  const known = [...new Set(places.flatMap((properties) => Object.keys(properties)))];
  return `unknown key${nearest(key, known)}`;
}

/** What the JSON schema knows at a path: the keys of a mapping, for each branch of a union. */
function mappingsAt(schema: unknown, path: ConfigurationPath): Readonly<Record<string, unknown>>[] {
  if (!isObject(schema)) return [];
  const branches = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(branches)) return branches.flatMap((branch) => mappingsAt(branch, path));
  const properties = isObject(schema.properties) ? schema.properties : {};
  const [part, ...rest] = path;
  if (part === undefined) return [properties];
  return mappingsAt(typeof part === 'number' ? schema.items : (properties[part] ?? schema.additionalProperties), rest);
}

const valueAt = (value: unknown, path: ConfigurationPath): unknown =>
  path.reduce<unknown>((parent, part) => (isObject(parent) ? parent[part] : undefined), value);

const isObject = (value: unknown): value is Record<string | number, unknown> =>
  typeof value === 'object' && value !== null;

const pathOf = (issue: Issue): ConfigurationPath =>
  issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
