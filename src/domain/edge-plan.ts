import { type ColorChange, type EdgeChange, type EdgeRecord, isOfEnvironment } from './edge-change.js';
import { type EnvironmentState, type HistoryLine, neverDeployed } from './edge-state.js';
import { goBackTo, pushRelease } from './history.js';

export interface EdgePlan {
  readonly states: readonly EnvironmentState[];
  readonly histories: Readonly<Record<string, readonly HistoryLine[]>>;
}

/**
 * What the edge shall be after a change.
 *
 * @param environments those of the configuration that will be in force, in its order
 * @param at time of the change, RFC 3339
 */
export function planChange(
  change: EdgeChange,
  record: EdgeRecord,
  environments: readonly string[],
  at: string,
): EdgePlan {
  const plans = environments.map((name) => {
    const state = record.states.find((each) => each.name === name) ?? neverDeployed(name);
    const lines = record.histories[name] ?? [];
    if (!isOfEnvironment(change) || change.environment !== name) return planOne(state, lines, at);
    if (change.kind === 'stand-down') return planOne({ ...state, standby: null }, lines, at);
    return planOne(afterColorChange(state, change), historyAfter(lines, change, at), at);
  });
  return {
    states: plans.map(({ state }) => state),
    histories: Object.fromEntries(plans.map(({ state, lines }) => [state.name, lines])),
  };
}

/** The first line of a history is the active release, also after somebody else wrote the file. */
function planOne(state: EnvironmentState, lines: readonly HistoryLine[], at: string) {
  const { color, sha } = state;
  const since = lines.find((line) => line.color === color && line.sha === sha)?.at ?? at;
  return { state, lines: goBackTo(lines, { at: since, color, sha }, false) };
}

/** The color that is left becomes the standby, unless the change goes back. */
function afterColorChange(state: EnvironmentState, change: ColorChange): EnvironmentState {
  if (state.color === change.to && state.sha === change.sha) return state;
  const standby = change.history === 'push' && state.color !== change.to ? state.sha : null;
  return { name: state.name, color: change.to, sha: change.sha, standby };
}

function historyAfter(lines: readonly HistoryLine[], change: ColorChange, at: string): readonly HistoryLine[] {
  const release = { at, color: change.to, sha: change.sha };
  return change.history === 'back' || release.sha === null
    ? goBackTo(lines, release, change.rewrite ?? false)
    : pushRelease(lines, { ...release, sha: release.sha });
}
