import type { Claim, EdgeRecord, TakeBack } from '../domain/edge-change.js';
import type { EdgePlan } from '../domain/edge-plan.js';
import type { EnvironmentState } from '../domain/edge-state.js';
import { formatHistory } from '../domain/history.js';
import { claimArguments, type Edge, runAct } from './edge.js';
import { claimTakeBack } from './fence.js';

/**
 * Writes color and history file of every environment, whole; an environment that the plan drops loses both.
 *
 * @throws `edge-claimed` and those of `runAct`
 */
export async function recordColors(
  edge: Edge,
  change: { claim: Claim; record: EdgeRecord; plan: EdgePlan },
): Promise<void> {
  await writeColors(edge, change.claim, change.plan, change.record.states);
}

/**
 * Takes recordColors back: claims, and writes what readEdge recorded. An environment that the change added has no
 * files yet, so none is left behind.
 */
export async function restoreColors(edge: Edge, takeBack: TakeBack): Promise<Claim> {
  const claim = await claimTakeBack(edge, takeBack);
  await writeColors(edge, claim, takeBack.record, []);
  return claim;
}

/** Content of the color file, null where there shall be none: a missing one means blue. */
export function colorFileOf(state: EnvironmentState): string | null {
  return state.sha === null && state.color === 'blue' ? null : `${state.color}\n`;
}

async function writeColors(
  edge: Edge,
  claim: Claim,
  wanted: EdgePlan,
  others: readonly EnvironmentState[],
): Promise<void> {
  const dropped = others.filter((other) => !wanted.states.some((state) => state.name === other.name));
  const input = [
    ...wanted.states.map(
      (state) =>
        `= ${state.name} ${colorFileOf(state)?.trim() ?? 'none'}\n${formatHistory(wanted.histories[state.name] ?? [])}`,
    ),
    ...dropped.map((state) => `= ${state.name} none\n`),
  ].join('');
  await runAct(edge, { name: 'record', args: claimArguments(claim), owner: claim.owner, input });
}
