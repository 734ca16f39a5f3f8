import type { Claim, TakeBack } from '../domain/edge-change.js';
import { claimArguments, type Edge, runAct } from './edge.js';

/**
 * Writes `<state>/needs-operator`: from then on the edge refuses every change but a repair.
 *
 * @throws `edge-claimed` where another change has claimed since, as a repair does, and those of `runAct`
 */
export async function markNeedsOperator(
  edge: Edge,
  { text, takeBack }: { text: string; takeBack: TakeBack },
): Promise<void> {
  const { record, doOwner, undoOwner } = takeBack;
  await runAct(edge, {
    name: 'mark-needs-operator',
    args: [record.claim ?? '', doOwner, undoOwner],
    owner: undoOwner,
    input: `${text.trim()}\n`,
  });
}

/** Removes the mark, after a repair that succeeded. Throws `edge-claimed` and those of `runAct`. */
export async function clearNeedsOperator(edge: Edge, claim: Claim): Promise<void> {
  await runAct(edge, { name: 'clear-needs-operator', args: claimArguments(claim), owner: claim.owner });
}
