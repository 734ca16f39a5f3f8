import { shortSha } from '../domain/names.js';
import type { OperationInput, OperationResult, SwitchRequest } from '../domain/operation.js';
import { beginOperation } from './operation.js';
import { plans } from './proxies.js';

/** Makes a color active that holds a release visitors were given before. */
export async function switchColor(input: OperationInput<SwitchRequest>): Promise<OperationResult> {
  const { environment, request } = input;
  const operation = beginOperation(input, 'switch', null, `bascule switch ${environment} ${request.color}`);
  return operation.run(async () => {
    const plan = await operation.saga.step('see what the color holds', plans.planSwitch, { environment, request });
    operation.from = plan.from;
    operation.goesTo(plan.to);
    const result = await operation.changeEdge(`switch to ${request.color}`, {
      kind: 'color',
      id: `${operation.owner}/switch`,
      operation: operation.id,
      environment,
      from: plan.from.color,
      to: plan.to.color,
      sha: plan.to.sha,
      history: plan.history,
      ...(request.repair ? { repair: true } : {}),
      ...(request.dryRun ? { dryRun: true } : {}),
    });
    const already = result.changed || request.dryRun ? '' : ' already; nothing done';
    const serves = `${environment} serves ${shortSha(plan.to.sha)} (${plan.to.color})${already}`;
    const would = `${environment} would serve ${shortSha(plan.to.sha)} (${plan.to.color})`;
    return { message: request.dryRun ? would : serves, changed: result.changed, diff: result.diff };
  });
}
