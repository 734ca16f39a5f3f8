/**
 * The newest entries whose JSON has at most so many characters together: what one run of a workflow hands to the next has
 * to stay below the 2 MB that Temporal takes, however much there was within a day.
 */
export function newestWithin<Entry extends { readonly at: number }>(
  entries: Readonly<Record<string, Entry>>,
  characters: number,
): Readonly<Record<string, Entry>> {
  const newestFirst = Object.entries(entries).reverse();
  newestFirst.sort(([, a], [, b]) => b.at - a.at);
  let total = 0;
  const kept = newestFirst.filter((entry) => {
    total += JSON.stringify(entry).length;
    return total <= characters;
  });
  return Object.fromEntries(kept.reverse());
}
