import { CancellationScope, workflowInfo } from '@temporalio/workflow';
import type { EdgeChangeResult } from '../domain/edge-change.js';
import type { CertificateInput, CertificateResult } from '../domain/issuance.js';
import { parentRequired } from './by-hand.js';
import { failureOf } from './edge-answers.js';
import { describeFailure, isCancellation, retryAtOf } from './failure.js';
import { authority, edgeRequests } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

/**
 * Obtains one certificate and has the edge serve it. Its key and what is asked of the authority are kept on the edge's
 * host, so whoever goes on after a crash goes on with the same order. Nothing is taken back: an order that is not finished
 * is taken up by the next try.
 */
export async function certificate(input: CertificateInput): Promise<CertificateResult> {
  parentRequired('bascule certs issue');
  const { certificate: wanted, operation, patienceMs } = input;
  const { name, names } = wanted;
  describeBySearchAttributes({ kind: 'certificate' });
  const saga = new Saga(`certificate of ${names.join(', ')}`);
  const ask = authority(patienceMs);
  const ended = (
    part: Pick<CertificateResult, 'outcome' | 'code' | 'message' | 'remedy'> & Partial<CertificateResult>,
  ): CertificateResult => {
    recordOutcome(part.outcome);
    const nothing = { certificate: null, generation: null, retryAt: null };
    return { name, names, ...nothing, warnings, ...part, steps: saga.steps };
  };
  const warnings: string[] = [];

  try {
    // 1. What the authority is going to find: names that lead here, and nobody who forbids it.
    const seen = await saga.step('check the names', ask.checkNames, { certificate: wanted });
    warnings.push(...seen.warnings);

    // 2. – 4. The account, the order, and the proof that these hosts are ours.
    await saga.step('register the account', ask.registerAccount, { certificate: wanted });
    await saga.step('place the order', ask.placeOrder, { certificate: wanted });
    await saga.step('answer the challenges', ask.answerChallenges, { certificate: wanted });

    // 5. – 6. The key never leaves the edge's host.
    await saga.step('finalize the order', ask.finalizeOrder, { certificate: wanted });
    const { obtained, ...view } = await saga.step('download and check', ask.downloadCertificate, {
      certificate: wanted,
    });

    // 7. Installed, loaded, and seen over TLS: written is not served.
    const change = {
      kind: 'certificates',
      id: `${workflowInfo().workflowId}@${workflowInfo().runId}/install`,
      operation,
      certificates: [obtained],
    } as const;
    const installed: EdgeChangeResult = await saga.phase('install and serve', async () => {
      const answer = await edgeRequests.requestEdgeChange.executeWithOptions({ summary: `install ${name}` }, [change]);
      if (answer.outcome !== 'succeeded') throw failureOf(answer);
      return answer;
    });

    // 8. The order is done with: the next one is another. Whether that succeeds, visitors have the certificate.
    try {
      await saga.step('close the order', ask.closeOrder, { certificate: wanted });
    } catch (error) {
      const why = describeFailure(error).message;
      warnings.push(
        `${name}: its order could not be closed (${why}); until that runs out the same one is gone on with`,
      );
    }
    return ended({
      outcome: 'succeeded',
      code: null,
      message: `${names.join(', ')}: served until ${view.notAfter.slice(0, 10)}`,
      remedy: null,
      certificate: view,
      generation: installed.generation,
    });
  } catch (error) {
    if (isCancellation(error) && CancellationScope.current().consideredCancelled) {
      return ended({
        outcome: 'failed',
        code: 'aborted',
        message: `${name}: stopped as asked; its order is taken up by the next try`,
        remedy: null,
      });
    }
    const { code, message, remedy } = describeFailure(error);
    const outcome = code === 'needs-operator' ? 'needs-operator' : 'failed';
    return ended({ outcome, code, message: `${name}: ${message}`, remedy, retryAt: retryAtOf(error) });
  }
}
