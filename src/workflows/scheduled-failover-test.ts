import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';
import type { FailoverTestRequest } from '../domain/failover.js';
import type { OperationResult } from '../domain/operation.js';
import { failover } from './proxies.js';

/** What a Schedule starts: which component of which environment is tested. */
export type ScheduledFailoverTest = Omit<FailoverTestRequest, 'requestId'> & { readonly environment: string };

/**
 * A failover test that nobody waits for, as a Schedule has it: it is asked of the environment, which keeps operations in
 * order. Fails where the test does, so that the Schedule's runs show it.
 */
export async function scheduledFailoverTest({
  environment,
  ...asked
}: ScheduledFailoverTest): Promise<OperationResult> {
  const { workflowId, runId } = workflowInfo();
  const request = { by: workflowId, ...asked, requestId: runId };
  const result = await failover.runFailoverTest.executeWithOptions({ summary: `test ${asked.component}` }, [
    { environment, request },
  ]);
  if (result.outcome === 'succeeded') return result;
  throw ApplicationFailure.create({
    type: result.code ?? result.outcome,
    message: `${result.operation}: ${result.message}`,
    nonRetryable: true,
    details: [{ remedy: result.remedy }],
  });
}
