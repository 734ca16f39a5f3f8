import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EdgeChange, EdgeRecord } from '../../src/domain/edge-change.js';
import { planChange } from '../../src/domain/edge-plan.js';
import { type Color, neverDeployed, otherColor } from '../../src/domain/edge-state.js';
import { EnvironmentBook } from '../../src/domain/environment-book.js';
import { emptyEnvironment, type QueuedOperation } from '../../src/domain/environment-queue.js';
import { operationId } from '../../src/domain/names.js';
import type { OperationResult, Release } from '../../src/domain/operation.js';
import { planRollback, planSwitch } from '../../src/domain/plans.js';
import type { Answer } from '../rig/expectation.js';
import { type Held, isUnhealthy, isUnknown, type Request, type Seen } from '../rig/model.js';
import { actOut, type Environment, environments, type Site, schedules } from '../rig/schedule.js';
import { replayable, seed } from '../rig/seed.js';

const drawn = schedules({ maxCommands: 30, pauses: [], faults: fc.constant([]) });

/** What the model says of each operation is what the plans of src/domain come to, one operation after the other. */
test('plans of operations leave what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(drawn, (commands) => actOut(commands, plannedSite())),
    replayable(500),
  );
});

test.each<{ wrong: string; see: (seen: Seen) => Seen }>([
  { wrong: 'a history with a line too many', see: (seen) => ({ ...seen, history: [...seen.history, 'blue fffffff'] }) },
  { wrong: 'no standby at all', see: (seen) => ({ ...seen, standby: null }) },
  { wrong: 'the inactive color cleaned up', see: (seen) => ({ ...seen, held: cleaned(seen) }) },
])('the model says no to $wrong', async ({ see }) => {
  const wrongSite = (site: Site): Site => ({ ...site, see: async (environment) => see(await site.see(environment)) });
  const acted = fc.asyncProperty(drawn, (commands) => actOut(commands, wrongSite(plannedSite())));
  expect(await fc.check(acted, { seed, numRuns: 100, endOnFailure: true })).toMatchObject({ failed: true });
});

const cleaned = ({ color, held }: Seen) => ({ ...held, [otherColor(color)]: 'nothing' as const });

function plannedSite(): Site {
  const places = Object.fromEntries(environments.map((name) => [name, new Place(name)])) as Record<Environment, Place>;
  return {
    ask: async (environment, _, { kind, ...request }) => {
      if (kind === 'approve' || kind === 'abort') return { refused: 'nothing-to-steer' };
      return places[environment].ask({ kind, ...request } as Request);
    },
    disturb: async () => [],
    pause() {},
    hasPaused: async () => false,
    settle: async (environment) => places[environment].results,
    see: async (environment) => places[environment].seen(),
    check: async () => {},
    end: async () => {},
  };
}

/** Runs each operation as it comes, and to its end. */
class Place {
  readonly results = new Map<string, OperationResult>();
  private readonly book: EnvironmentBook;
  private state = neverDeployed('this');
  private histories: EdgeRecord['histories'] = {};
  private readonly held: Record<Color, Held> = { blue: 'nothing', green: 'nothing' };

  constructor(private readonly name: string) {
    this.book = new EnvironmentBook(name, emptyEnvironment, () => 0);
  }

  seen() {
    const { color, sha, standby } = this.state;
    return { color, sha, standby, history: this.lines.map((line) => `${line.color} ${line.sha}`), held: this.held };
  }

  ask({ kind, ...request }: Request): Answer {
    const operation = { id: '', kind, request } as QueuedOperation;
    if (operation.kind === 'rollback') {
      const repeated = this.book.repeatedRollback(operation.request);
      if (repeated) return { operation: repeated, joined: true };
      if (this.book.state.failedDeploy && !operation.request.to) return { refused: 'rollback-refused' };
    }
    const id = operationId('demo', this.name, kind, this.book.nextNumber());
    const { color, sha, standby } = this.state;
    const failure = this.run({ ...operation, id } as QueuedOperation);
    const result: OperationResult = {
      ...this.book.neverBegan({ ...operation, id } as QueuedOperation, ''),
      outcome: failure ? 'failed' : 'succeeded',
      code: failure,
      from: { color, sha },
      to: { color: this.state.color, sha: this.state.sha } satisfies Release,
      changed: this.state.color !== color || this.state.sha !== sha || kind === 'cleanup',
      lost: failure && standby && !this.state.standby ? ['the standby'] : [],
    };
    this.book.remember({ ...operation, id } as QueuedOperation, result);
    this.results.set(id, result);
    return { operation: id, joined: false };
  }

  /** @returns the code of its failure, null where it succeeds */
  private run({ id, kind, request }: QueuedOperation): string | null {
    const target = otherColor(this.state.color);
    if (kind === 'deploy') {
      if (isUnknown(request.sha)) return 'artifact-not-found';
      const runs = this.state.sha === request.sha && this.isHeld(this.state.color, request.sha);
      return runs && !request.again ? null : this.replace(id, request.sha, false);
    }
    if (kind === 'switch') {
      const held = this.held[request.color];
      const plan = planSwitch(this.state, this.lines, request.color, [typeof held === 'object' ? held.sha : null]);
      if ('refused' in plan) return 'switch-refused';
      this.change({
        ...named(id),
        kind: 'color',
        from: this.state.color,
        to: plan.to.color,
        sha: plan.to.sha,
        history: plan.history,
      });
      return null;
    }
    if (kind === 'rollback') {
      const plan = planRollback(this.state, this.lines, request.to ?? null);
      if (!plan) return 'nothing-to-roll-back-to';
      const { from, to } = plan;
      if (from.color === to.color && from.sha === to.sha) return null;
      if (!request.full && this.isHeld(to.color, to.sha)) {
        this.change({
          ...named(id),
          kind: 'color',
          from: this.state.color,
          to: to.color,
          sha: to.sha,
          history: 'back',
        });
        return null;
      }
      return isUnknown(to.sha) ? 'artifact-not-found' : this.replace(id, to.sha, true);
    }
    if (kind === 'failover-test') return null;
    const isKept = this.state.standby !== null && !request.standby;
    if (isKept || this.held[target] === 'nothing') return null;
    this.change({ ...named(id), kind: 'stand-down' });
    this.held[target] = 'nothing';
    return null;
  }

  private replace(id: string, sha: string, isRollback: boolean): string | null {
    const target = otherColor(this.state.color);
    this.change({ ...named(id), kind: 'stand-down' });
    this.held[target] = 'rubble';
    if (isUnhealthy(sha)) return 'instance-unhealthy';
    this.held[target] = { sha };
    const history = isRollback ? 'back' : 'push';
    this.change({ ...named(id), kind: 'color', from: this.state.color, to: target, sha, history, rewrite: isRollback });
    return null;
  }

  private change(change: EdgeChange): void {
    const record = { states: [this.state], histories: this.histories } as unknown as EdgeRecord;
    const { states, histories } = planChange(change, record, ['this'], new Date(0).toISOString());
    this.state = states[0] ?? this.state;
    this.histories = histories;
  }

  private isHeld(color: Color, sha: string): boolean {
    const held = this.held[color];
    return typeof held === 'object' && held.sha === sha;
  }

  private get lines() {
    return this.histories.this ?? [];
  }
}

const named = (id: string) => ({ id, operation: id, environment: 'this' });
