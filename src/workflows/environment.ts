import { TypedSearchAttributes } from '@temporalio/common';
import {
  allHandlersFinished,
  type ChildWorkflowHandle,
  condition,
  continueAsNew,
  ParentClosePolicy,
  patched,
  setCurrentDetails,
  setHandler,
  startChild,
  type Workflow,
  workflowInfo,
} from '@temporalio/workflow';
import { described, EnvironmentBook, isToTheSame } from '../domain/environment-book.js';
import {
  type EnvironmentState,
  emptyEnvironment,
  isSameDeploy,
  leavesReleases,
  type QueuedOperation,
  shaOf,
} from '../domain/environment-queue.js';
import { operationId, parseEnvironmentWorkflowId, shortSha, workflowTypeOf } from '../domain/names.js';
import type {
  Accepted,
  CleanupRequest,
  DeployRequest,
  OperationAnswer,
  OperationResult,
  RollbackRequest,
  SteerRequest,
  StopRequest,
} from '../domain/operation.js';
import { resultOfFailure } from '../domain/operation.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import { BasculeError } from '../errors.js';
import {
  checkCleanup,
  checkDeploy,
  checkFailoverTest,
  checkFields,
  checkKnownFields,
  checkRollbackTo,
  checkSwitch,
  checkWait,
  refusal,
  refusalOf,
} from './environment-checks.js';
import { describeFailure } from './failure.js';
import { markHistory } from './history-mark.js';
import {
  abortSignal,
  abortUpdate,
  approvedSignal,
  approveSignal,
  approveUpdate,
  cleanupUpdate,
  deployUpdate,
  environmentStatusQuery,
  failoverTestUpdate,
  resultQuery,
  rollbackSignal,
  rollbackUpdate,
  stopSignal,
  switchUpdate,
  takingBackSignal,
  waitUpdate,
} from './messages.js';
import { environments, environmentsBefore } from './proxies.js';
import { describeBySearchAttributes, searchAttributes } from './search-attributes.js';

/** Temporal allows few Updates in flight: `wait` answers after this long, and the caller asks again. */
const waitMs = 20_000;

/** Of the ten Updates that Temporal lets be in flight these may wait: an abort shall not have to stand behind them. */
const waitsAtOnce = 5;

/** Of the 2000 Updates that Temporal takes in one run; the others are for who approves, aborts or rolls back. */
const requestsInARun = 500;

interface Running {
  readonly operation: QueuedOperation;
  /** Null until it has started: what is said to it before is forwarded then. */
  child: ChildWorkflowHandle<Workflow> | null;
  stop: StopRequest | null;
  approval: SteerRequest | null;
  isBeingTakenBack: boolean;
}

/**
 * One environment: it takes requests and runs one operation at a time. A rollback goes first; at most one deploy waits.
 * Lives forever, and needs no start argument: its id says all.
 */
export async function environment(carried: EnvironmentState = emptyEnvironment): Promise<void> {
  const names = parseEnvironmentWorkflowId(workflowInfo().workflowId);
  if (!names) throw refusal('usage', "an environment's id is <project>/environment/<environment>");
  const { project, environment: name } = names;
  describeBySearchAttributes({ environment: name, kind: 'environment' });

  const book = new EnvironmentBook(name, carried, () => Date.now());
  let running: Running | null = null;
  let isUnknown = false;
  let isHandingOver = false;
  let dropped: string | null = null;
  let waits = 0;
  let requests = 0;

  // What is asked
  setHandler(
    deployUpdate,
    async (request) => {
      requests += 1;
      await refuseUnknown();
      // A sha typed by hand may be in upper case.
      return acceptDeploy({ ...request, sha: request.sha.toLowerCase() });
    },
    {
      validator: (request) => {
        checkDeploy(request);
        refuseOneMore();
      },
    },
  );
  setHandler(
    switchUpdate,
    async (request) => {
      requests += 1;
      await refuseUnknown();
      return accept('switch', request);
    },
    {
      validator: (request) => {
        checkSwitch(request);
        refuseOneMore();
      },
    },
  );
  setHandler(
    rollbackUpdate,
    async (request = {}) => {
      await refuseUnknown();
      return acceptRollback(request);
    },
    {
      validator: (request = {}) => {
        checkKnownFields('rollback', request);
        refuseRollback(request);
      },
    },
  );
  setHandler(
    cleanupUpdate,
    async (request = {}) => {
      requests += 1;
      await refuseUnknown();
      return acceptCleanup(request);
    },
    {
      validator: (request = {}) => {
        checkCleanup(request);
        refuseOneMore();
      },
    },
  );
  setHandler(
    failoverTestUpdate,
    async (request) => {
      requests += 1;
      await refuseUnknown();
      return accept('failover-test', request);
    },
    {
      validator: (request) => {
        checkFailoverTest(request);
        refuseOneMore();
      },
    },
  );
  const steering = {
    validator: (request: SteerRequest = {}) => {
      checkKnownFields('steer', request);
      checkSteer(request);
    },
  };
  setHandler(approveUpdate, (request = {}) => approve(request), steering);
  setHandler(abortUpdate, (request = {}) => stop(request), steering);
  const wait = async ({ operation }: { operation: string }): Promise<OperationAnswer> => {
    requests += 1;
    waits += 1;
    // Whoever waits would keep this run from handing over to the next: he is answered and asks again.
    await condition(() => isHandingOver || !['running', 'queued'].includes(answer(operation).state), waitMs);
    waits -= 1;
    return answer(operation);
  };
  setHandler(waitUpdate, wait, {
    validator: (request) => {
      checkWait(request);
      refuseOneMore();
      if (waits >= waitsAtOnce)
        throw refusalOf(new BasculeError('too-many-wait', { operation: request.operation, environment: name, waits }));
    },
  });
  setHandler(resultQuery, ({ operation }) => answer(operation));
  setHandler(environmentStatusQuery, () => ({
    environment: name,
    operation: running && described(running.operation),
    queue: book.state.queue.map(described),
    last: book.state.last,
    rollbackRefused: running && !leavesReleases(running.operation) ? null : book.state.failedDeploy,
  }));

  // The same from Temporal's UI. What makes no sense now is dropped and said, never kept for a later operation.
  setHandler(rollbackSignal, (request = {}) =>
    orDrop('rollback', () => {
      // Histories from before hold what came of it while a cleanup ran.
      refuseRollback(request, patched('rollback-while-cleaning'));
      return acceptRollback(request);
    }),
  );
  setHandler(approveSignal, (request = {}) =>
    orDrop('approve', () => {
      checkSteer(request);
      return approve(request);
    }),
  );
  setHandler(abortSignal, (request = {}) =>
    orDrop('abort', () => {
      checkSteer(request);
      return stop(request);
    }),
  );
  setHandler(takingBackSignal, ({ operation }) => {
    if (running?.operation.id === operation) running.isBeingTakenBack = true;
    markHistory(`being taken back: ${operation}`);
  });

  while (!workflowInfo().continueAsNewSuggested) {
    show();
    await condition(() => book.state.queue.length > 0 || isUnknown || workflowInfo().continueAsNewSuggested);
    const next = book.dequeue();
    if (!next) break;
    running = { operation: next, child: null, stop: null, approval: null, isBeingTakenBack: false };
    show();
    const result = await runOperation(running);
    running = null;
    book.remember(next, result);
    markHistory('idle');
  }

  isHandingOver = true;
  await condition(allHandlersFinished);
  if (isUnknown && book.state.number === 0) return;
  await continueAsNew<typeof environment>(book.handedOver());

  /** Runs one operation as a child; a stopped deploy's result is handed to the rollback that stopped it. */
  async function runOperation(current: Running): Promise<OperationResult> {
    const { operation } = current;
    const tookBack = operation.kind === 'rollback' && !operation.request.to ? book.takenBack : null;
    const repeats = operation.kind === 'rollback' ? book.repeatedRollback(operation.request) : null;
    try {
      const child = await startChild<Workflow>(workflowTypeOf(operation.kind), {
        workflowId: operation.id,
        args: [
          {
            project,
            environment: name,
            operation: operation.id,
            request: operation.request,
            ...(operation.kind === 'rollback' ? { tookBack, repeats } : {}),
          },
        ],
        // Terminating the environment leaves a running operation to its end.
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowTaskTimeout: workflowTaskTimeoutMs,
        staticSummary: `${operation.kind} ${name} ${shortSha(shaOf(operation))}`,
        // For `bascule history --all`, which reads no histories.
        memo: { by: operation.request.by ?? null, why: operation.request.why ?? null, sha: shaOf(operation) },
        typedSearchAttributes: new TypedSearchAttributes([{ key: searchAttributes.environment, value: name }]),
      });
      current.child = child;
      markHistory(`running: ${operation.id}`);
      await forwardStop(current);
      await forwardApproval(current);
      return (await child.result()) as OperationResult;
    } catch (error) {
      const failed = resultOfFailure(error);
      if (failed) return failed;
      const failure = describeFailure(error);
      return {
        ...book.neverBegan(operation, ''),
        began: true,
        outcome: 'needs-operator',
        code: failure.code,
        message: `the operation ended without an answer: ${failure.message}`,
        remedy: 'See what runs with `bascule status`.',
      };
    }
  }

  function acceptDeploy(request: DeployRequest): Accepted {
    const known = book.earlierOperation(request);
    if (known) return accepted(known, true);
    const isSame = (other: QueuedOperation) => other.kind === 'deploy' && isSameDeploy(other.request, request);
    const same = joinable(isSame, (all) => {
      const first = all.find(isSame);
      return first && !isEnding(first) ? first : undefined;
    });
    return same ? join(same.id, request) : accept('deploy', request);
  }

  function acceptRollback(request: RollbackRequest): Accepted {
    const known = book.earlierOperation(request);
    if (known) return accepted(known, true);
    const isSame = (other: QueuedOperation) =>
      other.kind === 'rollback' && isToTheSame(other.request, request) && !!other.request.full === !!request.full;
    const same = joinable(isSame, (all) => {
      const first = all.find((other) => other.kind === 'rollback');
      return first?.kind === 'rollback' && isToTheSame(first.request, request) ? first : undefined;
    });
    if (same) return join(same.id, request);
    if (running?.operation.kind === 'deploy') {
      void stopRunning(running, { code: 'rolled-back', by: request.by ?? null, why: request.why ?? null });
    } else if (running && leavesReleases(running.operation)) {
      void stopRunning(running, { code: 'aborted', by: request.by ?? null, why: 'a rollback goes first' });
    }
    return accept('rollback', request);
  }

  function acceptCleanup(request: CleanupRequest): Accepted {
    const known = book.earlierOperation(request);
    if (known) return accepted(known, true);
    const isSame = (other: QueuedOperation) =>
      other.kind === 'cleanup' && !!other.request.standby === !!request.standby;
    const same = joinable(isSame, (all) => {
      const first = all.find(isSame);
      return first && !(first === running?.operation && running.stop) ? first : undefined;
    });
    return same ? join(same.id, request) : accept('cleanup', request);
  }

  /**
   * What a request for the same joins: none that is stopped, or being taken back.
   *
   * @param asBefore what it joined before 'join-what-goes-on': one that was ending, or none where one that ended hid it
   */
  function joinable(
    isSame: (operation: QueuedOperation) => boolean,
    asBefore: (all: readonly QueuedOperation[]) => QueuedOperation | undefined,
  ): QueuedOperation | undefined {
    const all = [...(running ? [running.operation] : []), ...book.state.queue];
    const goesOn = all.find((operation) => isSame(operation) && !isEnding(operation));
    const before = asBefore(all);
    return goesOn === before || patched('join-what-goes-on') ? goesOn : before;
  }

  function isEnding(operation: QueuedOperation): boolean {
    return operation === running?.operation && (running.stop !== null || running.isBeingTakenBack);
  }

  function accept(kind: QueuedOperation['kind'], request: QueuedOperation['request']): Accepted {
    const known = book.earlierOperation(request);
    if (known) return accepted(known, true);
    const id = operationId(project, name, kind, book.nextNumber());
    book.rememberRequest(request, id);
    book.enqueue({ id, kind, request } as QueuedOperation);
    dropped = null;
    show();
    return accepted(id, false);
  }

  function join(operation: string, request: QueuedOperation['request']): Accepted {
    book.rememberRequest(request, operation);
    return accepted(operation, true);
  }

  function accepted(operation: string, joined: boolean): Accepted {
    return { operation, joined, position: positionOf(operation) };
  }

  /** How many operations come before it. */
  function positionOf(operation: string): number {
    const index = book.state.queue.findIndex((other) => other.id === operation);
    return index < 0 ? 0 : index + (running ? 1 : 0);
  }

  async function approve(request: SteerRequest): Promise<Accepted> {
    const target = steered(request);
    if (target.approval) return { ...accepted(target.operation.id, true), already: true };
    target.approval = request;
    await forwardApproval(target);
    return accepted(target.operation.id, true);
  }

  async function forwardApproval(target: Running): Promise<void> {
    if (!target.approval || !target.child) return;
    try {
      await target.child.signal(approvedSignal, target.approval);
    } catch {
      // It ended in the meantime: its result says how.
    }
  }

  async function stop(request: SteerRequest): Promise<Accepted> {
    const waiting = book.state.queue.find((other) => other.id === request.operation);
    if (waiting) {
      book.removeFromQueue(waiting);
      show();
      return accepted(waiting.id, true);
    }
    const target = steered(request);
    if (target.stop) return { ...accepted(target.operation.id, true), already: true };
    await stopRunning(target, { code: 'aborted', by: request.by ?? null, why: request.why ?? null });
    return accepted(target.operation.id, true);
  }

  async function stopRunning(target: Running, request: StopRequest): Promise<void> {
    target.stop ??= request;
    await forwardStop(target);
  }

  async function forwardStop(target: Running): Promise<void> {
    if (!target.stop || !target.child) return;
    try {
      await target.child.signal(stopSignal, target.stop);
    } catch {
      // It ended in the meantime: its result says how.
    }
  }

  function steered(request: SteerRequest): Running {
    if (running && (!request.operation || request.operation === running.operation.id)) return running;
    throw refusal('nothing-to-steer', nothingToSteer(request), `\`bascule status ${name}\` shows what runs and waits.`);
  }

  function nothingToSteer(request: SteerRequest): string {
    const { last } = book.state;
    const ended = last ? `; ${last.operation} ended as ${last.outcome}${last.code ? ` (${last.code})` : ''}` : '';
    const where = request.operation ? '' : ` in ${name}`;
    const runs = running ? `${running.operation.id} runs${where}` : `nothing runs${where}${ended}`;
    return request.operation ? `${request.operation} does not run in ${name}: ${runs}` : runs;
  }

  function checkSteer(request: SteerRequest): void {
    checkFields(request);
    const isWaiting = book.state.queue.some((other) => other.id === request.operation);
    if (!isWaiting) steered(request);
  }

  /** Each is in the history, which ends with the operation that runs. */
  function refuseOneMore(): void {
    if (!running || requests < requestsInARun) return;
    throw refusalOf(
      new BasculeError('too-many-requests', { operation: running.operation.id, environment: name, requests }),
    );
  }

  /** @param isCleanupSeen whether it counts that what runs changes nothing of what is served, as a cleanup does */
  function refuseRollback(request: RollbackRequest, isCleanupSeen = true): void {
    checkFields(request);
    checkRollbackTo(request.to);
    const { failedDeploy } = book.state;
    const isCleaning = isCleanupSeen && !!running && leavesReleases(running.operation);
    if ((running && !isCleaning) || request.to || !failedDeploy) return;
    if (book.earlierOperation(request) || book.repeatedRollback(request)) return;
    throw refusal('rollback-refused', failedDeploy, `bascule rollback ${name} --to SHA`);
  }

  async function refuseUnknown(): Promise<void> {
    if (book.state.number > 0) return;
    const { knownEnvironments } = patched('known-by-activity') ? environments : environmentsBefore;
    const known = await knownEnvironments({});
    if (known.includes(name)) return;
    isUnknown = book.state.number === 0;
    throw refusalOf(new BasculeError('unknown-environment', { environment: name, known }));
  }

  function orDrop(what: string, act: () => unknown): void {
    markHistory(`signal: ${what}`);
    try {
      const acting = act();
      if (acting instanceof Promise) acting.catch((error) => drop(what, error));
    } catch (error) {
      drop(what, error);
    }
  }

  function drop(what: string, error: unknown): void {
    dropped = `signal ${what} at ${new Date().toISOString().slice(11, 19)} was dropped: ${describeFailure(error).message}`;
    show();
  }

  function answer(operation: string): OperationAnswer {
    const known = book.state.results[operation];
    if (known) return { state: 'ended', result: known.result };
    if (running?.operation.id === operation) return { state: 'running' };
    const isQueued = book.state.queue.some((other) => other.id === operation);
    return isQueued ? { state: 'queued', position: positionOf(operation) } : { state: 'unknown' };
  }

  function show(): void {
    const lines = [
      running ? `running: ${running.operation.id}` : 'idle',
      ...book.state.queue.map((waiting, index) => `${index + 1}. ${waiting.id}`),
      ...(book.state.last
        ? [`last: ${book.state.last.operation} ${book.state.last.outcome}: ${book.state.last.message}`]
        : []),
      ...(dropped ? [dropped] : []),
    ];
    setCurrentDetails(lines.join('\n\n'));
  }
}
