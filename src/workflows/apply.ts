import { ApplicationFailure, setHandler, startChild, workflowInfo } from '@temporalio/workflow';
import type { ApplyChange, EdgeChangeResult } from '../domain/edge-change.js';
import type { CertificatesRequest, CertificatesResult } from '../domain/issuance.js';
import { certificatesWorkflowId, projectOfWorkflow } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import type { certificates } from './certificates.js';
import { failureOf, requestOrWithdraw } from './edge-answers.js';
import { describeFailure } from './failure.js';
import { certificatesProgressQuery } from './messages.js';
import { certificates as acts } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

/**
 * Puts a bascule.yaml in force that names hosts without a certificate: each is obtained first and routed after, so that a
 * new host and its certificate arrive together. On an edge that serves nothing yet it is the other way round, since there
 * is nobody to answer the authority.
 */
export async function apply(change: ApplyChange): Promise<EdgeChangeResult> {
  const operation = workflowInfo().workflowId;
  describeBySearchAttributes({ kind: 'apply' });
  const saga = new Saga(operation);
  setHandler(certificatesProgressQuery, () => ({ steps: saga.steps }));
  let applied: EdgeChangeResult | null = null;

  try {
    const request = { kind: 'issue', newOnly: true } as const;
    const { isEdgeApplied } = await saga.step('see which certificates are missing', acts.planCertificates, { request });
    if (!isEdgeApplied) await saga.phase('apply bascule.yaml', putInForce);
    await saga.phase('obtain the certificates', async () => {
      // What is in force by now is not new any more.
      const obtained = await obtain({ kind: 'issue', newOnly: isEdgeApplied, keepGoing: true });
      if (obtained.outcome !== 'succeeded') throw notObtained(obtained);
    });
    if (isEdgeApplied) await saga.phase('apply bascule.yaml', putInForce);
    recordOutcome('succeeded');
    return { ...inForce(), steps: saga.steps };
  } catch (error) {
    const failure = describeFailure(error);
    const outcome = failure.code === 'needs-operator' ? 'needs-operator' : 'failed';
    recordOutcome(outcome);
    const message = applied
      ? `bascule.yaml is in force, and its certificates are not there: ${failure.message}`
      : failure.message;
    return { ...inForce(), ...failure, message, outcome, steps: saga.steps };
  }

  async function putInForce(): Promise<void> {
    const asked: ApplyChange = { ...change, id: `${change.id}/in-force`, skipCertificates: true };
    const look = '`bascule status` says what the edge serves, `bascule doctor` what is wrong.';
    const answer = await requestOrWithdraw('apply bascule.yaml', asked, { whyItEnded: describeFailure, look });
    if (answer.outcome !== 'succeeded') throw failureOf(answer);
    applied = answer;
  }

  async function obtain(request: CertificatesRequest): Promise<CertificatesResult> {
    const child = await startChild<typeof certificates>('certificates', {
      // As often as bascule.yaml is applied anew by this id, it is the same.
      workflowId: certificatesWorkflowId(projectOfWorkflow(operation), 'issue', operation.split('/').at(-1) ?? ''),
      args: [request],
      workflowTaskTimeout: workflowTaskTimeoutMs,
      staticSummary: 'certificates of new names',
    });
    return await child.result();
  }

  function inForce(): EdgeChangeResult {
    const nothing = { outcome: 'failed', code: null, message: '', remedy: null, changed: false } as const;
    return { ...nothing, generation: null, diff: '', reloadedAt: null, steps: [], ...applied, id: change.id };
  }
}

function notObtained({ code, message, remedy, outcome }: CertificatesResult): ApplicationFailure {
  return ApplicationFailure.create({
    type: outcome === 'needs-operator' ? outcome : (code ?? outcome),
    message,
    nonRetryable: true,
    details: [{ remedy }],
  });
}
