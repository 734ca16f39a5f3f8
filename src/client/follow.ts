import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { type OperationResult, type Progress, resultOfFailure } from '../domain/operation.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { isUnanswered } from './connection.js';
import { type EnvironmentName, readEnvironment, readProgress, readResult } from './operations.js';
import { watchWhile } from './watch.js';

/** What an operation does at the moment. */
export type Sight =
  | { readonly state: 'queued'; readonly behind: string }
  | { readonly state: 'running'; readonly progress: Pick<Progress, 'steps' | 'waiting' | 'until'> };

export interface FollowOptions {
  /** Called with what is seen, about three times a second. */
  readonly onSight: (sight: Sight) => void;
  /** Ends the following, not the operation. */
  readonly signal: AbortSignal;
}

/** How often the environment is asked whether an operation that waits has begun, and one that ran is recorded. */
const askEveryMs = { first: 20, last: 1_000 } as const;

/**
 * Waits for an operation's end and shows what it does meanwhile. A worker that is killed and started again is waited
 * for. Throws `unknown-operation`, `operation-lost` where it was known before, and the signal's reason.
 */
export async function followOperation(
  client: Client,
  name: EnvironmentName,
  operation: string,
  { onSight, signal }: FollowOptions,
): Promise<OperationResult> {
  let wasSeen = false;
  try {
    return await watchWhile(client, signal, {
      wait: () => waitForEnd(client, name, operation, signal),
      look: () => look(client, name, operation),
      show: (sight) => {
        if (!sight) return;
        wasSeen = true;
        onSight(sight);
      },
    });
  } catch (error) {
    signal.throwIfAborted();
    if (wasSeen && isBasculeError(error) && error.code === 'unknown-operation') {
      throw new BasculeError('operation-lost', { operation }, { cause: error });
    }
    throw error;
  }
}

/**
 * Asks by Queries, which leave nothing in a history: a deploy may wait a day for its approval, with many who wait for its
 * end. What runs is waited for at its own workflow, and the environment's word on it counts.
 */
async function waitForEnd(
  client: Client,
  name: EnvironmentName,
  operation: string,
  signal: AbortSignal,
): Promise<OperationResult> {
  let before: string | null = null;
  for (let pauseMs: number = askEveryMs.first; ; pauseMs = Math.min(pauseMs * 1.5, askEveryMs.last)) {
    const answer = await answerOf(client, name, operation);
    if (answer.state === 'ended') return answer.result;
    if (answer.state === 'unknown') return await resultOfWorkflow(client, operation);
    if (answer.state !== before) pauseMs = askEveryMs.first;
    before = answer.state;
    if (answer.state === 'running') await untilClosed(client, operation);
    await sleep(pauseMs, undefined, { signal });
  }
}

async function answerOf(client: Client, name: EnvironmentName, operation: string) {
  try {
    return await readResult(client, name, operation);
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return { state: 'unknown' } as const;
    if (!isUnanswered(error)) throw error;
    // That Temporal is gone throws here; else there is no worker at the moment.
    await client.workflowService.getSystemInfo({});
    return { state: 'unanswered' } as const;
  }
}

/** Waits until an operation's workflow has ended, however; not where it has not begun. */
async function untilClosed(client: Client, operation: string): Promise<void> {
  try {
    await client.workflow.getHandle(operation).result();
  } catch (error) {
    if (!(error instanceof WorkflowFailedError || error instanceof WorkflowNotFoundError)) throw error;
  }
}

/** An environment remembers its results for a day; the operation's own workflow for as long as Temporal keeps it. */
async function resultOfWorkflow(client: Client, operation: string): Promise<OperationResult> {
  try {
    return (await client.workflow.getHandle(operation).result()) as OperationResult;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw new BasculeError('unknown-operation', { operation });
    const failed = resultOfFailure(error);
    if (failed) return failed;
    throw error;
  }
}

async function look(client: Client, name: EnvironmentName, operation: string): Promise<Sight | null> {
  const progress = await readProgress(client, operation);
  if (progress) return { state: 'running', progress };
  const status = await readEnvironment(client, name);
  const isQueued = status?.queue.some((waiting) => waiting.id === operation) ?? false;
  return isQueued && status?.operation ? { state: 'queued', behind: status.operation.id } : null;
}
