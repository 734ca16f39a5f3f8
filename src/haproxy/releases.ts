import { formatReleases, parseReleases, type RecordedReleases, type ReleaseLine } from '../domain/rolling.js';
import { BasculeError } from '../errors.js';
import { type Edge, edgeFiles, runAct } from './edge.js';
import { sha256 } from './installed.js';

/**
 * The releases of an environment without colors, by `<state>/releases-<environment>`.
 *
 * @throws `edge-state-unreadable`, `state-file-is-link`
 */
export async function readReleases(edge: Edge, environment: string): Promise<RecordedReleases> {
  const file = edgeFiles(edge).releases(environment);
  const recorded = parseReleases((await edge.host.readState(file)) ?? '');
  if (recorded) return recorded;
  const reason = 'it has a line that names no release';
  throw new BasculeError('edge-state-unreadable', { host: edge.host.name, file, reason });
}

/**
 * Writes them for `owner`, where one of `expected` wrote them last; the same owner again changes nothing.
 *
 * @throws `edge-claimed` and those of `runAct`
 */
export async function recordReleases(
  edge: Edge,
  record: {
    readonly environment: string;
    readonly owner: string;
    readonly expected: readonly (string | null)[];
    readonly lines: readonly ReleaseLine[];
  },
): Promise<void> {
  const { environment, owner, expected, lines } = record;
  const input = formatReleases(owner, lines);
  const args = [environment, sha256(input), owner, ...expected.map((one) => one ?? '')];
  await runAct(edge, { name: 'record-releases', args, owner, input });
}
