import type { AppliedConfiguration } from '../domain/configuration.js';
import type { EdgeRecord } from '../domain/edge-change.js';
import { type Color, colors, type EnvironmentState, type HistoryLine, otherColor } from '../domain/edge-state.js';
import { parseHistory } from '../domain/history.js';
import { backendName, instanceName } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { type Edge, edgeFiles } from './edge.js';
import type { RunningServers, ServerStatus } from './runtime.js';

/**
 * What is in force where no haproxy.cfg says so, because it is gone or was never Bascule's: colors as a running process
 * has them, else as their files say, where a missing one means blue; releases by the histories.
 *
 * @throws `edge-state-unreadable`, `state-file-is-link`
 */
export async function recoverStates(
  edge: Edge,
  of: {
    readonly applied: AppliedConfiguration | null;
    readonly wanted: AppliedConfiguration | undefined;
    readonly running: RunningServers | null;
  },
): Promise<Pick<EdgeRecord, 'states' | 'histories'>> {
  const { applied, wanted, running } = of;
  const all = [applied, wanted].flatMap((one) => one?.configuration.environments ?? []);
  const names = [...new Set(all.map(({ name }) => name))];
  const servers = running?.digest ? running.servers : [];
  const states: EnvironmentState[] = [];
  const histories: Record<string, readonly HistoryLine[]> = {};
  for (const name of names) {
    const lines = parseHistory((await edge.host.readState(edgeFiles(edge).history(name))) ?? '') ?? [];
    const served = applied ? servedColor(applied, name, servers) : null;
    const color = served?.color ?? (await readColor(edge, name));
    const standby = served?.hasStandby ? (lines.find((line) => line.color !== color)?.sha ?? null) : null;
    states.push({ name, color, sha: lines[0]?.color === color ? lines[0].sha : null, standby });
    histories[name] = lines;
  }
  return { states, histories };
}

/** An environment that a process serves from another color than the file says that it claims to run. */
export interface Swapped {
  readonly environment: string;
  readonly said: Color;
  readonly served: Color;
  /** As it is served; null where nobody knows which release that color holds. */
  readonly state: EnvironmentState | null;
}

/** Environments whose server lines somebody swapped by hand before a reload. */
export function findSwapped(
  applied: AppliedConfiguration,
  states: readonly EnvironmentState[],
  servers: readonly ServerStatus[],
): readonly Swapped[] {
  return states.flatMap((state): Swapped[] => {
    const served = servedColor(applied, state.name, servers);
    if (!served || served.color === state.color) return [];
    const { name, sha, standby } = state;
    const known = standby === null ? null : { name, color: served.color, sha: standby };
    return [
      {
        environment: name,
        said: state.color,
        served: served.color,
        state: known && { ...known, standby: served.hasStandby ? sha : null },
      },
    ];
  });
}

/** The color whose server HAProxy has as no backup, and whether it may choose the other one. */
function servedColor(
  { configuration }: AppliedConfiguration,
  name: string,
  servers: readonly ServerStatus[],
): { readonly color: Color; readonly hasStandby: boolean } | null {
  const environment = configuration.environments.find((one) => one.name === name);
  const [component] = configuration.components;
  if (!environment || !component) return null;
  const backend = backendName(name, component.pool);
  const serverOf = (color: Color) =>
    servers.find((one) => one.backend === backend && one.name === instanceName(environment, component.name, color));
  const color = colors.find((one) => serverOf(one)?.isBackup === false);
  return color ? { color, hasStandby: (serverOf(otherColor(color))?.weight ?? 0) > 0 } : null;
}

async function readColor(edge: Edge, name: string): Promise<Color> {
  const file = edgeFiles(edge).color(name);
  const color = ((await edge.host.readState(file)) ?? 'blue').trim();
  if (color === 'blue' || color === 'green') return color;
  const reason = `it says ${JSON.stringify(color)} instead of blue or green`;
  throw new BasculeError('edge-state-unreadable', { host: edge.host.name, file, reason });
}
