import type { Context } from '@temporalio/activity';
import type {
  ActivityExecuteInput,
  ActivityInboundCallsInterceptor,
  ActivityInterceptors,
  Next,
} from '@temporalio/worker';
import { workflowTypes } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { asFailure } from './as-activities.js';

/** What is known of where an activity was asked for. */
type Asked = Pick<Context['info'], 'activityType' | 'inWorkflow' | 'namespace' | 'workflowNamespace' | 'workflowType'>;

/**
 * Lets activities run in the project's own workflows alone. Whoever reaches Temporal may start one by itself, or a
 * workflow of another program that asks for it, with any input.
 */
export const onlyInOwnWorkflows = ({ info }: Context): ActivityInterceptors => ({
  inbound: { execute: (input, next) => executeInOwn(info, input, next) },
});

async function executeInOwn(
  info: Asked,
  input: ActivityExecuteInput,
  next: Next<ActivityInboundCallsInterceptor, 'execute'>,
): Promise<unknown> {
  try {
    assertInOwnWorkflow(info);
  } catch (error) {
    throw asFailure(error);
  }
  return await next(input);
}

/** Throws `activity-outside-workflow`. */
export function assertInOwnWorkflow(asked: Asked): void {
  const { activityType: activity, inWorkflow, namespace, workflowNamespace, workflowType } = asked;
  const isOwn = workflowType !== undefined && workflowTypes.includes(workflowType) && workflowNamespace === namespace;
  if (inWorkflow && isOwn) return;
  const workflow = inWorkflow ? (workflowType ?? null) : null;
  throw new BasculeError('activity-outside-workflow', { activity, workflow });
}
