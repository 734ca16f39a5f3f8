import type { Color, EnvironmentState, HistoryLine } from './edge-state.js';
import { otherColor } from './edge-state.js';

/** A release on a color. */
export interface Placed {
  readonly color: Color;
  readonly sha: string | null;
}

export interface SwitchPlan {
  readonly from: Placed;
  readonly to: Placed;
  readonly history: 'push' | 'back';
}

export interface RollbackPlan {
  readonly from: Placed;
  readonly to: Placed & { readonly sha: string };
}

/** The release that a rollback goes to: the one named, else the newest below the active one; null where there is none. */
export function planRollback(
  state: EnvironmentState,
  history: readonly HistoryLine[],
  to: string | null,
): RollbackPlan | null {
  const from = { color: state.color, sha: state.sha };
  if (to !== null && state.sha?.startsWith(to)) return { from, to: { color: state.color, sha: state.sha } };
  const below = history.slice(1);
  const line = to === null ? below[0] : below.find((one) => one.sha.startsWith(to));
  if (line) return { from, to: { color: line.color, sha: line.sha } };
  // A release that is no longer in the history can still be named: it is deployed again.
  if (to !== null && state.sha !== null) return { from, to: { color: otherColor(state.color), sha: to } };
  return null;
}

/** What a switch to a color would do, or why it is refused. `held` are the shas in the records of that color's instances. */
export function planSwitch(
  state: EnvironmentState,
  history: readonly HistoryLine[],
  color: Color,
  held: readonly (string | null)[],
): SwitchPlan | { readonly refused: string } {
  const from = { color: state.color, sha: state.sha };
  if (color === state.color) return { from, to: from, history: 'push' };
  const [sha = null] = held;
  if (sha === null || held.includes(null)) return { refused: 'it holds no release' };
  if (held.some((one) => one !== sha)) return { refused: `its instances hold different releases (${held.join(', ')})` };
  const stands = history.slice(1).some((line) => line.color === color && line.sha === sha);
  if (stands) return { from, to: { color, sha }, history: 'back' };
  if (state.standby === sha) return { from, to: { color, sha }, history: 'push' };
  return {
    refused: `${sha} is neither its standby nor in the history: visitors were not given it, or it was taken back`,
  };
}
