import type { ComponentConfiguration, Configuration } from './configuration.js';
import { historyLength } from './history.js';
import { shaPattern } from './names.js';
import type { PlannedComponent, Release } from './operation.js';

/** What instances side by side (multi-instance) are deployed by: one after the other, without colors. */

/** The one environment of multi-instance. */
export const sideBySideEnvironment = 'default';

/** The environments that a release can be deployed to. None in multi-instance where Bascule runs no component. */
export function deployedEnvironments({ topology, environments, components }: Configuration): readonly string[] {
  if (topology === 'blue-green') return environments.map(({ name }) => name);
  return components.some(isDeployed) ? [sideBySideEnvironment] : [];
}

/** Whether Bascule runs a component of multi-instance, and does not only lead visitors to it. */
export const isDeployed = ({ run, instances }: ComponentConfiguration): boolean =>
  run.length > 0 && (instances ?? []).length > 0;

/** A line of `<state>/releases-<environment>`: a release that visitors were given and nobody took back. */
export interface ReleaseLine {
  /** RFC 3339. */
  readonly at: string;
  readonly sha: string;
}

/** `<state>/releases-<environment>`, newest release first. */
export interface RecordedReleases {
  /** Who wrote it last, null where nobody ever did. */
  readonly owner: string | null;
  readonly lines: readonly ReleaseLine[];
}

/** Content of the file that `parseReleases` reads. */
export function formatReleases(owner: string, lines: readonly ReleaseLine[]): string {
  return `# bascule releases owner=${owner}\n${lines.map(({ at, sha }) => `${at} ${sha}\n`).join('')}`;
}

/** Null where a line makes no sense. */
export function parseReleases(text: string): RecordedReleases | null {
  const [head = '', ...rest] = text.split('\n').filter((line) => line !== '');
  if (head === '') return { owner: null, lines: [] };
  const owner = /^# bascule releases owner=(\S+)$/.exec(head)?.[1];
  const lines = rest.map((line) => {
    const [at = '', sha = '', ...more] = line.split(' ');
    return { at, sha, isRight: !Number.isNaN(Date.parse(at)) && shaPattern.test(sha) && more.length === 0 };
  });
  if (!owner || lines.some(({ isRight }) => !isRight)) return null;
  return { owner, lines: lines.map(({ at, sha }) => ({ at, sha })) };
}

/** The lines after a release is in force: on top, or, on the way back, as the first of those that it goes back to. */
export function releasesAfter(
  lines: readonly ReleaseLine[],
  release: ReleaseLine,
  isBack: boolean,
): readonly ReleaseLine[] {
  if (lines[0]?.sha === release.sha) return lines;
  if (!isBack) return [release, ...lines].slice(0, historyLength);
  const found = lines.findIndex(({ sha }) => sha === release.sha);
  return found < 0 ? [release, ...lines.slice(1)] : lines.slice(found);
}

/** The release that a rollback goes to: the one named, else the newest below the active one; null where there is none. */
export function earlierRelease(lines: readonly ReleaseLine[], to: string | null): string | null {
  const [active, ...below] = lines;
  if (to === null) return below[0]?.sha ?? null;
  if (active?.sha.startsWith(to)) return active.sha;
  // A release that is no longer in the history can still be named: it is deployed again.
  return below.find(({ sha }) => sha.startsWith(to))?.sha ?? (active ? to : null);
}

/** One of the instances that a release replaces, in their order. */
export interface RollingInstance extends PlannedComponent {
  /** The release that it holds, which a failure gives it again; null where it holds none. */
  readonly before: { readonly sha: string; readonly sha256: string } | null;
}

/**
 * Component by component, as they come, and of each first the instances that are not UP: nobody is taken out of a pool that
 * another one could have been brought into before.
 */
export function inOrder<T extends { readonly instance: Pick<RollingInstance, 'name'>; readonly isUp: boolean }>(
  all: readonly T[],
): readonly T[] {
  const components = [...new Set(all.map(({ instance }) => instance.name))];
  return components.flatMap((name) =>
    all.filter(({ instance }) => instance.name === name).toSorted((a, b) => Number(a.isUp) - Number(b.isUp)),
  );
}

/** What pinRelease found and fixed for a rolling deploy. */
export interface RollingPlan {
  readonly topology: 'multi-instance';
  readonly sha: string;
  readonly active: Release & { readonly color: null };
  readonly target: null;
  /** The sha is active, and every instance holds it with the same checksum and environment and is UP. */
  readonly isActiveAlready: boolean;
  readonly components: readonly RollingInstance[];
  readonly drainMs: number;
  readonly httpKeepAliveMs: number;
  readonly recorded: RecordedReleases;
  readonly warnings: readonly string[];
}
