import { ApplicationFailure, workflowInfo } from '@temporalio/workflow';

/** An operation has its environment or edge as parent, which keeps the order; started by hand it refuses. */
export function parentRequired(command: string): void {
  const { parent, workflowType } = workflowInfo();
  if (parent) return;
  throw ApplicationFailure.create({
    type: 'started-by-hand',
    message: `${workflowType} is started by its environment or edge alone, which keep operations in order. Start it with: ${command}`,
    nonRetryable: true,
    details: [{ remedy: command }],
  });
}
