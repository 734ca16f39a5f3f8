import { CancellationScope, CancelledFailure, isCancellation, setHandler, workflowInfo } from '@temporalio/workflow';
import { defaults } from '../domain/defaults.js';
import type { EdgeChange, EdgeChangeResult, TakeBack } from '../domain/edge-change.js';
import { describeChange } from '../domain/messages.js';
import { parentRequired } from './by-hand.js';
import { describeFailure, type Failure } from './failure.js';
import { withdrawSignal } from './messages.js';
import { edge } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

/**
 * One change of the edge: a switch, a stand-down, an apply. Either all of it is in force and proven, or the edge
 * serves what it served before; where neither can be reached, it says so on the host and refuses what comes next.
 */
export async function switchEdge(change: EdgeChange): Promise<EdgeChangeResult> {
  parentRequired('bascule switch ENV COLOR, or bascule apply');
  describeBySearchAttributes({
    kind: 'edge-change',
    ...('environment' in change ? { environment: change.environment } : {}),
    ...('sha' in change ? { sha: change.sha } : {}),
  });

  const saga = new Saga(describeChange(change));
  const doOwner = `${workflowInfo().runId}/do`;
  const undoOwner = `${workflowInfo().runId}/undo`;
  const scope = new CancellationScope({ cancellable: true, timeout: defaults.edgeChangeMs });
  let isWithdrawn = false;
  let isPastRecall = false;
  setHandler(withdrawSignal, () => {
    if (isPastRecall) return;
    isWithdrawn = true;
    scope.cancel();
  });

  let mends: readonly string[] = [];
  /** What the take-backs that are registered go by. */
  let takeBack: TakeBack | null = null;
  const ended = (part: Partial<EdgeChangeResult> & Pick<EdgeChangeResult, 'outcome' | 'message'>): EdgeChangeResult => {
    recordOutcome(part.outcome);
    return {
      id: change.id,
      code: null,
      remedy: null,
      changed: false,
      generation: null,
      diff: '',
      reloadedAt: null,
      ...(change.repair ? { mends } : {}),
      ...part,
      steps: saga.steps,
    };
  };

  try {
    return await scope.run(async () => {
      const record = await saga.step('read the edge', edge.readEdge, { change });
      mends = [
        ...(record.needsOperator === null ? [] : [record.needsOperator.trim()]),
        ...record.drift.map(({ message }) => message),
      ];
      const plan = await saga.step('render the configuration', edge.renderConfig, {
        change,
        record,
        at: new Date().toISOString(),
      });
      const before = record.installed?.generation ?? null;
      if (!plan.changed) return ended({ outcome: 'succeeded', message: 'nothing to change', generation: before });
      if (change.dryRun) {
        return ended({
          outcome: 'succeeded',
          message: 'this would change',
          changed: true,
          diff: plan.diff,
          generation: before,
        });
      }

      takeBack = { change, record, doOwner, undoOwner };
      saga.takeBackWith('remove the candidate', edge.unstageConfig, takeBack);
      const claim = await saga.step('stage and check the configuration', edge.stageConfig, {
        change,
        record,
        plan,
        owner: doOwner,
      });

      // Newest first: the earlier configuration is installed, then loaded.
      saga.takeBackWith('reload with the earlier configuration', edge.reloadRestored, takeBack);
      saga.takeBackWith('install the earlier configuration', edge.restoreConfig, takeBack);
      await saga.step('install the configuration', edge.installConfig, { change, record, plan, claim });
      const { reloadedAt } = await saga.step('reload HAProxy', edge.reloadEdge, { claim, digest: plan.digest });
      await saga.step('verify traffic', edge.verifyTraffic, { change, record, plan });

      // A step that was being cancelled may have ended well all the same.
      if (scope.consideredCancelled) throw new CancelledFailure('withdrawn, or out of time');
      saga.takeBackWith('write the earlier colors and history', edge.restoreColors, { ...takeBack, plan });
      isPastRecall = true;
      // From here on a withdrawal comes too late: who asked gets the answer and may ask for the reverse.
      await CancellationScope.nonCancellable(() =>
        saga.step('record colors and history', edge.recordColor, { change, record, plan, claim }),
      );
      return ended({
        outcome: 'succeeded',
        message: plan.templateChange ?? 'in force',
        changed: true,
        generation: claim.number,
        diff: plan.diff,
        reloadedAt,
      });
    });
  } catch (error) {
    // Cancelled from outside (Temporal's UI) is as good as withdrawn.
    if (CancellationScope.current().consideredCancelled) isWithdrawn = true;
    const failure = whyItEnded(error, isWithdrawn);
    const mishaps = await saga.takeBack();
    if (mishaps.length === 0) {
      return ended({ ...failure, outcome: isWithdrawn ? 'withdrawn' : 'failed' });
    }
    return ended({ ...(await needsOperator(failure, mishaps)), outcome: 'needs-operator' });
  }

  async function needsOperator(failure: Failure, mishaps: readonly Failure[]): Promise<Failure> {
    const message = `${failure.message}; and it could not be taken back: ${mishaps.map((one) => one.message).join('; ')}`;
    const remedy =
      'See what is on the host with `bascule status`, mend what it says, then run `bascule apply --repair`.';
    const named: Failure = { code: 'needs-operator', message, remedy };
    if (takeBack === null) return named;
    const mark = { message, remedy, takeBack };
    try {
      await CancellationScope.nonCancellable(() =>
        edge.markNeedsOperator.executeWithOptions({ summary: 'refuse further changes until an operator looks' }, [
          mark,
        ]),
      );
    } catch (error) {
      return { ...named, message: `${message}; nor could the edge be marked: ${describeFailure(error).message}` };
    }
    return named;
  }
}

function whyItEnded(error: unknown, isWithdrawn: boolean): Failure {
  if (isWithdrawn) return { code: 'withdrawn', message: 'withdrawn before it was recorded', remedy: null };
  if (isCancellation(error)) {
    return {
      code: 'edge-change-timed-out',
      message: `the edge change did not end within ${defaults.edgeChangeMs / 1000} s`,
      remedy: 'See which step took so long in the steps above, and try again.',
    };
  }
  return describeFailure(error);
}
