import { expect, test } from 'vitest';
import { resultOfFailure } from '../../src/domain/operation.js';
import { stepTable } from '../../src/domain/step-table.js';

test("steps are aligned lines in a code block, which Temporal's UI renders", () => {
  const startedAt = '2026-01-01T12:34:56.789Z';
  const steps = [
    { name: 'pin artifacts', startedAt, durationMs: 1_234, outcome: 'done' as const },
    { name: 'soak', startedAt, durationMs: 0, outcome: 'skipped' as const, note: 'a ``` first | release' },
    { name: 'drain', startedAt, durationMs: null, outcome: 'running' as const },
  ];
  expect(stepTable('demo/prod/deploy/1', steps).split('\n')).toEqual([
    ...['**demo/prod/deploy/1**', '', '```'],
    '✔ pin artifacts  12:34:56     1.2 s  done',
    "- soak           12:34:56     0.0 s  skipped: a ''' first | release",
    '… drain          12:34:56            running',
    '```',
  ]);
});

test('the result of an operation is found in the failure of its workflow, however it is wrapped', () => {
  const result = { schemaVersion: 1, operation: 'demo/prod/deploy/1', outcome: 'failed' };
  const failure = Object.assign(new Error('it failed'), { details: [{ remedy: null, result }] });
  expect(resultOfFailure(new Error('workflow failed', { cause: failure }))).toBe(result);
  expect(resultOfFailure(Object.assign(new Error('other'), { details: [{ remedy: 'type this' }] }))).toBe(null);
  expect(resultOfFailure('no error')).toBe(null);
});
