import { shortSha } from '../domain/names.js';
import type { OperationResult, RollbackInput } from '../domain/operation.js';
import { deployRelease } from './deploy.js';
import { beginOperation, type Ending, type Operation } from './operation.js';
import { plans } from './proxies.js';

/**
 * Gives visitors an earlier release: fast, by a switch, where its instances still run and are UP on the edge; else
 * full, by deploying it again. It never waits for approval and does not soak.
 */
export async function rollback(input: RollbackInput): Promise<OperationResult> {
  const { environment, request, tookBack, repeats } = input;
  const operation = beginOperation(input, 'rollback', request.to ?? null, `bascule rollback ${environment}`);
  return operation.run(async () => {
    if (tookBack) {
      const { from, generation } = tookBack;
      operation.from = tookBack.to;
      operation.goesTo(from);
      operation.generation = generation;
      const serves = from.color === null && from.sha === null ? 'what it served before' : shortSha(from.sha);
      const message = `${tookBack.operation} was stopped and taken back; ${environment} serves ${serves}`;
      return { message, changed: false };
    }
    if (repeats) return alreadyBack(operation, repeats);
    return rollBack(operation, input);
  });
}

/** Typed twice, it would go back another release, which nobody wants who asks again within a minute. */
function alreadyBack(operation: Operation, { operation: earlier, to }: OperationResult): Ending {
  operation.from = to;
  operation.goesTo(to);
  const serves = to.sha === null ? 'what it served before' : shortSha(to.sha);
  return {
    message: `already back: ${earlier} has just given ${operation.environment} ${serves}; nothing done`,
    changed: false,
  };
}

async function rollBack(operation: Operation, { environment, request }: RollbackInput): Promise<Ending> {
  const plan = await operation.saga.step('find the release to go back to', plans.planRollback, {
    environment,
    request,
  });
  operation.from = plan.from;
  operation.goesTo(plan.to);
  if (plan.to.sha === plan.from.sha && plan.to.color === plan.from.color) {
    return { message: `${environment} serves ${shortSha(plan.to.sha)} already; nothing done`, changed: false };
  }
  const [from, to] = [plan.from.color, plan.to.color];
  if (!plan.isFast || from === null || to === null)
    return deployRelease(operation, { sha: plan.to.sha }, { isRollback: true });

  await operation.changeEdge(`switch back to ${to}`, {
    kind: 'color',
    id: `${operation.owner}/switch`,
    operation: operation.id,
    environment,
    from,
    to,
    sha: plan.to.sha,
    history: 'back',
    urgent: true,
  });
  return { message: `${environment} serves ${shortSha(plan.to.sha)} (${to}) again`, changed: true };
}
