/**
 * What an environment is after each operation, for random schedules to compare the program with. The plans of
 * `src/domain` say what an operation changes; the rows below say what is left where a step fails for good, or where it
 * is stopped there:
 *
 * | stage            | steps                                     | what is left of it                                   |
 * | ---------------- | ----------------------------------------- | ---------------------------------------------------- |
 * | requested        | pin or plan, disable the standby          | everything as before                                 |
 * | standby disabled | drain, fetch                              | no standby; the inactive color's instances as before |
 * | touched          | recreate, migrate, start, approve, switch | no standby; the inactive color is partial            |
 * | switched         | soak                                      | the same: it is switched back                        |
 *
 * A failed deploy leaves a mark: until something else is active, a rollback has to name its release. A rollback that was
 * requested while the deploy ran has nothing more to do.
 *
 * Two clients act at once, so a moment may be unknown: the model keeps every state that is possible and drops those that
 * an answer rules out. None left is a violation.
 */
import type { ColorChange, EdgeChange, EdgeRecord } from '../../src/domain/edge-change.js';
import { planChange } from '../../src/domain/edge-plan.js';
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import type { OperationKind } from '../../src/domain/names.js';
import { planRollback, planSwitch } from '../../src/domain/plans.js';

/** What the instances of a color hold: a release that runs on all of them, nothing, or neither. */
export type Held = { readonly sha: string } | 'nothing' | 'partial';

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
  /** Steps that undo it and can fail, what is left then, and how the operation ends. */
  readonly undoSteps?: readonly UndoStep[];
  /** It fails by itself. */
  readonly fails?: string;
}

interface UndoStep {
  readonly step: RegExp;
  readonly left: readonly State[];
  readonly outcome: 'failed' | 'needs-operator';
}

export interface Journey {
  readonly rows: readonly Row[];
  readonly done: State;
}

const holds = (state: State, color: Color, held: Held): State => ({ ...state, held: { ...state.held, [color]: held } });
const heldOn = ({ held }: State, color: Color): string | null => {
  const one = held[color];
  return typeof one === 'object' ? one.sha : null;
};
const fails = (state: State, step: RegExp, code: string): Journey => ({
  rows: [{ step, left: [state], fails: code }],
  done: state,
});
const changesNothing = (state: State, step: RegExp): Journey => ({ rows: [{ step, left: [state] }], done: state });

/** The steps of an operation that begins in a state. */
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

const name = 'environment';
const linesOf = ({ history }: Seen) =>
  history.map((line) => ({ at: '', color: line.split(' ')[0] as Color, sha: line.split(' ')[1] ?? '' }));

/** What the edge records after a change, by its plan. */
function changed(state: State, change: { kind: 'stand-down' } | Omit<ColorChange, 'id' | 'operation' | 'environment'>) {
  const { color, sha, standby } = state;
  const record = { states: [{ name, color, sha, standby }], histories: { [name]: linesOf(state) } };
  const named = { id: '', operation: '', environment: name, ...change } as EdgeChange;
  const { states, histories } = planChange(named, record as unknown as EdgeRecord, [name], '');
  const history = (histories[name] ?? []).map((line) => `${line.color} ${line.sha}`);
  return { ...state, ...(({ color, sha, standby }) => ({ color, sha, standby }))(states[0] ?? state), history };
}

function switched(state: State, to: Color, sha: string, how: Pick<ColorChange, 'history' | 'rewrite'>): State {
  return { ...changed(state, { kind: 'color', from: state.color, to, sha, ...how }), mustName: false };
}

const standbyDisabled = (state: State): State => changed(state, { kind: 'stand-down' });

/** Where there is no standby, the edge has nothing to change. */
const disableStandby = (state: State): Row => ({
  step:
    state.standby === null
      ? /^(requestEdgeChange|(readEdge|renderConfig) of) stand-down$/
      : /^(requestEdgeChange|\w+ of) stand-down$/,
  left: [state],
});

/** Where nothing was ever deployed nobody is drained. */
const drain = (state: State, left: State): readonly Row[] =>
  state.history.length > 0 ? [{ step: /^drainColor$/, left: [left] }] : [];

function deploy({ sha, again }: Extract<Request, { kind: 'deploy' }>, before: State): Journey {
  const state = { ...before, mustName: true };
  if (isUnknown(sha)) return fails(state, /^pinRelease$/, 'artifact-not-found');
  if (state.sha === sha && heldOn(state, state.color) === sha && !again) {
    return { ...changesNothing(state, /^pinRelease$/), done: { ...state, mustName: false } };
  }
  const target = otherColor(state.color);
  const done = switched(state, target, sha, { history: 'push' });
  return replaceInactive(sha, state, done, holds({ ...done, mustName: true }, target, { sha }));
}

/**
 * What a deploy and a full rollback have in common.
 *
 * @param notSwitchedBack what is left where the switch can't be undone; null where nothing comes after the switch
 */
function replaceInactive(sha: string, before: State, done: State, notSwitchedBack: State | null): Journey {
  const target = otherColor(before.color);
  const disabled = standbyDisabled(before);
  const touched = holds(disabled, target, 'partial');
  // Instances that are not marked as failed look like a release that runs; no user notices.
  const notMarked = [touched, holds(disabled, target, { sha }), disabled];
  const undoSteps: readonly UndoStep[] = [{ step: /^markFailed$/, left: notMarked, outcome: 'failed' }];
  const switchBack = (left: State): UndoStep => ({
    step: /^(requestEdgeChange|\w+ of) switch-back$/,
    left: [left],
    outcome: 'needs-operator',
  });
  const isDeploy = notSwitchedBack !== null;
  return {
    rows: [
      { step: isDeploy ? /^pinRelease$/ : /^(planRollback|pinRelease)$/, left: [before] },
      { step: /^fetchArtifact \w+$/, left: [before] },
      disableStandby(before),
      ...drain(before, disabled),
      { step: /^recreateInstance \w+$/, left: [disabled, touched], undoSteps },
      ...(isDeploy ? [{ step: /^migrate \w+$/, left: [touched], undoSteps }] : []),
      {
        step: /^startInstance \w+$/,
        left: [touched],
        undoSteps,
        ...(isUnhealthy(sha) ? { fails: 'instance-unhealthy' } : {}),
      },
      { step: /^(waitUntilUpOnEdge|requestEdgeChange switch|\w+ of switch)$/, left: [touched], undoSteps },
      ...(isDeploy
        ? [{ step: /^watchSoak$/, left: [touched], undoSteps: [...undoSteps, switchBack(notSwitchedBack)] }]
        : []),
    ],
    done: holds(done, target, { sha }),
  };
}

const edgeSwitch = /^(planRollback|planSwitch|requestEdgeChange switch|\w+ of switch)$/;

function switchTo(color: Color, state: State): Journey {
  if (color === state.color) {
    return changesNothing(state, /^(planSwitch|(requestEdgeChange|(readEdge|renderConfig) of) switch)$/);
  }
  const sha = heldOn(state, color);
  const plan = planSwitch({ name, ...state }, linesOf(state), color, [sha]);
  if ('refused' in plan) return fails(state, /^plan/, sha ? 'switch-refused' : 'switch-refused|color-not-up');
  const done = switched(state, color, sha ?? '', { history: plan.history });
  return { rows: [{ step: edgeSwitch, left: [state] }], done };
}

function rollback({ to, full }: Extract<Request, { kind: 'rollback' }>, state: State): Journey {
  // The release that serves was never left: there is nothing to undo.
  if (!to && state.mustName) return { rows: [], done: state };
  const plan = planRollback({ name, ...state }, linesOf(state), to ?? null);
  if (!plan) return fails(state, /^plan/, 'nothing-to-roll-back-to');
  const { color, sha } = plan.to;
  if (sha === state.sha && color === state.color) return changesNothing(state, /^planRollback$/);
  const isInHistory = state.history.slice(1).includes(`${color} ${sha}`);
  if (isInHistory && !full && heldOn(state, color) === sha) {
    return { rows: [{ step: edgeSwitch, left: [state] }], done: switched(state, color, sha, { history: 'back' }) };
  }
  if (isUnknown(sha)) return fails(state, /^p/, 'artifact-not-found');
  const done = switched(state, otherColor(state.color), sha, { history: 'back', rewrite: true });
  return replaceInactive(sha, state, done, null);
}

function cleanup({ standby }: Extract<Request, { kind: 'cleanup' }>, state: State): Journey {
  const target = otherColor(state.color);
  const plan = /^planCleanup$/;
  if (state.held[target] === 'nothing' || (state.standby !== null && !standby)) return changesNothing(state, plan);
  const disabled = standbyDisabled(state);
  const done = holds(disabled, target, 'nothing');
  return {
    rows: [
      { step: plan, left: [state] },
      disableStandby(state),
      ...drain(state, disabled),
      { step: /^removeInstance \w+$/, left: [disabled, holds(disabled, target, 'partial'), done] },
    ],
    done,
  };
}
