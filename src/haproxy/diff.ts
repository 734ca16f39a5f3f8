import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';
import { withoutStamp } from './header.js';

/**
 * Unified diff of two haproxy.cfg, without what every installation writes anew (header and the three setenv lines of
 * Bascule); empty where nothing else differs.
 *
 * @param before null where there is none
 */
export function diffConfigurations(
  before: string | null,
  after: string,
  names: { readonly before: string; readonly after: string } = { before: 'installed', after: 'wanted' },
): string {
  const [from, to] = [before === null ? '' : withoutStamp(before), withoutStamp(after)];
  if (from === to) return '';
  return createTwoFilesPatch(names.before, names.after, from, to, undefined, undefined, {
    headerOptions: FILE_HEADERS_ONLY,
  });
}
