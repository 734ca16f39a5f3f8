import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ApplicationFailure, CancellationScope, ParentClosePolicy, startChild } from '@temporalio/workflow';
import { defaults } from '../domain/defaults.js';
import type {
  CertificateResult,
  CertificatesPlan,
  CertificatesRequest,
  CertificatesResult,
  PlannedCertificate,
} from '../domain/issuance.js';
import { certificateWorkflowId, projectOfWorkflow } from '../domain/names.js';
import { workflowTaskTimeoutMs } from '../domain/timeouts.js';
import type { certificate } from './certificate.js';
import { type CertificatesEnding, CertificatesRun } from './certificates-run.js';
import { describeFailure, retryAtOf } from './failure.js';
import { certificates as acts } from './proxies.js';

/** How many are obtained at the same time: authorities bound how many orders an account may place at once. */
const atOnce = 25;

/**
 * Obtains the certificates that are missing or due, each by a workflow of its own, and has the edge serve each as soon as
 * it is there. Started by `bascule certs`, by `bascule apply` for new names, and by a Schedule as often as the certificates' lives need.
 */
export async function certificates(request: CertificatesRequest): Promise<CertificatesResult> {
  const run = new CertificatesRun();
  return await run.run(async () => {
    // 1. What there is, and what there shall be.
    const plan = await run.saga.step('see what is due', acts.planCertificates, { request });
    run.kept = plan.kept;
    run.warnings.push(...plan.warnings);
    if (plan.wanted.length === 0) {
      return { outcome: 'succeeded', code: null, message: nothingToDo(plan), remedy: null };
    }

    // 2. The edge answers for the account before the authority asks.
    if (!plan.answersChallenges) await run.answerChallenges();

    // 3. Side by side; without `keepGoing` the first that fails is the last that was begun.
    const waiting = [...plan.wanted];
    const lane = async (): Promise<void> => {
      for (;;) {
        const hasFailed = run.results.some(({ outcome }) => outcome !== 'succeeded');
        const next = hasFailed && !request.keepGoing ? undefined : waiting.shift();
        if (!next) return;
        run.results.push(await obtain(run, next, request.patienceMs ?? defaults.certificatePatienceMs));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));

    // 4. When to look again follows from what is there by now, and from what the authority said.
    await scheduleLooks(run);
    return conclusion(run.results, waiting);
  });
}

/** Who asked may have gone, and what was obtained is served whether this succeeds or not: the next look does it again. */
async function scheduleLooks({ saga, results, warnings }: CertificatesRun): Promise<void> {
  const retryAt = results.flatMap((result) => result.retryAt ?? []);
  try {
    await CancellationScope.nonCancellable(
      async () => await saga.step('plan the next look', acts.scheduleLooks, { retryAt }),
    );
  } catch (error) {
    warnings.push(`the next look at the certificates could not be planned: ${describeFailure(error).message}`);
  }
}

async function obtain(
  run: CertificatesRun,
  wanted: PlannedCertificate,
  patienceMs: number,
): Promise<CertificateResult> {
  let result: CertificateResult | null = null;
  try {
    return await run.saga.phase(
      `certificate of ${wanted.name}`,
      async () => {
        result = await issue(run.operation, wanted, patienceMs);
        if (result.outcome !== 'succeeded') throw ApplicationFailure.nonRetryable(result.message, result.code ?? '');
        return result;
      },
      ({ certificate: view }) => (view ? `until ${view.notAfter.slice(0, 10)}` : null),
    );
  } catch (error) {
    if (result) return result;
    const { name, names } = wanted;
    const nothing = { certificate: null, generation: null, retryAt: retryAtOf(error), warnings: [], steps: [] };
    return { name, names, ...nothing, outcome: 'failed', ...describeFailure(error) };
  }
}

async function issue(operation: string, wanted: PlannedCertificate, patienceMs: number): Promise<CertificateResult> {
  const id = certificateWorkflowId(projectOfWorkflow(operation), wanted.name);
  try {
    const child = await startChild<typeof certificate>('certificate', {
      workflowId: id,
      args: [{ operation, certificate: wanted, patienceMs }],
      // Whoever asked may go: what was begun at the authority is brought to its end.
      parentClosePolicy: ParentClosePolicy.ABANDON,
      workflowTaskTimeout: workflowTaskTimeoutMs,
      staticSummary: `certificate of ${wanted.name}`,
    });
    return await child.result();
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    // Somebody else obtains it at the moment: theirs is ours.
    return await acts.awaitCertificate.executeWithOptions({ summary: `wait for ${id}` }, [{ id }]);
  }
}

function nothingToDo({ kept }: CertificatesPlan): string {
  const soonest = kept.toSorted((a, b) => a.notAfter.localeCompare(b.notAfter))[0];
  if (!soonest) return 'bascule.yaml asks for no certificate';
  const until = soonest.notAfter.slice(0, 10);
  return kept.length === 1
    ? `nothing is due: the certificate is valid until ${until}`
    : `nothing is due: ${kept.length} certificates are valid, the first of them until ${until}`;
}

function conclusion(
  results: readonly CertificateResult[],
  notBegun: readonly PlannedCertificate[],
): CertificatesEnding {
  const failed = results.filter(({ outcome }) => outcome !== 'succeeded');
  const worst = failed.find(({ outcome }) => outcome === 'needs-operator') ?? failed[0];
  if (!worst) {
    const [first, ...more] = results;
    const message = first && more.length === 0 ? first.message : `${results.length} certificates are served`;
    return { outcome: 'succeeded', code: null, message, remedy: null };
  }
  const lines = [
    ...failed.map(({ message }) => message),
    ...(notBegun.length > 0 ? [`not begun (--keep-going does): ${notBegun.map(({ name }) => name).join(', ')}`] : []),
    ...(results.length > failed.length ? [`${results.length - failed.length} of ${results.length} are served`] : []),
  ];
  return { outcome: worst.outcome, code: worst.code, message: lines.join('\n'), remedy: worst.remedy };
}
