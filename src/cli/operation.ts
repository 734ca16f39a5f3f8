import type { Client } from '@temporalio/client';
import { formatDuration } from '../config/units.js';
import { defaults } from '../domain/defaults.js';
import type { FailoverTestRequest } from '../domain/failover.js';
import { environmentWorkflowId, parseOperationId } from '../domain/names.js';
import type {
  Accepted,
  CleanupRequest,
  DeployRequest,
  OperationResult,
  RollbackRequest,
  SwitchRequest,
} from '../domain/operation.js';
import { BasculeError } from '../errors.js';
import { exitCodeOfResult } from './exit-codes.js';
import type { Invocation } from './invocation.js';
import { createProgressView } from './progress.js';
import { describeResult } from './result.js';

/** What is asked of an environment, and how its end is waited for. */
export type OperationRequest = { readonly environment: string } & Waiting &
  (
    | { readonly kind: 'deploy'; readonly request: DeployRequest }
    | { readonly kind: 'switch'; readonly request: SwitchRequest }
    | { readonly kind: 'rollback'; readonly request: RollbackRequest }
    | { readonly kind: 'cleanup'; readonly request: CleanupRequest }
    | { readonly kind: 'failover-test'; readonly request: FailoverTestRequest }
  );

export interface Waiting {
  readonly isDetached?: boolean;
  /** It only says what would change. */
  readonly isDryRun?: boolean;
  readonly timeoutMs?: number;
}

/** Asks for an operation, waits for its end and prints how it ended. */
export async function runOperation(invocation: Invocation, asked: OperationRequest): Promise<void> {
  const name = { project: await invocation.project(), environment: asked.environment };
  await invocation.withClient(async (client) => {
    const { request } = await import('../client/operations.js');
    const args = { ...asked.request, by: invocation.by };
    invocation.output.detail(
      `asks ${environmentWorkflowId(name.project, name.environment)}: ${asked.kind} ${JSON.stringify(args)}`,
    );
    const accepted = await request(client, name, asked.kind, args);
    invocation.output.detail(`accepted as ${accepted.operation}, a workflow of this id`);
    invocation.accepted = { operation: accepted.operation, environment: asked.environment };
    if (asked.isDetached) return answerAccepted(invocation, accepted);
    if (accepted.joined) invocation.output.note(`joins ${accepted.operation}, which was asked for already`);
    await followToEnd(invocation, client, accepted.operation, asked);
  });
}

/** Says what a switch with --repair is about to change on the edge, before it does. */
export async function showRepair(invocation: Invocation, environment: string, request: SwitchRequest): Promise<void> {
  const name = { project: await invocation.project(), environment };
  await invocation.withClient(async (client) => {
    const operations = await import('../client/operations.js');
    const { followOperation } = await import('../client/follow.js');
    const args = { ...request, dryRun: true, by: invocation.by };
    const { operation } = await operations.request(client, name, 'switch', args);
    const signal = AbortSignal.timeout(defaults.commandTimeoutMs);
    const { diff = '' } = await followOperation(client, name, operation, { signal, onSight: () => undefined });
    if (diff !== '') invocation.output.note(diff.trimEnd());
  });
}

/** Shows what an accepted operation does, and prints how it ended. */
export async function followToEnd(
  invocation: Invocation,
  client: Client,
  operation: string,
  { timeoutMs = defaults.commandTimeoutMs, isDryRun = false }: Waiting,
): Promise<void> {
  const { followOperation } = await import('../client/follow.js');
  const name = parseOperationId(operation);
  if (!name) throw new BasculeError('unknown-operation', { operation });
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    timeout.abort(new BasculeError('timeout-passed', { operation, timeout: formatDuration(timeoutMs) }));
  }, timeoutMs);
  await invocation.versionCompared;
  const view = createProgressView(invocation.output, name.environment);
  let result: OperationResult | null = null;
  try {
    result = await followOperation(client, name, operation, {
      onSight: (sight) => view.show(sight),
      signal: timeout.signal,
    });
  } finally {
    clearTimeout(timer);
    view.finish(result?.steps ?? []);
  }
  invocation.exitCode = exitCodeOfResult(result);
  invocation.output.answer(result, describeResult(invocation.output.out, result, isDryRun));
}

function answerAccepted({ output }: Invocation, { operation, joined, position }: Accepted): void {
  output.answer(
    { schemaVersion: 1, operation, outcome: 'accepted', joined, position },
    `${operation}${joined ? ' (asked for already)' : ''}\n→ bascule follow ${operation}`,
  );
}
