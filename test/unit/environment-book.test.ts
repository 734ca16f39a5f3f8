import { beforeEach, describe, expect, test } from 'vitest';
import { EnvironmentBook } from '../../src/domain/environment-book.js';
import { emptyEnvironment, isSameDeploy, type QueuedOperation } from '../../src/domain/environment-queue.js';
import type { DeployRequest, OperationResult } from '../../src/domain/operation.js';

let now: number;
let book: EnvironmentBook;
beforeEach(() => {
  now = Date.parse('2026-01-01T00:00:00Z');
  book = new EnvironmentBook('prod', emptyEnvironment, () => now);
});

const minute = 60_000;
const hour = 60 * minute;

type Requested = Omit<QueuedOperation, 'id'>;
const deploy = (sha: string): Requested => ({ kind: 'deploy', request: { sha } });
const rollback = (request = {}): Requested => ({ kind: 'rollback', request });
const cleanup: Requested = { kind: 'cleanup', request: {} };

function enqueue(requested: Requested): QueuedOperation {
  const operation = { ...requested, id: `prod/${requested.kind}/${book.nextNumber()}` } as QueuedOperation;
  book.enqueue(operation);
  return operation;
}

/** Runs an operation to its end. */
function run(requested: Requested, ended: Partial<OperationResult> = {}): QueuedOperation {
  const operation = enqueue(requested);
  book.dequeue();
  const from = { color: 'green' as const, sha: 'aaaaaaa' };
  const succeeded = { outcome: 'succeeded' as const, code: null, began: true, from };
  book.remember(operation, { ...book.neverBegan(operation, ''), ...succeeded, ...ended });
  return operation;
}

const queue = () => book.state.queue.map(({ id }) => id);
const resultOf = ({ id }: QueuedOperation) => book.state.results[id]?.result;

describe('the queue', () => {
  test('keeps at most one deploy waiting: a newer one replaces it, and its result says which', () => {
    const first = enqueue(deploy('ccccccc'));
    const waiting = enqueue(cleanup);
    const second = enqueue(deploy('ddddddd'));
    expect(queue()).toEqual([waiting.id, second.id]);
    expect(resultOf(first)).toMatchObject({ outcome: 'failed', code: 'superseded', sha: 'ccccccc', steps: [] });
    expect(resultOf(first)?.message).toContain(`${second.id} took its place`);
  });

  test('is emptied by a rollback, which goes first', () => {
    const replaced = [enqueue(deploy('ccccccc')), enqueue(cleanup)];
    const first = enqueue(rollback());
    expect(queue()).toEqual([first.id]);
    for (const one of replaced) expect(resultOf(one)?.message).toContain(`${first.id} took its place`);
  });

  test('ends an operation that is aborted as it waits', () => {
    const waiting = enqueue(deploy('ccccccc'));
    book.removeFromQueue(waiting);
    expect(queue()).toEqual([]);
    expect(resultOf(waiting)).toMatchObject({ outcome: 'failed', code: 'aborted', steps: [] });
  });
});

describe('a deploy is the same as another', () => {
  const asked: DeployRequest = { sha: 'ccccccc', soakMs: 5 };

  test('whoever asks, why and under which request id', () => {
    const again = { ...asked, by: 'bob', why: 'again', requestId: 'build-1', skipMigrate: false };
    expect(isSameDeploy(asked, again)).toBe(true);
  });

  test.each<Partial<DeployRequest>>([
    { sha: 'ddddddd' },
    { soakMs: 6 },
    { drainMs: 5 },
    { waitForApproval: true },
    { again: true },
    { skipMigrate: true },
  ])('but not with %j', (other) => {
    expect(isSameDeploy(asked, { ...asked, ...other })).toBe(false);
  });
});

test('a request id is the same operation for a day after it was asked for', () => {
  const request = { requestId: 'build-1' };
  book.rememberRequest(request, 'prod/deploy/1');
  now += 23 * hour;
  run(cleanup);
  expect(book.earlierOperation(request)).toBe('prod/deploy/1');
  expect(book.earlierOperation({})).toBeUndefined();
  now += 2 * hour;
  run(cleanup);
  expect(book.earlierOperation(request)).toBeUndefined();
});

describe('a second rollback', () => {
  test('is the first one again for a minute after its end', () => {
    const { id } = run(rollback());
    now += minute - 1;
    expect(book.repeatedRollback({})?.operation).toBe(id);
    // Which does not begin another minute.
    run(rollback(), { began: false, changed: false });
    now += 1;
    expect(book.repeatedRollback({})).toBeNull();
  });

  test('is one of its own for another release, or as a whole deploy', () => {
    const { id } = run(rollback({ to: 'aaaaaaa' }));
    expect(book.repeatedRollback({ to: 'aaaaaaa' })?.operation).toBe(id);
    expect(book.repeatedRollback({})).toBeNull();
    expect(book.repeatedRollback({ to: 'aaaaaaa', full: true })).toBeNull();
  });

  test('is one of its own after the first one failed', () => {
    run(rollback(), { outcome: 'failed' });
    expect(book.repeatedRollback({})).toBeNull();
  });

  test('is one of its own after another operation', () => {
    run(rollback());
    run(deploy('ccccccc'));
    expect(book.repeatedRollback({})).toBeNull();
  });
});

describe('a rollback has to name its release after a deploy that did not succeed', () => {
  test('over a release that still serves, which is named', () => {
    run(deploy('bbbbbbb'), { outcome: 'failed' });
    expect(book.state.failedDeploy).toContain('prod serves aaaaaaa');
  });

  test('and could not be taken back: nobody knows what serves', () => {
    const { id } = run(deploy('bbbbbbb'), { outcome: 'needs-operator' });
    expect(book.state.failedDeploy).toContain(id);
    expect(book.state.failedDeploy).not.toContain('aaaaaaa');
    expect(book.takenBack).toBeNull();
  });

  test.each<[string, Requested, Partial<OperationResult>]>([
    ['a cleanup', cleanup, {}],
    ['a dry run of a switch', { kind: 'switch', request: { color: 'green', dryRun: true } }, {}],
    ['a switch that changed nothing', { kind: 'switch', request: { color: 'green' } }, { changed: false }],
    ['a rollback that failed', rollback({ to: 'aaaaaaa' }), { outcome: 'failed' }],
  ])('even after %s', (_, requested, ended) => {
    const failed = run(deploy('bbbbbbb'), { outcome: 'failed' });
    run(requested, ended);
    expect(book.state.failedDeploy).toContain(failed.id);
    expect(book.takenBack).toEqual(resultOf(failed));
  });

  test.each<[string, Requested, Partial<OperationResult>]>([
    ['a deploy', deploy('ccccccc'), {}],
    ['a deploy that changed nothing', deploy('ccccccc'), { changed: false }],
    ['a switch', { kind: 'switch', request: { color: 'green' } }, { changed: true }],
    ['a rollback', rollback({ to: 'aaaaaaa' }), { changed: true }],
  ])('until %s succeeds', (_, requested, ended) => {
    run(deploy('bbbbbbb'), { outcome: 'failed' });
    run(requested, ended);
    expect(book.state.failedDeploy).toBeNull();
    expect(book.takenBack).toBeNull();
  });
});

describe('what never began changes nothing', () => {
  const all: readonly Requested[] = [
    ...[deploy('ccccccc'), rollback(), rollback({ to: 'ccccccc' }), cleanup],
    { kind: 'switch', request: { color: 'blue' } },
    { kind: 'failover-test', request: { component: 'web' } },
  ];
  const before: readonly [string, () => void][] = [
    ['nothing', () => {}],
    ['a deploy', () => run(deploy('bbbbbbb'))],
    ['a deploy that was taken back', () => run(deploy('bbbbbbb'), { outcome: 'failed' })],
    ['a deploy that could not be taken back', () => run(deploy('bbbbbbb'), { outcome: 'needs-operator' })],
    ['a rollback', () => run(rollback())],
  ];
  const refused = { outcome: 'failed', code: 'artifact-not-found', began: false } as const;
  const cases = before.flatMap(([after, prepare]) => all.map((requested) => ({ after, prepare, requested })));

  test.each(cases)('for whatever follows: $requested.kind, refused after $after', ({ prepare, requested }) => {
    for (const following of all) {
      book = new EnvironmentBook('prod', emptyEnvironment, () => now);
      const known = () => {
        const { failedDeploy, takenBack, lastRollback } = book.state;
        return {
          failedDeploy,
          takenBack,
          lastRollback,
          repeated: [{}, { to: 'ccccccc' }].map(book.repeatedRollback, book),
        };
      };
      prepare();
      const without = known();
      run(requested, refused);
      expect(known()).toEqual(without);
      run(following, refused);
      expect(known()).toEqual(without);
    }
  });

  test('a rollback that stopped a deploy before it began goes back no further, the next one does', () => {
    run(deploy('bbbbbbb'));
    const stopped = run(deploy('ccccccc'), { outcome: 'failed', code: 'rolled-back', began: false });
    expect(book.takenBack).toEqual(resultOf(stopped));
    run(rollback(), { began: false, changed: false });
    expect(book.takenBack).toBeNull();
    expect(book.state.failedDeploy).toBeNull();
  });
});
