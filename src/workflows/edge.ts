import {
  ApplicationFailure,
  allHandlersFinished,
  type ChildWorkflowHandle,
  condition,
  continueAsNew,
  ParentClosePolicy,
  setCurrentDetails,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import {
  type CertificatesChange,
  type EdgeChange,
  type EdgeChangeAnswer,
  type EdgeChangeResult,
  type EndedChanges,
  handedOver,
} from '../domain/edge-change.js';
import { describeChange } from '../domain/messages.js';
import { edgeChangeWorkflowId, parseEdgeWorkflowId } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import { describeFailure } from './failure.js';
import { markHistory } from './history-mark.js';
import { changeQuery, changeUpdate, edgeStatusQuery, withdrawSignal, withdrawUpdate } from './messages.js';
import { describeBySearchAttributes } from './search-attributes.js';
import type { switchEdge } from './switch-edge.js';

/** How long the answer of an ended change is kept: a caller that asks again gets it instead of a second change. */
const answersKeptMs = 24 * 60 * 60 * 1000;

/** What one run hands to the next. */
export interface EdgeState {
  readonly number: number;
  readonly queue: readonly EdgeChange[];
  readonly ended: EndedChanges;
}

/**
 * All changes of one edge, one at a time: take-backs and rollbacks first, else in the order they came.
 * Lives forever, and needs no start argument.
 */
export async function edge(carried?: EdgeState): Promise<void> {
  const { workflowId } = workflowInfo();
  const names = parseEdgeWorkflowId(workflowId);
  if (!names) throw ApplicationFailure.nonRetryable(`an edge's id is <project>/edge/<edge>, not ${workflowId}`);
  describeBySearchAttributes({ kind: 'edge' });

  let number = carried?.number ?? 0;
  const queue: EdgeChange[] = [...(carried?.queue ?? [])];
  const ended: Record<string, { result: EdgeChangeResult; at: number }> = { ...carried?.ended };
  let running: Running | null = null;
  /** Ids of certificates that were not installed together with others. */
  const alone = new Set<string>();

  setHandler(changeQuery, ({ id }) => answer(id));
  setHandler(edgeStatusQuery, () => ({ running: running?.change ?? null, queue }));

  setHandler(
    changeUpdate,
    (change) => {
      if (answer(change.id).state === 'unknown') enqueue(change);
      return answer(change.id);
    },
    { validator: checkChange },
  );

  setHandler(
    withdrawUpdate,
    async ({ id }) => {
      const known = answer(id);
      if (known.state === 'queued') {
        queue.splice(
          queue.findIndex((change) => change.id === id),
          1,
        );
      }
      if (known.state === 'running' && running) {
        running.withdrawn.add(id);
        await forwardWithdrawal();
        await condition(() => ended[id] !== undefined);
      }
      // An unknown id is kept too: what asks for it later, late, is answered that it was withdrawn.
      const result = ended[id]?.result ?? withdrawnResult(id);
      ended[id] ??= { result, at: Date.now() };
      return result;
    },
    { validator: checkId },
  );

  for (;;) {
    show();
    await condition(() => queue.length > 0 || workflowInfo().continueAsNewSuggested);
    forgetOldAnswers();
    const change = workflowInfo().continueAsNewSuggested ? undefined : queue.shift();
    if (!change) break;
    number += 1;
    running = begin([change, ...takeOthers(change)]);
    show();
    settle(running, await runChange(running));
    running = null;
    markHistory('idle');
  }

  await condition(allHandlersFinished);
  await continueAsNew<typeof edge>({ number, queue, ended: handedOver(ended) });

  /** Certificates that wait are installed together: one reload for all of them. */
  function takeOthers(change: EdgeChange): readonly CertificatesChange[] {
    if (!isMergeable(change)) return [];
    const others = queue.filter(isMergeable);
    for (const other of others) queue.splice(queue.indexOf(other), 1);
    return others;
  }

  function isMergeable(change: EdgeChange): change is CertificatesChange {
    return change.kind === 'certificates' && !change.dryRun && !change.repair && !alone.has(change.id);
  }

  function settle({ changes, withdrawn }: Running, result: EdgeChangeResult): void {
    // One that can't be installed, or is wanted no more, keeps no other from being: then each is tried alone.
    const isOfAll = changes.length === 1 || result.outcome === 'succeeded' || result.outcome === 'needs-operator';
    const again = changes.filter(({ id }) => !isOfAll && !withdrawn.has(id));
    for (const { id } of changes) ended[id] = { result: { ...result, id }, at: Date.now() };
    for (const { id } of again) {
      delete ended[id];
      alone.add(id);
    }
    queue.unshift(...again);
  }

  async function runChange(current: Running): Promise<EdgeChangeResult> {
    try {
      current.child = await startChild<typeof switchEdge>('switchEdge', {
        workflowId: edgeChangeWorkflowId(names?.project ?? '', names?.edge ?? '', number),
        args: [current.change],
        // An edge workflow that is terminated leaves the change to its end: it proves or takes back what it began.
        parentClosePolicy: ParentClosePolicy.ABANDON,
        workflowTaskTimeout: workflowTaskTimeoutMs,
        staticSummary: describeChange(current.change),
      });
      markHistory(`running: ${current.change.id}`);
      await forwardWithdrawal();
      return await current.child.result();
    } catch (error) {
      const failure = describeFailure(error);
      return {
        ...withdrawnResult(current.change.id),
        outcome: 'needs-operator',
        code: failure.code,
        message: `the edge change ended without an answer: ${failure.message}`,
        remedy:
          'See what the edge serves with `bascule status`; `bascule apply --repair` makes its files say the same.',
      };
    }
  }

  async function forwardWithdrawal(): Promise<void> {
    if (!running?.child || running.withdrawn.size === 0) return;
    try {
      await running.child.signal(withdrawSignal);
    } catch {
      // It ended in the meantime: its result is the answer.
    }
  }

  function enqueue(change: EdgeChange): void {
    const firstOrdinary = queue.findIndex((other) => !other.urgent);
    if (change.urgent && firstOrdinary >= 0) queue.splice(firstOrdinary, 0, change);
    else queue.push(change);
    show();
  }

  function answer(id: string): EdgeChangeAnswer {
    const known = ended[id];
    if (known) return { state: 'ended', result: known.result };
    if (running?.changes.some((change) => change.id === id)) return { state: 'running' };
    const position = queue.findIndex((change) => change.id === id);
    return position < 0 ? { state: 'unknown' } : { state: 'queued', position: position + 1 };
  }

  function forgetOldAnswers(): void {
    for (const [id, { at }] of Object.entries(ended)) {
      if (Date.now() - at > answersKeptMs) delete ended[id];
    }
  }

  function show(): void {
    const lines = [
      running ? `running: ${describeChange(running.change)} (${running.change.operation})` : 'idle',
      ...queue.map((change, index) => `${index + 1}. ${describeChange(change)} (${change.operation})`),
    ];
    setCurrentDetails(lines.join('\n\n'));
  }
}

/** One change, or certificates that are installed together. */
type Changes = readonly [EdgeChange, ...CertificatesChange[]];

interface Running {
  readonly changes: Changes;
  /** All of them as one. */
  readonly change: EdgeChange;
  /** Ids of those that are wanted no more. */
  readonly withdrawn: Set<string>;
  child?: ChildWorkflowHandle<typeof switchEdge>;
}

const begin = (changes: Changes): Running => ({ changes, change: together(changes), withdrawn: new Set() });

function together([change, ...others]: Changes): EdgeChange {
  if (change.kind !== 'certificates' || others.length === 0) return change;
  return { ...change, certificates: [change, ...others].flatMap(({ certificates }) => certificates) };
}

function checkChange(change: EdgeChange): void {
  if (!change?.id || !change.operation || !['color', 'stand-down', 'apply', 'certificates'].includes(change.kind)) {
    throw ApplicationFailure.nonRetryable(
      'a change is { id, operation, kind: color | stand-down | apply | certificates, … }',
      'usage',
    );
  }
}

function checkId(request: { id: string }): void {
  if (typeof request?.id === 'string' && request.id !== '') return;
  throw ApplicationFailure.nonRetryable('what is withdrawn is named as { id }', 'usage');
}

function withdrawnResult(id: string): EdgeChangeResult {
  return {
    id,
    outcome: 'withdrawn',
    code: 'withdrawn',
    message: 'withdrawn before it began',
    remedy: null,
    changed: false,
    generation: null,
    diff: '',
    reloadedAt: null,
    steps: [],
  };
}
