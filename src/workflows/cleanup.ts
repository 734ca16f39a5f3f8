import { patched } from '@temporalio/workflow';
import { shortSha } from '../domain/names.js';
import type {
  CleanupPlan,
  CleanupRequest,
  OperationInput,
  OperationResult,
  SideBySideCleanupPlan,
} from '../domain/operation.js';
import { drainColor } from './drain.js';
import { beginOperation, type Ending, type Operation } from './operation.js';
import { instances, plans } from './proxies.js';
import { inParallel } from './saga.js';

/**
 * Removes what the inactive color holds: failed and stopped instances and releases that were taken back, and the
 * standby where that is asked for. Nothing of it is taken back: what is removed is named.
 */
export async function cleanupFailed(input: OperationInput<CleanupRequest>): Promise<OperationResult> {
  const operation = beginOperation(input, 'cleanup', null, `bascule cleanup ${input.environment}`);
  return operation.run(() => cleanUp(operation, input.request));
}

async function cleanUp(operation: Operation, request: CleanupRequest): Promise<Ending> {
  const { id, environment, owner, saga } = operation;

  // 1. What the inactive color holds.
  const plan = await saga.step('see what is left', plans.planCleanup, { environment, request });
  operation.from = plan.active;
  operation.to = plan.active;
  if (plan.instances.length === 0) return { message: nothingToDo(environment, plan), changed: false };

  // Side by side nobody is led to what failed: it stays drained from the deploy on that left it.
  if (!('topology' in plan)) {
    // 2. Stand down: nobody falls back to it any more.
    const standDown = await operation.changeEdge(`stand down ${plan.target}`, {
      kind: 'stand-down',
      id: `${owner}/stand-down`,
      operation: id,
      environment,
    });
    if (plan.standby !== null) operation.lost.push(`the standby ${shortSha(plan.standby)} on ${plan.target}`);

    // 3. Drain: no old HAProxy worker can send a visitor there.
    await drainColor(operation, plan, standDown.reloadedAt);
  }

  // 4. Remove. A worker of a cleanup that was stopped may wake later: it removes nothing more. Histories from before end
  // without that.
  if (patched('disown-what-is-not-removed')) {
    saga.takeBackWith(
      'leave what is not removed',
      instances.disownInstances,
      { owner, environment, plan },
      ({ message }) =>
        operation.warnings.push(
          `what is left${plan.target ? ` on ${plan.target}` : ''} still belongs to this cleanup (${message}): a worker that was stopped may remove it when it wakes; the next deploy or \`bascule cleanup ${environment}\` takes it over`,
        ),
    );
  }
  await inParallel(
    plan.instances.map((unused) => async () => {
      await saga.step(`remove ${unused.instance}`, instances.removeInstance, { owner, environment, plan, unused });
      operation.lost.push(`what ${unused.instance} held`);
    }),
  );

  // It is what was asked for.
  operation.lost.length = 0;
  return {
    message: `${environment}: removed ${plan.instances.map(({ instance }) => instance).join(', ')}`,
    changed: true,
  };
}

function nothingToDo(environment: string, plan: CleanupPlan | SideBySideCleanupPlan): string {
  if ('topology' in plan || !plan.isStandbyKept) return `${environment} has nothing to clean up`;
  return `${environment} has nothing to clean up but its standby ${shortSha(plan.standby)} (${plan.target}), which --standby removes`;
}
