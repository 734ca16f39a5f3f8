import { ApplicationFailure, CancellationScope } from '@temporalio/workflow';
import { shortSha } from '../domain/names.js';
import type { DeployRequest } from '../domain/operation.js';
import { type RollingInstance, type RollingPlan, releasesAfter } from '../domain/rolling.js';
import type { DeployMode } from './deploy.js';
import { describeFailure } from './failure.js';
import type { Ending, Operation } from './operation.js';
import { instances, rolling } from './proxies.js';
import { inParallel } from './saga.js';

/**
 * Gives a release to instances that stand side by side, one after the other: each is drained on the edge, replaced, and
 * has visitors again when the edge finds it healthy. A failure stops there, and takes back the ones done.
 */
export async function rollOut(
  operation: Operation,
  plan: RollingPlan,
  request: DeployRequest,
  mode: DeployMode,
): Promise<Ending> {
  const { environment, owner, saga } = operation;

  // 1. Fetch: every artifact is here, right, and can be unpacked before anything is touched.
  const components = plan.components.filter(
    ({ name }, index) => plan.components.findIndex((other) => other.name === name) === index,
  );
  await inParallel(
    components.map(
      (component) => () =>
        saga.step(`fetch ${component.name}`, instances.fetchArtifact, { environment, sha: plan.sha, component }),
    ),
  );

  // 2. Approval, where it is asked for: after it, visitors are given the release.
  if (!mode.isRollback && request.waitForApproval) await operation.waitForApproval();

  // 3. One instance after the other.
  const isMigrating = !mode.isRollback && !request.skipMigrate;
  for (const component of plan.components) {
    const isFirst = components.includes(component);
    saga.takeBackBy(describeGivingBack(component), () => giveBack(operation, plan, component));
    const earlier = plan.components.slice(0, plan.components.indexOf(component));
    await replace(operation, plan, component, { earlier, isMigrating: isMigrating && isFirst });
  }

  // 4. Record: it is the release that visitors are given.
  const { recorded } = plan;
  const undo = { environment, owner: `${owner}/undo`, expected: [owner, recorded.owner], lines: recorded.lines };
  saga.takeBackWith('record the release before', rolling.recordReleases, undo);
  await saga.step('record the release', rolling.recordReleases, {
    environment,
    owner,
    expected: [recorded.owner],
    lines: releasesAfter(recorded.lines, { at: new Date().toISOString(), sha: plan.sha }, mode.isRollback),
  });
  // Stopped while it was written down: it is taken back.
  operation.refuseIfStopped();

  // 5. Prune. The release is in force, whatever becomes of what is too old to go back to.
  await CancellationScope.nonCancellable(() => prune(operation, plan));
  operation.lost.length = 0;
  return { message: `${environment} serves ${shortSha(plan.sha)}`, changed: true };
}

/** Drains an instance, has it run the release, and lets visitors in again. */
async function replace(
  operation: Operation,
  plan: RollingPlan,
  component: RollingInstance,
  { earlier, isMigrating }: { readonly earlier: readonly RollingInstance[]; readonly isMigrating: boolean },
): Promise<void> {
  const { environment, owner, saga } = operation;
  const { instance, sha256 } = component;
  const step = { environment, component };
  const claim = `${owner}/drain`;

  await operation.whileWaiting('drain', plan.drainMs, () =>
    saga.step(
      `drain ${instance}`,
      rolling.drainInstance,
      { ...step, owner: claim, ...within(plan.drainMs) },
      ({ left, isAlone }) => {
        if (isAlone && component.before) operation.warnings.push(gapOf(component));
        return describeLeft(left);
      },
    ),
  );
  const { pid } = await saga.step(`replace the release of ${instance}`, rolling.replaceRelease, {
    ...{ ...step, owner, expected: claim },
    release: { sha: plan.sha, sha256 },
  });
  if (isMigrating && component.configuration.migrate) {
    operation.lost.push(`the migration of ${component.name} ran and is not taken back`);
    await saga.step(`migrate ${component.name}`, instances.migrate, { ...step, owner, plan: releaseOf(plan.sha) });
  }
  await saga.step(`start ${instance}`, instances.startInstance, { ...step, owner, plan: releaseOf(plan.sha) });
  await saga.step(`admit ${instance}`, rolling.admitInstance, { ...step, owner, earlier, markedDownIn: pid });
}

/** Gives an instance the release again that it held before; drained as a rollback drains, no longer than `http-keep-alive`. */
async function giveBack(operation: Operation, plan: RollingPlan, component: RollingInstance): Promise<void> {
  const { environment, owner } = operation;
  const { before, instance } = component;
  const undo = `${owner}/undo`;
  const claim = `${undo}/drain`;
  const step = { environment, component };
  try {
    const drained = await rolling.retakeInstance.executeWithOptions({ summary: `drain ${instance}` }, [
      { ...step, owner: claim, claims: [owner, `${owner}/drain`], ...within(plan.httpKeepAliveMs) },
    ]);
    // The operation had yet to come to it.
    if (drained === null) return;
    if (before === null) {
      const failed = { ...step, owner: undo, expected: claim };
      await rolling.leaveFailed.executeWithOptions({ summary: `keep ${instance} for a look` }, [failed]);
      return;
    }
    const { pid } = await rolling.replaceRelease.executeWithOptions({ summary: `replace ${instance}` }, [
      { ...step, owner: undo, expected: claim, release: before },
    ]);
    await instances.startInstance.executeWithOptions({ summary: `start ${instance}` }, [
      {
        environment,
        owner: undo,
        component: { ...component, sha256: before.sha256 },
        plan: releaseOf(before.sha),
      },
    ]);
    await rolling.admitInstance.executeWithOptions({ summary: `admit ${instance}` }, [
      { ...step, owner: undo, earlier: [], markedDownIn: pid },
    ]);
  } catch (error) {
    throw notGivenBack(error, operation, component);
  }
}

async function prune({ environment, owner, saga, warnings }: Operation, plan: RollingPlan): Promise<void> {
  try {
    await saga.step('remove old releases', rolling.pruneInstances, { environment, owner, plan });
  } catch (error) {
    warnings.push(`old releases are not removed (${describeFailure(error).message}); the next deploy does it`);
  }
}

const releaseOf = (sha: string) => ({ sha, target: null });

const within = (ms: number) => ({ until: new Date(Date.now() + ms).toISOString(), atMostMs: ms });

const describeGivingBack = ({ instance, before }: RollingInstance): string =>
  before ? `give ${instance} ${shortSha(before.sha)} again` : `keep ${instance} for a look`;

const describeLeft = (left: number): string | null =>
  left === 0 ? null : `${left} sessions were left at the deadline`;

const gapOf = ({ name, instance }: RollingInstance): string =>
  `no other instance of ${name} was up while ${instance} was replaced: visitors of ${name} were answered by the edge, with 503`;

/** What an instance that could not be given back is, and how to put it right. */
function notGivenBack(error: unknown, { environment }: Operation, component: RollingInstance): ApplicationFailure {
  const { message, remedy } = describeFailure(error);
  const { instance, before } = component;
  const again = before ? ` \`bascule deploy ${environment} ${before.sha} --again\` puts it right.` : '';
  return ApplicationFailure.create({
    type: 'needs-operator',
    message: `${message}; ${instance} may be without visitors`,
    nonRetryable: true,
    details: [
      { remedy: `${remedy ?? ''} \`bascule status ${environment}\` says what each instance holds.${again}`.trim() },
    ],
  });
}
