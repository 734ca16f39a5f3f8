import {
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { defaults } from '../domain/defaults.js';
import type { ColorChange, EdgeChange, EdgeChangeResult } from '../domain/edge-change.js';
import type { FailoverReport } from '../domain/failover.js';
import { type OperationKind, shortSha } from '../domain/names.js';
import type {
  OperationInput,
  OperationResult,
  PinnedComponent,
  Progress,
  Release,
  SteerRequest,
  StopRequest,
} from '../domain/operation.js';
import { parentRequired } from './by-hand.js';
import { failureOf, requestOrWithdraw, withdraw } from './edge-answers.js';
import { describeFailure, type Failure } from './failure.js';
import { approvedSignal, progressQuery, stopSignal, takingBackSignal } from './messages.js';
import { tell } from './notices.js';
import { edgeRequests } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

/** How an operation's story ended well. */
export interface Ending {
  readonly message: string;
  readonly changed?: boolean;
  readonly diff?: string;
}

/** How a step ends that did not hear that it is stopped, since its worker is gone, or about to be. */
const endsOfUnheard: readonly string[] = ['timed-out', 'WorkerShutdown'];

/** What the operations of an environment have in common: steps, stopping, approval, edge changes and a result. */
export class Operation {
  readonly saga: Saga;
  /** Who its acts are done for, on instances and on the edge: an environment that was started anew gives the same id again. */
  readonly owner: string;
  readonly lost: string[] = [];
  readonly warnings: string[] = [];
  from: Release = { color: null, sha: null };
  to: Release = { color: null, sha: null };
  components: readonly PinnedComponent[] = [];
  generation: number | null = null;
  /** Whether it has changed the edge, or removed something. */
  hasChanged = false;
  /** What the edge has answered of its changes, by their ids. */
  private readonly inForce = new Map<string, EdgeChangeResult>();
  /** What a failover test has seen so far. */
  failover: FailoverReport | null = null;
  private stop: StopRequest | null = null;
  private approval: SteerRequest | null = null;
  private waiting: Pick<Progress, 'waiting' | 'until'> = { waiting: null, until: null };
  private readonly scope = new CancellationScope();

  constructor(
    readonly id: string,
    readonly environment: string,
    private readonly kind: OperationKind,
    private sha: string | null,
  ) {
    this.saga = new Saga(id);
    this.owner = `${id}@${workflowInfo().runId}`;
    setHandler(stopSignal, (request) => {
      this.stop ??= request;
      this.scope.cancel();
    });
    setHandler(approvedSignal, (request) => {
      this.approval ??= request;
    });
    setHandler(progressQuery, () => this.progress());
  }

  goesTo(release: Release): void {
    this.to = release;
    this.sha = release.sha;
  }

  /**
   * Tells the story; a failure, a stop or a cancellation takes back what it did. What did not succeed fails the workflow too,
   * with the result in its details, so that Temporal shows it as it is.
   */
  async run(story: () => Promise<Ending>): Promise<OperationResult> {
    const result = await this.runToResult(story);
    if (result.outcome === 'succeeded') return result;
    const { code, outcome, message, remedy } = result;
    const type = code ?? outcome;
    throw ApplicationFailure.create({ type, message, nonRetryable: true, details: [{ remedy, result }] });
  }

  private async runToResult(story: () => Promise<Ending>): Promise<OperationResult> {
    const startedAt = Date.now();
    const result = (
      part: Pick<OperationResult, 'outcome' | 'code' | 'message' | 'remedy'> & Partial<OperationResult>,
    ) => {
      recordOutcome(part.outcome);
      const ended = {
        schemaVersion: 1 as const,
        operation: this.id,
        environment: this.environment,
        kind: this.kind,
        sha: this.sha,
        from: this.from,
        to: this.to,
        generation: this.generation,
        began: this.hasChanged || this.saga.hasBegun,
        startedAt: new Date(startedAt).toISOString(),
        durationMs: Date.now() - startedAt,
        lost: this.lost,
        warnings: this.warnings,
        components: this.components,
        steps: this.saga.steps,
        ...(this.failover ? { failover: this.failover } : {}),
        ...part,
      };
      tell(ended);
      return ended;
    };
    try {
      const ending = await this.scope.run(story);
      return result({ outcome: 'succeeded', code: null, remedy: null, ...ending });
    } catch (error) {
      const failure = this.whyItEnded(error);
      this.sayThatItIsTakenBack();
      const mishaps = await this.saga.takeBack();
      if (mishaps.length === 0 && failure.code !== 'needs-operator') return result({ outcome: 'failed', ...failure });
      const remedies = [failure, ...mishaps].map((one) => one.remedy).filter((remedy) => remedy !== null);
      return result({
        outcome: 'needs-operator',
        code: 'needs-operator',
        message: [failure, ...mishaps].map((one) => one.message).join('; and it could not be taken back: '),
        remedy: remedies.at(-1) ?? 'See what runs with `bascule status`, then `bascule apply --repair`.',
      });
    }
  }

  /**
   * Has the edge changed and answers only what is in force. Where the answer can't be had (it was stopped, the asking
   * failed), the change is withdrawn first, and the edge's word on that counts.
   */
  async changeEdge(name: string, change: EdgeChange): Promise<EdgeChangeResult> {
    const result = await this.saga.phase(name, async () => {
      const answer = await requestOrWithdraw(name, change, {
        whyItEnded: (error) => this.whyItEnded(error),
        look: this.look(),
      });
      if (answer.outcome !== 'succeeded') throw failureOf(answer);
      return answer;
    });
    if (result.changed && !change.dryRun) {
      this.generation = result.generation;
      this.hasChanged = true;
    }
    this.inForce.set(change.id, result);
    return result;
  }

  /** Makes the earlier color active again, where the switch came to be in force. */
  async switchBack(change: ColorChange, earlier: Release & { color: ColorChange['from'] }): Promise<void> {
    try {
      const settled = this.settled(change.id, await withdraw(change.id, 'see whether the switch came to be'));
      if (settled.outcome === 'needs-operator') throw failureOf(settled);
      if (settled.outcome !== 'succeeded' || !settled.changed) return;
      const reverse: ColorChange = {
        ...change,
        id: `${change.id}-back`,
        from: change.to,
        to: earlier.color,
        sha: earlier.sha,
        history: 'back',
        urgent: true,
      };
      const back = await edgeRequests.requestEdgeChange.executeWithOptions({ summary: 'switch back' }, [reverse]);
      if (back.outcome !== 'succeeded') throw failureOf(back);
      this.generation = back.generation;
    } catch (error) {
      throw this.perhapsStillSwitched(error, change, earlier);
    }
  }

  /** The edge remembers an answer for a day, and none where its workflow was terminated: then what it said first counts. */
  private settled(id: string, answer: EdgeChangeResult): EdgeChangeResult {
    const known = this.inForce.get(id);
    return known && answer.outcome === 'withdrawn' && patched('remembers-what-is-in-force') ? known : answer;
  }

  /** Throws where a stop came while a step ended well all the same. */
  refuseIfStopped(): void {
    if (this.scope.consideredCancelled) throw new CancelledFailure('stopped');
  }

  /** Waits for `approve`; after a day without an answer it ends the operation. */
  async waitForApproval(): Promise<void> {
    await this.saga.phase('wait for approval', () =>
      this.whileWaiting('approval', defaults.approvalMs, async () => {
        if (await condition(() => this.approval !== null, defaults.approvalMs)) return;
        throw ApplicationFailure.create({
          type: 'approval-timed-out',
          message: `nobody approved within ${defaults.approvalMs / 3_600_000} hours`,
          nonRetryable: true,
          details: [{ remedy: 'Deploy again and approve with `bascule approve ENV`.' }],
        });
      }),
    );
  }

  /** Says in `status` what is waited for and until when, while `run` runs. */
  async whileWaiting<T>(waiting: NonNullable<Progress['waiting']>, ms: number, run: () => Promise<T>): Promise<T> {
    this.waiting = { waiting, until: new Date(Date.now() + ms).toISOString() };
    try {
      return await run();
    } finally {
      this.waiting = { waiting: null, until: null };
    }
  }

  /** Says what visitors may have, and how they get what they had. */
  private perhapsStillSwitched(error: unknown, change: ColorChange, earlier: Release): ApplicationFailure {
    const { message, remedy } = describeFailure(error);
    const again =
      earlier.sha === null
        ? []
        : [`\`bascule switch ${this.environment} ${change.from}\` gives them ${shortSha(earlier.sha)} again.`];
    return ApplicationFailure.create({
      type: 'needs-operator',
      message: `${message}; visitors of ${this.environment} may still get ${shortSha(change.sha)} (${change.to})`,
      nonRetryable: true,
      details: [{ remedy: [...(remedy ? [remedy] : []), this.look(), ...again].join(' ') }],
    });
  }

  /** What to type where nobody knows what is served. */
  private look(): string {
    return `\`bascule status ${this.environment}\` says what visitors get, \`bascule doctor\` what is wrong.`;
  }

  /** The environment lets nobody join an operation that is being taken back. */
  private sayThatItIsTakenBack(): void {
    const { parent } = workflowInfo();
    if (!parent) return;
    const said = CancellationScope.nonCancellable(() =>
      getExternalWorkflowHandle(parent.workflowId).signal(takingBackSignal, { operation: this.id }),
    );
    // The environment was terminated: then nobody can join.
    said.catch(() => {});
  }

  private whyItEnded(error: unknown): Failure {
    const failure = describeFailure(error);
    const isStopped = isCancellation(error) || (this.stop !== null && endsOfUnheard.includes(failure.code));
    if (!isStopped) return failure;
    const code = this.stop?.code ?? 'aborted';
    const by = this.stop?.by ? ` by ${this.stop.by}` : '';
    const why = this.stop?.why ? `: ${this.stop.why}` : '';
    return { code, message: `${code === 'rolled-back' ? 'rolled back' : 'aborted'}${by}${why}`, remedy: null };
  }

  private progress(): Progress {
    const current = this.saga.steps.findLast((step) => step.outcome === 'running') ?? null;
    return {
      operation: this.id,
      kind: this.kind,
      sha: this.sha,
      steps: this.saga.steps,
      step: current?.name ?? null,
      since: (current ?? this.saga.steps.at(-1))?.startedAt ?? new Date().toISOString(),
      ...this.waiting,
    };
  }
}

/** Starts an operation's frame: refuses one started by hand, and makes it findable. */
export function beginOperation(
  input: OperationInput<unknown>,
  kind: OperationKind,
  sha: string | null,
  command: string,
): Operation {
  parentRequired(command);
  describeBySearchAttributes({ environment: input.environment, kind, sha });
  return new Operation(input.operation, input.environment, kind, sha);
}
