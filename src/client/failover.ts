import type { Client } from '@temporalio/client';
import type { FailoverTestRequest } from '../domain/failover.js';
import type { OperationResult } from '../domain/operation.js';
import { followOperation } from './follow.js';
import { type EnvironmentName, request } from './operations.js';

/** Asks an environment for a failover test and waits for its end. Throws as `request` and `followOperation`. */
export async function runFailoverTest(
  client: Client,
  name: EnvironmentName,
  asked: FailoverTestRequest,
  signal: AbortSignal,
): Promise<OperationResult> {
  const { operation } = await request(client, name, 'failover-test', asked);
  return await followOperation(client, name, operation, { signal, onSight: () => undefined });
}
