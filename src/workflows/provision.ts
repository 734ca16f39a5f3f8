import { setHandler, workflowInfo } from '@temporalio/workflow';
import type {
  ProvisionActId,
  ProvisionDone,
  ProvisionRequest,
  ProvisionResult,
  ProvisionStep,
} from '../domain/provision.js';
import { failureOf, requestOrWithdraw } from './edge-answers.js';
import { describeFailure } from './failure.js';
import { certificatesProgressQuery } from './messages.js';
import { provision as acts } from './proxies.js';
import { Saga } from './saga.js';
import { describeBySearchAttributes, recordOutcome } from './search-attributes.js';

const activities = {
  project: acts.makeIncusProject,
  storage: acts.makeStoragePool,
  network: acts.makeNetwork,
  profile: acts.makeProfile,
  instance: acts.launchEdge,
  packages: acts.installPackages,
  folders: acts.makeFolders,
  service: acts.startHaproxy,
  instances: acts.launchSideBySide,
  ports: acts.leadPorts,
} as const satisfies Readonly<Record<ProvisionActId, unknown>>;

/**
 * Takes a machine with nothing but Incus to an edge that serves. Each step looks, and does what is missing; nothing is
 * taken back, since the next run goes on from what there is.
 */
export async function provision(request: ProvisionRequest): Promise<ProvisionResult> {
  const { workflowId: operation, runId } = workflowInfo();
  const { dryRun = false } = request;
  const startedAt = Date.now();
  const saga = new Saga(operation);
  describeBySearchAttributes({ kind: 'provision' });
  setHandler(certificatesProgressQuery, () => ({ steps: saga.steps }));
  let plan: readonly ProvisionStep[] = [];
  let generation: number | null = null;
  let current: ProvisionStep | null = null;
  const there: string[] = [];
  let changed = false;

  try {
    const planned = await saga.step('look at what is there', acts.planProvision, request, ({ steps }) =>
      countToDo(steps) === 0 ? null : `${countToDo(steps)} of ${steps.length} steps are to be taken`,
    );
    plan = planned.steps;
    changed = dryRun && countToDo(plan) > 0;
    if (countToDo(plan) === 0) return ended({ message: `nothing to do: the edge is there${at(planned.entrances)}` });
    if (dryRun) return ended({ message: `${countToDo(plan)} of ${plan.length} steps would be taken` });
    for (const step of plan) {
      current = step;
      if (step.state !== 'right') await take(step);
      there.push(step.name);
    }
    return ended({ message: `the edge serves${at(planned.entrances)}` });
  } catch (error) {
    const { code, message, remedy } = describeFailure(error);
    const outcome = code === 'needs-operator' ? code : 'failed';
    if (current === null) return ended({ outcome, code, message, remedy });
    const soFar = there.length === 0 ? '' : `\nthere by now: ${there.join(', ')}`;
    const goOn = '`bascule provision` goes on from there.';
    const again = remedy?.includes('bascule provision') ? remedy : [...(remedy ? [remedy] : []), goOn].join(' ');
    return ended({ outcome, code, message: `${current.name}: ${message}${soFar}`, remedy: again });
  }

  async function take({ id, name }: ProvisionStep): Promise<void> {
    if (id === 'configuration') await saga.phase(name, putInForce);
    else await saga.step(name, activities[id], request, noteAndCount);
  }

  function noteAndCount({ did }: ProvisionDone): string {
    changed ||= did !== null;
    return did ?? 'it was there already';
  }

  /** What the distribution brought is replaced; what somebody wrote there is not. */
  async function putInForce(): Promise<void> {
    const { configuration } = await acts.seeConfiguration.executeWithOptions(
      { summary: 'see whose haproxy.cfg it is' },
      [request],
    );
    if (configuration === 'of Bascule') return;
    const answer = await requestOrWithdraw(
      'put bascule.yaml in force',
      {
        kind: 'apply',
        id: `${operation}@${runId}/configuration`,
        operation,
        repair: configuration === 'of the distribution',
        skipCertificates: true,
      },
      {
        whyItEnded: describeFailure,
        look: '`bascule status` says what the edge serves, `bascule doctor` what is wrong.',
      },
    );
    if (answer.outcome !== 'succeeded') throw failureOf(answer);
    changed ||= answer.changed;
    generation = answer.generation;
  }

  function ended(part: Partial<ProvisionResult> & Pick<ProvisionResult, 'message'>): ProvisionResult {
    const { outcome = 'succeeded' } = part;
    recordOutcome(outcome);
    return {
      schemaVersion: 1,
      operation,
      environment: null,
      kind: 'provision',
      code: null,
      remedy: null,
      changed,
      dryRun,
      generation,
      startedAt: new Date(startedAt).toISOString(),
      durationMs: Date.now() - startedAt,
      plan,
      steps: saga.steps,
      ...part,
      outcome,
    };
  }
}

const countToDo = (steps: readonly ProvisionStep[]): number => steps.filter(({ state }) => state !== 'right').length;
const at = (entrances: readonly string[]): string => (entrances.length === 0 ? '' : ` at ${entrances.join(' and ')}`);
