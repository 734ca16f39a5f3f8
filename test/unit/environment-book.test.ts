import { describe, expect, test } from 'vitest';
import { EnvironmentBook } from '../../src/domain/environment-book.js';
import { emptyEnvironment, type QueuedOperation } from '../../src/domain/environment-queue.js';
import type { Outcome } from '../../src/domain/operation.js';

const deploy: QueuedOperation = { id: 'demo/prod/deploy/2', kind: 'deploy', request: { sha: 'bbbbbbb' } };

/** Why a rollback without `--to` is refused after a deploy over aaaaaaa that ended like this. */
function refusalAfter(outcome: Outcome): string | null {
  const book = new EnvironmentBook('prod', emptyEnvironment, () => 0);
  const result = { ...book.neverBegan(deploy, ''), outcome, from: { color: 'green' as const, sha: 'aaaaaaa' } };
  book.remember(deploy, result);
  return book.state.failedDeploy;
}

describe('why a rollback has to name its release', () => {
  test('is said with what is served, where the deploy was taken back', () => {
    expect(refusalAfter('failed')).toContain('prod serves aaaaaaa');
  });

  test('claims nothing of what is served, where the deploy could not be taken back', () => {
    expect(refusalAfter('needs-operator')).toContain('demo/prod/deploy/2');
    expect(refusalAfter('needs-operator')).not.toContain('aaaaaaa');
  });

  test('is not said after a deploy that succeeded', () => {
    expect(refusalAfter('succeeded')).toBeNull();
  });
});
