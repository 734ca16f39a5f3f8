/**
 * The second definition of what Bascule does: what an environment is after each operation, by the contract and not by
 * the code, small enough to be read in one sitting. Random schedules compare the program with it.
 *
 * Every operation goes through stages. Where it is stopped, or a step fails for good, it ends `failed`, and the
 * environment is what the table says for the stage that it was in:
 *
 * | stage       | steps                                     | what is left of it                                        |
 * | ----------- | ----------------------------------------- | --------------------------------------------------------- |
 * | asked       | pin or plan, the stand-down               | everything as before                                      |
 * | stood down  | drain, fetch                              | no standby; the inactive color's instances as before      |
 * | touched     | recreate, migrate, start, approve, switch | no standby; rubble on the inactive color                  |
 * | switched    | soak                                      | the same: it is switched back                             |
 *
 * | operation           | goes through                          | done                                                     |
 * | ------------------- | ------------------------------------- | -------------------------------------------------------- |
 * | deploy              | all four                              | other color active, the one before its standby, a line   |
 * | deploy, same sha    | asked                                 | as before                                                |
 * | switch              | asked                                 | to a line of the history: that line on top; no standby   |
 * | rollback, fast      | asked                                 | as a switch to that line                                 |
 * | rollback, full      | asked, stood down, touched            | other color active, the line rewritten; no standby       |
 * | cleanup             | asked, stood down, touched            | no standby; nothing on the inactive color                |
 *
 * A failed deploy leaves a mark: until something else is in force, a rollback has to name its release, since the one
 * that serves was never left. A rollback that was asked for while the deploy ran has nothing more to do.
 *
 * Schedules are random and two clients act at once, so a moment may be unknown: the model keeps every state that is
 * possible and drops those that an answer rules out. None left is a violation.
 */
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import type { OperationKind } from '../../src/domain/names.js';

/** What the instances of a color hold: a release that runs on all of them, nothing, or neither. */
export type Held = { readonly sha: string } | 'nothing' | 'rubble';

/** What anybody can see of an environment on the edge and on its instances. */
export interface Seen {
  readonly color: Color;
  readonly sha: string | null;
  readonly standby: string | null;
  /** `<color> <sha>`, newest first. */
  readonly history: readonly string[];
  readonly held: Readonly<Record<Color, Held>>;
}

/** And what it remembers. */
export interface State extends Seen {
  /** A rollback has to name its release. */
  readonly mustName: boolean;
  readonly last: {
    readonly id: string;
    readonly kind: OperationKind;
    readonly outcome: string;
    readonly to: string | null;
  } | null;
}

export type Request =
  | { readonly kind: 'deploy'; readonly sha: string; readonly again?: boolean; readonly waitForApproval?: boolean }
  | { readonly kind: 'switch'; readonly color: Color }
  | { readonly kind: 'rollback'; readonly to?: string; readonly full?: boolean }
  | { readonly kind: 'cleanup'; readonly standby?: boolean };

export const neverDeployed: State = {
  color: 'blue',
  sha: null,
  standby: null,
  history: [],
  held: { blue: 'nothing', green: 'nothing' },
  mustName: false,
  last: null,
};

/** Artifacts of these are not there. */
export const isUnknown = (sha: string): boolean => sha.startsWith('404');
/** Instances of these never get healthy. */
export const isUnhealthy = (sha: string): boolean => sha.startsWith('bad');

/** A step, by the name that a fault is aimed at, and what is left where it fails for good or is stopped there. */
interface Row {
  readonly step: RegExp;
  readonly left: readonly State[];
  /** Steps that take it back and can fail. */
  readonly takeBacks?: readonly TakeBack[];
  /** It fails by itself. */
  readonly fails?: string;
}

/** What is left where a take-back fails, and how the operation ends then. */
export interface TakeBack {
  readonly step: RegExp;
  readonly left: readonly State[];
  readonly outcome: 'failed' | 'needs-operator';
}

export interface Journey {
  readonly rows: readonly Row[];
  readonly done: State;
}

const historyLength = 5;
const line = (color: Color, sha: string): string => `${color} ${sha}`;
const holds = (state: State, color: Color, held: Held): State => ({ ...state, held: { ...state.held, [color]: held } });
const isHeld = (state: State, color: Color, sha: string): boolean => {
  const held = state.held[color];
  return typeof held === 'object' && held.sha === sha;
};
const refused = (state: State, fails: string): Journey => ({
  rows: [{ step: /^plan/, left: [state], fails }],
  done: state,
});
const asBefore = (state: State, step: RegExp): Journey => ({ rows: [{ step, left: [state] }], done: state });

/** The way of an operation that begins in a state. */
export function journey(request: Request, state: State): Journey {
  switch (request.kind) {
    case 'deploy':
      return deploy(request, state);
    case 'switch':
      return switchTo(request.color, state);
    case 'rollback':
      return rollback(request, state);
    case 'cleanup':
      return cleanup(request, state);
  }
}

function deploy({ sha, again }: Extract<Request, { kind: 'deploy' }>, before: State): Journey {
  const state = { ...before, mustName: true };
  const runs = isHeld(state, state.color, sha) && state.sha === sha && !again;
  if (isUnknown(sha))
    return { rows: [{ step: /^pinRelease$/, left: [state], fails: 'artifact-not-found' }], done: state };
  if (runs) return { rows: [{ step: /^pinRelease$/, left: [state] }], done: { ...state, mustName: false } };
  const target = otherColor(state.color);
  const added = line(target, sha);
  const history = state.history[0] === added ? state.history : [added, ...state.history].slice(0, historyLength);
  const switched = { ...state, color: target, sha, standby: state.sha, history };
  return replaceInactive(sha, state, { ...switched, mustName: false }, holds(switched, target, { sha }));
}

/**
 * What a deploy and a full rollback have in common.
 *
 * @param keptOn what it is where the switch can't be taken back; null where nothing comes after the switch
 */
function replaceInactive(sha: string, before: State, done: State, keptOn: State | null): Journey {
  const target = otherColor(before.color);
  const stoodDown = { ...before, standby: null };
  const touched = holds(stoodDown, target, 'rubble');
  // Instances that are not marked as failed look like a release that runs; no visitor notices.
  const markFailed = [touched, holds(stoodDown, target, { sha }), stoodDown];
  const takeBacks: readonly TakeBack[] = [{ step: /^markFailed$/, left: markFailed, outcome: 'failed' }];
  const isDeploy = keptOn !== null;
  const switchBack = (left: State): TakeBack => ({
    step: /^(requestEdgeChange|\w+ of) switch-back$/,
    left: [left],
    outcome: 'needs-operator',
  });
  return {
    rows: [
      { step: isDeploy ? /^pinRelease$/ : /^(planRollback|pinRelease)$/, left: [before] },
      standDownOf(before),
      ...(before.history.length > 0 ? [{ step: /^drainColor$/, left: [stoodDown] }] : []),
      { step: /^fetchArtifact \w+$/, left: [stoodDown] },
      { step: /^recreateInstance \w+$/, left: [stoodDown, touched], takeBacks },
      ...(isDeploy ? [{ step: /^migrate \w+$/, left: [touched], takeBacks }] : []),
      {
        step: /^startInstance \w+$/,
        left: [touched],
        takeBacks,
        ...(isUnhealthy(sha) ? { fails: 'instance-unhealthy' } : {}),
      },
      { step: /^(waitUntilUpOnEdge|requestEdgeChange switch|\w+ of switch)$/, left: [touched], takeBacks },
      ...(keptOn ? [{ step: /^watchSoak$/, left: [touched], takeBacks: [...takeBacks, switchBack(keptOn)] }] : []),
    ],
    done: holds(done, target, { sha }),
  };
}

/** Where there is no standby, the edge has nothing to change. */
const standDownOf = (state: State): Row => ({
  step:
    state.standby === null
      ? /^(requestEdgeChange|(readEdge|renderConfig) of) stand-down$/
      : /^(requestEdgeChange|\w+ of) stand-down$/,
  left: [state],
});

/** The lines above go, and the release becomes active; nobody falls back to the one that is left. */
function goBack(state: State, color: Color, sha: string): State {
  const index = state.history.indexOf(line(color, sha));
  return { ...state, color, sha, standby: null, history: state.history.slice(index), mustName: false };
}

const edgeSwitch = /^(planRollback|planSwitch|requestEdgeChange switch|\w+ of switch)$/;
const edgeSwitchToTheSame = /^(planSwitch|(requestEdgeChange|(readEdge|renderConfig) of) switch)$/;

function switchTo(color: Color, state: State): Journey {
  if (color === state.color) return asBefore(state, edgeSwitchToTheSame);
  const held = state.held[color];
  if (typeof held !== 'object') return refused(state, 'switch-refused|color-not-up');
  if (state.history.slice(1).includes(line(color, held.sha))) {
    return { rows: [{ step: edgeSwitch, left: [state] }], done: goBack(state, color, held.sha) };
  }
  return refused(state, 'switch-refused');
}

function rollback({ to, full }: Extract<Request, { kind: 'rollback' }>, state: State): Journey {
  const plan = /^planRollback$/;
  // The release that serves was never left: there is nothing to take back.
  if (!to && state.mustName) return { rows: [], done: state };
  if (to && to === state.sha) return asBefore(state, plan);
  const below = state.history.slice(1).find((one) => !to || one.endsWith(` ${to}`));
  const sha = below?.split(' ')[1] ?? to;
  if (!sha || state.sha === null) return refused(state, 'nothing-to-roll-back-to');
  const color: Color = below?.startsWith('green') ? 'green' : 'blue';
  if (below && !full && isHeld(state, color, sha)) {
    return { rows: [{ step: edgeSwitch, left: [state] }], done: goBack(state, color, sha) };
  }
  if (isUnknown(sha)) return { rows: [{ step: /^p/, left: [state], fails: 'artifact-not-found' }], done: state };
  const target = otherColor(state.color);
  // A release without a line takes the place of the active one's.
  const rest = below ? state.history.slice(state.history.indexOf(below) + 1) : state.history.slice(1);
  const done = { ...state, color: target, sha, standby: null, history: [line(target, sha), ...rest], mustName: false };
  return replaceInactive(sha, state, done, null);
}

function cleanup({ standby }: Extract<Request, { kind: 'cleanup' }>, state: State): Journey {
  const target = otherColor(state.color);
  const plan = /^planCleanup$/;
  if (state.held[target] === 'nothing' || (state.standby !== null && !standby)) return asBefore(state, plan);
  const stoodDown = { ...state, standby: null };
  const done = holds(stoodDown, target, 'nothing');
  return {
    rows: [
      { step: plan, left: [state] },
      standDownOf(state),
      ...(state.history.length > 0 ? [{ step: /^drainColor$/, left: [stoodDown] }] : []),
      { step: /^removeInstance \w+$/, left: [stoodDown, holds(stoodDown, target, 'rubble'), done] },
    ],
    done,
  };
}
