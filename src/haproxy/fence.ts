import type { Claim, EdgeRecord, TakeBack } from '../domain/edge-change.js';
import { type Edge, runAct } from './edge.js';

/**
 * Claims the edge for a change that goes by `record`. The same owner gets its number back.
 *
 * @throws `edge-claimed` where somebody claimed since the record was made, and those of `runAct`
 */
export async function claimEdge(edge: Edge, change: { record: EdgeRecord; owner: string }): Promise<Claim> {
  const { owner } = change;
  const number = await runAct(edge, { name: 'claim', args: [change.record.claim ?? '', owner], owner });
  return { number: Number(number), owner };
}

/**
 * Claims the edge to take a change back: over the change's own claim, or over the one that it would have claimed from,
 * so that the change itself, should it wake, is refused from here on.
 *
 * @throws `edge-claimed` where another change has claimed, and those of `runAct`
 */
export async function claimTakeBack(edge: Edge, takeBack: TakeBack): Promise<Claim> {
  const owner = takeBack.undoOwner;
  const args = [takeBack.record.claim ?? '', takeBack.doOwner, owner];
  const number = await runAct(edge, { name: 'claim-undo', args, owner });
  return { number: Number(number), owner };
}
