import { Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import type { Activities } from '../../../src/activities/index.js';
import { runFailoverTest } from '../../../src/client/failover.js';
import type { EnvironmentName } from '../../../src/client/operations.js';
import { failoverVisits } from '../../../src/domain/failover.js';

/** Each step of a failover test, in order. */
export const failoverSteps: readonly string[] = [
  'planFailoverTest',
  'visitPool before',
  'stopByForce',
  'waitUntilDown',
  'visitPool meanwhile',
  'startAgain',
  'waitUntilUpAgain',
];

/** One instance in memory that a failover test stops, and another one that answers meanwhile. */
export class FailoverWorld {
  state: 'UP' | 'killed' | 'DOWN' | 'started' = 'UP';
  /** Whether visitors are served while it is down. */
  isServedMeanwhile = true;

  constructor(
    private readonly client: Client,
    private readonly name: EnvironmentName,
  ) {}

  readonly activities: Activities['failover'] = {
    planFailoverTest: async ({ request }) => ({
      active: { color: null, sha: 'bbbbbbb' },
      component: {
        ...{ name: request.component, pool: request.component, port: 8080, routes: [], isDefault: true },
        health: { path: '/health', intervalMs: 2_000, fall: 3, rise: 2 },
        ...{ balance: { kind: 'roundrobin' }, timeouts: {}, run: ['app'], env: {} },
        ...{ startDeadlineMs: 60_000, stopGraceMs: 30_000 },
      },
      instance: `${request.component}-1`,
      ...{ address: { address: '127.77.0.1', port: 8080 }, target: null, owner: 'before' },
      release: { sha: 'bbbbbbb', sha256: 'b'.repeat(64) },
      ...{ backend: request.component, others: [`${request.component}-2`], expectedDownMs: 6_000 },
      visit: { bind: { address: '127.0.0.1', port: 80 }, host: 'localhost', path: '/health' },
    }),
    visitPool: async () => {
      const isServed = this.state === 'UP' || this.isServedMeanwhile;
      const answer = isServed ? { status: 200, server: 'backend/backend-2' } : { status: 503, server: null };
      return Array.from({ length: failoverVisits }, () => ({ at: '2026-01-01T00:00:00.000Z', ms: 1, ...answer }));
    },
    stopByForce: async () => {
      this.state = 'killed';
      return { stoppedAt: new Date().toISOString() };
    },
    waitUntilDown: async () => {
      this.state = 'DOWN';
      return { afterMs: 1_500 };
    },
    startAgain: async () => {
      if (this.state !== 'UP') this.state = 'started';
      return { startedAt: new Date().toISOString() };
    },
    waitUntilUpAgain: async () => {
      this.state = 'UP';
      return { afterMs: 2_500 };
    },
    runFailoverTest: ({ environment, request }) => {
      const { cancellationSignal } = Context.current();
      return runFailoverTest(this.client, { ...this.name, environment }, request, cancellationSignal);
    },
  };
}
