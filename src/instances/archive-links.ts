/** As many links as Linux follows on one path. */
const mostFollowed = 40;

/**
 * Whether a link of an archive leads out of the folder that it is unpacked in, once all links of the archive are there:
 * `up/../x` is inside by its letters, and outside where `up` is a link to the top. `links` are targets by link.
 */
export function leadsOutside(links: ReadonlyMap<string, string>, link: string): boolean {
  const target = links.get(normalized(link));
  return (
    target === undefined || resolve(links, [...folderOf(link), ...segmentsOf(target)], target.startsWith('/')) === null
  );
}

/** Whether a path of an archive goes through one of its links, or is one. */
export function goesThroughLink(links: ReadonlyMap<string, string>, path: string): boolean {
  const segments = segmentsOf(path);
  return segments.some((_, index) => links.has(segments.slice(0, index + 1).join('/')));
}

/** Path of an archive's entry without `.`, doubled and final slashes. */
export const normalized = (path: string): string => segmentsOf(path).join('/');

/** Where the segments lead to, null for outside (or nowhere: links in a circle). */
function resolve(links: ReadonlyMap<string, string>, segments: string[], isAbsolute: boolean): string | null {
  if (isAbsolute) return null;
  const pending = segments.reverse();
  const path: string[] = [];
  let followed = 0;
  for (let segment = pending.pop(); segment !== undefined; segment = pending.pop()) {
    if (segment === '..') {
      if (path.pop() === undefined) return null;
      continue;
    }
    path.push(segment);
    const target = links.get(path.join('/'));
    if (target === undefined) continue;
    followed += 1;
    if (followed > mostFollowed || target.startsWith('/')) return null;
    path.pop();
    pending.push(...segmentsOf(target).reverse());
  }
  return path.join('/');
}

const segmentsOf = (path: string): string[] => path.split('/').filter((segment) => segment !== '' && segment !== '.');

const folderOf = (path: string): string[] => segmentsOf(path).slice(0, -1);
