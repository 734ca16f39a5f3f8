import {
  type FailoverPlan,
  type FailoverReport,
  type FailoverTestRequest,
  type FailoverVisit,
  isServed,
} from '../domain/failover.js';
import type { OperationInput, OperationResult } from '../domain/operation.js';
import { BasculeError } from '../errors.js';
import { refusalOf } from './environment-checks.js';
import { beginOperation, type Ending, type Operation } from './operation.js';
import { failover } from './proxies.js';

/**
 * Ends one instance of a component by force and sees whether visitors are served by the others meanwhile. Whatever
 * happens, it is started again.
 */
export async function failoverTest(input: OperationInput<FailoverTestRequest>): Promise<OperationResult> {
  const { environment, request } = input;
  const command = `bascule failover-test ${environment} ${request.component}`;
  const operation = beginOperation(input, 'failover-test', null, command);
  return operation.run(() => testFailover(operation, request));
}

async function testFailover(operation: Operation, request: FailoverTestRequest): Promise<Ending> {
  const { environment, owner, saga } = operation;

  // 0. All of it is UP, and another one can answer.
  const plan = await saga.step('see that all is UP', failover.planFailoverTest, { environment, request });
  const { instance } = plan;
  operation.from = plan.active;
  operation.to = plan.active;
  const report = (seen: Partial<FailoverReport>) => {
    operation.failover = { ...(operation.failover ?? nothingSeen(plan)), ...seen };
  };
  report({});

  // 1. Visitors are served.
  const before = await saga.step('visit while all is UP', failover.visitPool, { plan }, describeVisits);
  report({ before });
  requireServed(plan, before, 'while all of its instances were UP');

  // 2. Stop it by force. From here on it is started again, whatever happens.
  saga.takeBackWith(`start ${instance} again`, failover.startAgain, { owner, environment, plan });
  const { stoppedAt } = await saga.step(`stop ${instance} by force`, failover.stopByForce, {
    ...{ owner, environment, plan },
  });
  report({ stoppedAt });

  // 3. The edge notices.
  const down = await saga.step(
    'wait until the edge has it DOWN',
    failover.waitUntilDown,
    { plan, since: stoppedAt },
    ({ afterMs }) => `after ${seconds(afterMs)}; fall × interval is ${seconds(plan.expectedDownMs)}`,
  );
  report({ downAfterMs: down.afterMs });

  // 4. Visitors are served by the others.
  const meanwhile = await saga.step('visit while it is DOWN', failover.visitPool, { plan }, describeVisits);
  report({ meanwhile });
  requireServed(plan, meanwhile, `while ${instance} was down`);

  // 5. Start it again.
  const { startedAt } = await saga.step(`start ${instance}`, failover.startAgain, { owner, environment, plan });
  report({ startedAt });
  const up = await saga.step('wait until the edge has it UP', failover.waitUntilUpAgain, { plan, since: startedAt });
  report({ upAfterMs: up.afterMs });
  return {
    message: `${plan.component.name} of ${environment} was served while ${instance} was down: DOWN after ${seconds(down.afterMs)}, UP ${seconds(up.afterMs)} after its start`,
    changed: true,
  };
}

function requireServed(
  { component: { name: component } }: FailoverPlan,
  visits: readonly FailoverVisit[],
  when: string,
): void {
  const failed = visits.filter((visit) => !isServed(visit));
  if (failed.length === 0) return;
  const statuses = failed.map(({ status }) => (status === 0 ? 'no answer' : String(status)));
  throw refusalOf(new BasculeError('failover-not-served', { component, visits: visits.length, when, statuses }));
}

const nothingSeen = ({ component, instance, others, expectedDownMs }: FailoverPlan): FailoverReport => ({
  component: component.name,
  instance,
  others,
  expectedDownMs,
  before: [],
  stoppedAt: null,
  downAfterMs: null,
  meanwhile: [],
  startedAt: null,
  upAfterMs: null,
});

const describeVisits = (visits: readonly FailoverVisit[]): string =>
  `${visits.filter(isServed).length} of ${visits.length} served`;

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
