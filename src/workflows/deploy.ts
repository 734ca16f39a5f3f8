import type { ColorChange } from '../domain/edge-change.js';
import { shortSha } from '../domain/names.js';
import type {
  CountedTraffic,
  DeployRequest,
  OperationInput,
  OperationResult,
  PlannedComponent,
  ReleasePlan,
} from '../domain/operation.js';
import { drainColor } from './drain.js';
import { beginOperation, type Ending, type Operation } from './operation.js';
import { instances, plans, watches } from './proxies.js';
import { rollOut } from './rolling-deploy.js';
import { inParallel } from './saga.js';

/** What differs when a release is deployed again by a full rollback: no approval, no soak, no migration, and back in the history. */
export interface DeployMode {
  readonly isRollback: boolean;
}

export async function deploy(input: OperationInput<DeployRequest>): Promise<OperationResult> {
  const command = `bascule deploy ${input.environment} ${input.request.sha}`;
  const operation = beginOperation(input, 'deploy', input.request.sha, command);
  return operation.run(() => deployRelease(operation, input.request, { isRollback: false }));
}

/**
 * Puts a release on the inactive color, proves it there, and gives it the visitors; in multi-instance `rollOut` does.
 * Until the switch a failure leaves visitors with the active color; after it, with the color that was active before.
 */
export async function deployRelease(operation: Operation, request: DeployRequest, mode: DeployMode): Promise<Ending> {
  const { id, environment, owner, saga } = operation;

  // 1. Pin: what exactly is deployed, and where to.
  const plan = await saga.step('pin artifacts', plans.pinRelease, {
    environment,
    request,
    isRollback: mode.isRollback,
  });
  operation.from = plan.active;
  operation.warnings.push(...plan.warnings);
  operation.components = plan.components.map(({ name, url, sha256, instance }) => ({ name, url, sha256, instance }));
  operation.goesTo({ color: plan.target, sha: plan.sha });
  if (plan.isActiveAlready && !request.again && !mode.isRollback) {
    operation.goesTo(plan.active);
    return { message: `${environment} serves ${shortSha(plan.sha)} already; nothing done`, changed: false };
  }

  // Instances side by side have no colors: they are replaced one after the other.
  if ('topology' in plan) return rollOut(operation, plan, request, mode);

  // 2. Fetch: every artifact is here, right, and can be unpacked before anything is given up.
  const { sha } = plan;
  await inParallel(
    plan.components.map(
      (component) => () =>
        saga.step(`fetch ${component.name}`, instances.fetchArtifact, { environment, sha, component }),
    ),
  );

  // 3. Disable the standby: until the switch nobody falls back to the inactive color. Never undone.
  const standDown = await operation.changeEdge(`stand down ${plan.target}`, {
    kind: 'stand-down',
    id: `${owner}/stand-down`,
    operation: id,
    environment,
    urgent: mode.isRollback,
  });
  if (plan.standby !== null) operation.lost.push(`the standby ${shortSha(plan.standby)} on ${plan.target}`);

  // 4. Drain: no old HAProxy worker can send a visitor to the inactive color.
  await drainColor(operation, plan, standDown.reloadedAt);

  // 5. Recreate. What fails from here on is kept for a look until the next deploy. Nobody can be sent there, marked or not.
  saga.takeBackWith(
    'keep the failed instances for a look',
    instances.markFailed,
    { owner, environment, plan },
    ({ code, message }) =>
      operation.warnings.push(
        `the instances of ${plan.target} are not marked as failed (${message}); ${
          code === 'instance-active'
            ? 'they go on as they are, since visitors may get them'
            : `they get no visitors, and the next deploy or \`bascule cleanup ${environment}\` ends them`
        }`,
      ),
  );
  const recreated = await inParallel(
    plan.components.map(
      (component) => () =>
        saga.step(`recreate ${component.instance}`, instances.recreateInstance, {
          owner,
          environment,
          component,
          plan,
        }),
    ),
  );

  // 6. Migrate, one after the other, before anything of the release starts.
  if (!mode.isRollback && !request.skipMigrate) {
    for (const component of plan.components) {
      if (component.configuration.migrate) await migrate(operation, plan, component);
    }
  }

  // 7. Start: healthy from here, then healthy as the edge sees it.
  await inParallel(
    plan.components.map(
      (component) => () =>
        saga.step(`start ${component.instance}`, instances.startInstance, { owner, environment, component, plan }),
    ),
  );
  const onEdge = { environment, plan, owner, markedDownIn: recreated };
  let counted = await saga.step('healthy on the edge', watches.waitUntilUpOnEdge, onEdge);

  // 8. Approval, where it is asked for; after it, a look at what may have become of the release meanwhile.
  if (!mode.isRollback && (plan.needsApproval || request.waitForApproval)) {
    await operation.waitForApproval();
    counted = await saga.step('still healthy on the edge', watches.waitUntilUpOnEdge, onEdge);
  }

  // 9. Switch, then soak: the first minute with visitors.
  const isFirst = plan.active.sha === null;
  const change: ColorChange = {
    kind: 'color',
    id: `${owner}/switch`,
    operation: id,
    environment,
    from: plan.active.color,
    to: plan.target,
    sha: plan.sha,
    history: mode.isRollback ? 'back' : 'push',
    rewrite: mode.isRollback,
    urgent: mode.isRollback,
  };
  saga.takeBackBy(`switch back to ${plan.active.color}`, () => operation.switchBack(change, plan.active));
  await operation.changeEdge(`switch to ${plan.target}`, change);
  if (!mode.isRollback) {
    // Stopped while the switch came into force: it is taken back, also where there is no soak.
    operation.refuseIfStopped();
    const baseline = [plan.baseline, counted].filter((one) => one !== null);
    if (isFirst && request.soakMs === undefined) saga.skip('soak', 'a first release has none to go back to');
    else await soak(operation, plan, baseline);
  }

  // 10. The color that was active is the standby now, or nobody's after a rollback.
  operation.lost.length = 0;
  return { message: `${environment} serves ${shortSha(plan.sha)} (${plan.target})`, changed: true };
}

async function migrate(operation: Operation, plan: ReleasePlan, component: PlannedComponent): Promise<void> {
  operation.lost.push(`the migration of ${component.name} ran and is not taken back`);
  const { owner, environment } = operation;
  await operation.saga.step(`migrate ${component.name}`, instances.migrate, { owner, environment, component, plan });
}

async function soak(operation: Operation, plan: ReleasePlan, baseline: readonly CountedTraffic[]): Promise<void> {
  if (plan.soak.forMs === 0) return operation.saga.skip('soak');
  const { environment, owner } = operation;
  const until = new Date(Date.now() + plan.soak.forMs).toISOString();
  await operation.whileWaiting('soak', plan.soak.forMs, () =>
    operation.saga.step('soak', watches.watchSoak, { environment, owner, plan, until, baseline }),
  );
}
