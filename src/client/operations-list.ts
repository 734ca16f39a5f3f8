import { type Client, type WorkflowExecutionInfo, WorkflowFailedError } from '@temporalio/client';
import { type OperationKind, operationKinds, parseOperationId } from '../domain/names.js';
import { type OperationResult, resultOfFailure } from '../domain/operation.js';
import { readRetention } from './namespace.js';
import type { EnvironmentName } from './operations.js';

/** An operation as Temporal keeps it. */
export interface PastOperation {
  readonly operation: string;
  readonly kind: OperationKind;
  readonly sha: string | null;
  readonly startedAt: string;
  /** Null while it runs. */
  readonly endedAt: string | null;
  readonly by: string | null;
  readonly why: string | null;
  /** `terminated` and the like: somebody ended its workflow in Temporal. */
  readonly outcome: OperationResult['outcome'] | 'running' | 'terminated' | 'timed-out' | 'unknown';
  readonly code: string | null;
  readonly message: string | null;
}

export interface PastOperations {
  /** Newest first. */
  readonly operations: readonly PastOperation[];
  /** How long Temporal keeps what has ended. */
  readonly keptDays: number | null;
}

const endings: Partial<Record<WorkflowExecutionInfo['status']['name'], PastOperation['outcome']>> = {
  RUNNING: 'running',
  TERMINATED: 'terminated',
  TIMED_OUT: 'timed-out',
};

/** How many results are read at the same time. */
const atOnce = 10;

/** Every operation of an environment that began and that Temporal still keeps; asks no worker. */
export async function listOperations(
  client: Client,
  { project, environment }: EnvironmentName,
): Promise<PastOperations> {
  const kinds = operationKinds.map((kind) => `"${kind}"`).join(', ');
  const query = `BasculeEnvironment = "${environment}" AND BasculeKind IN (${kinds})`;
  const all: { readonly found: WorkflowExecutionInfo; readonly kind: OperationKind }[] = [];
  for await (const found of client.workflow.list({ query })) {
    const id = parseOperationId(found.workflowId);
    if (id?.project === project && id.environment === environment) all.push({ found, kind: id.kind });
  }
  const operations: PastOperation[] = [];
  for (let begin = 0; begin < all.length; begin += atOnce) {
    operations.push(...(await Promise.all(all.slice(begin, begin + atOnce).map((one) => describe(client, one)))));
  }
  return {
    operations: operations.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt) || numberOf(b) - numberOf(a)),
    keptDays: await keptDays(client),
  };
}

async function describe(
  client: Client,
  { found, kind }: { readonly found: WorkflowExecutionInfo; readonly kind: OperationKind },
): Promise<PastOperation> {
  const { workflowId: operation, runId, startTime, closeTime, status, memo } = found;
  const result = status.name === 'RUNNING' ? null : await resultOf(client, operation, runId);
  const { by = null, why = null, sha = null } = (memo ?? {}) as Partial<Record<'by' | 'why' | 'sha', string | null>>;
  return {
    operation,
    kind,
    sha: result?.to.sha ?? result?.sha ?? sha,
    startedAt: startTime.toISOString(),
    endedAt: closeTime?.toISOString() ?? null,
    ...{ by, why },
    outcome: result?.outcome ?? endings[status.name] ?? 'unknown',
    code: result?.code ?? null,
    message: result?.message ?? null,
  };
}

/** Null where it ended without a result: terminated, or by a failure of Temporal's. */
async function resultOf(client: Client, operation: string, runId: string): Promise<OperationResult | null> {
  try {
    return (await client.workflow.getHandle(operation, runId).result()) as OperationResult;
  } catch (error) {
    if (error instanceof WorkflowFailedError) return resultOfFailure(error);
    throw error;
  }
}

async function keptDays(client: Client): Promise<number | null> {
  const ms = await readRetention(client);
  return ms > 0 ? Math.round(ms / 86_400_000) : null;
}

const numberOf = ({ operation }: PastOperation): number => parseOperationId(operation)?.number ?? 0;
