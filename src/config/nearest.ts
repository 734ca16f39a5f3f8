import { distance } from 'fastest-levenshtein';

/** The end of a message about an unknown name: the known one that it is like, or all of them. */
export function nearest(name: string, known: readonly string[]): string {
  const [best] = known.toSorted((a, b) => distance(name, a) - distance(name, b));
  return best !== undefined && distance(name, best) <= Math.max(2, best.length / 2)
    ? ` (did you mean "${best}"?)`
    : `: expected ${known.join(', ')}`;
}
