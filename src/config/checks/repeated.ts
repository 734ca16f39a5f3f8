import type { ConfigurationPath, Problem } from '../problem.js';

export interface Occurrence {
  readonly key: string | undefined;
  readonly owner: string;
  readonly path: ConfigurationPath;
  /** Default: value. */
  readonly at?: Problem['at'];
}

/** A problem for each occurrence of a key that an earlier one has. */
export function repeated(
  occurrences: readonly Occurrence[],
  message: (key: string, owner: string) => string,
): Problem[] {
  const owners = new Map<string, string>();
  return occurrences.flatMap(({ key, owner, path, at = 'value' }) => {
    if (key === undefined) return [];
    const earlier = owners.get(key);
    if (earlier !== undefined) return [{ path, at, message: message(key, earlier) }];
    owners.set(key, owner);
    return [];
  });
}
