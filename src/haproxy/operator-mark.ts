import type { Claim } from '../domain/edge-change.js';
import { claimArguments, type Edge, runAct } from './edge.js';

/** Writes `<state>/needs-operator`: from then on the edge refuses every change but a repair. */
export async function markNeedsOperator(edge: Edge, text: string): Promise<void> {
  await runAct(edge, { name: 'mark-needs-operator', args: [], owner: 'needs-operator', input: `${text.trim()}\n` });
}

/** Removes the mark, after a repair that succeeded. Throws `edge-claimed` and those of `runAct`. */
export async function clearNeedsOperator(edge: Edge, claim: Claim): Promise<void> {
  await runAct(edge, { name: 'clear-needs-operator', args: claimArguments(claim), owner: claim.owner });
}
