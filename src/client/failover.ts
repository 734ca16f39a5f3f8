import type { Client } from '@temporalio/client';
import type { FailoverTestRequest } from '../domain/failover.js';
import type { OperationResult } from '../domain/operation.js';
import { followOperation } from './follow.js';
import { askEnvironment, type EnvironmentName } from './operations.js';

/** Asks an environment for a failover test and waits for its end. Throws as `askEnvironment` and `followOperation`. */
export async function runFailoverTest(
  client: Client,
  name: EnvironmentName,
  asked: FailoverTestRequest,
  signal: AbortSignal,
): Promise<OperationResult> {
  const { operation } = await askEnvironment(client, name, 'failover-test', asked);
  return await followOperation(client, name, operation, { signal, onSight: () => undefined });
}
