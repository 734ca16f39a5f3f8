import { setHandler, workflowInfo } from '@temporalio/workflow';
import type { CertificateFacts } from '../domain/certificates.js';
import type { CertificatesChange } from '../domain/edge-change.js';
import type { CertificateResult, CertificatesResult } from '../domain/issuance.js';
import { failureOf } from './edge-answers.js';
import { describeFailure } from './failure.js';
import { certificatesProgressQuery } from './messages.js';
import { tell } from './notices.js';
import { edgeRequests } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

/** How the story of a run ended. */
export type CertificatesEnding = Pick<CertificatesResult, 'outcome' | 'code' | 'message' | 'remedy'>;

/** What the workflows about certificates have in common: steps, edge changes and a result. */
export class CertificatesRun {
  readonly operation = workflowInfo().workflowId;
  readonly saga = new Saga(this.operation);
  readonly results: CertificateResult[] = [];
  readonly warnings: string[] = [];
  kept: readonly CertificateFacts[] = [];
  private generation: number | null = null;
  private readonly startedAt = Date.now();

  constructor() {
    describeBySearchAttributes({ kind: 'certificates' });
    setHandler(certificatesProgressQuery, () => ({ steps: this.saga.steps }));
  }

  async run(story: () => Promise<CertificatesEnding>): Promise<CertificatesResult> {
    try {
      return this.ended(await story());
    } catch (error) {
      const failure = describeFailure(error);
      return this.ended({ outcome: failure.code === 'needs-operator' ? 'needs-operator' : 'failed', ...failure });
    }
  }

  /** Has the edge answer challenges with the key of the account. */
  async answerChallenges(): Promise<void> {
    await this.saga.phase('have the edge answer challenges', async () => {
      const id = `${this.operation}@${workflowInfo().runId}/challenges`;
      const change: CertificatesChange = { kind: 'certificates', id, operation: this.operation, certificates: [] };
      const answer = await edgeRequests.requestEdgeChange.executeWithOptions({ summary: 'answer challenges' }, [
        change,
      ]);
      if (answer.outcome !== 'succeeded') throw failureOf(answer);
      this.generation = answer.generation;
    });
  }

  private ended(ending: CertificatesEnding): CertificatesResult {
    recordOutcome(ending.outcome);
    const generations = [this.generation, ...this.results.map(({ generation }) => generation)].map((one) => one ?? 0);
    const result: CertificatesResult = {
      ...{ schemaVersion: 1, operation: this.operation, environment: null, kind: 'certificates', sha: null },
      ...ending,
      generation: Math.max(...generations) || null,
      startedAt: new Date(this.startedAt).toISOString(),
      durationMs: Date.now() - this.startedAt,
      changed: this.results.some(({ outcome }) => outcome === 'succeeded'),
      warnings: [...this.warnings, ...this.results.flatMap(({ warnings }) => warnings)],
      certificates: this.results,
      kept: this.kept,
      steps: this.saga.steps,
    };
    tell(result);
    return result;
  }
}
