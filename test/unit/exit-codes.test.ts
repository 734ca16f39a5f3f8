import { describe, expect, test } from 'vitest';
import { endingOfError, exitCodeOfResult, exitCodes, signalExitCodes } from '../../src/cli/exit-codes.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { BasculeError } from '../../src/errors.js';

const result: OperationResult = {
  schemaVersion: 1,
  operation: 'demo/prod/deploy/7',
  environment: 'prod',
  kind: 'deploy',
  sha: 'abcdef0',
  outcome: 'failed',
  code: 'instance-unhealthy',
  message: '',
  remedy: null,
  from: { color: 'blue', sha: null },
  to: { color: 'green', sha: 'abcdef0' },
  generation: null,
  began: true,
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 1,
  lost: [],
  warnings: [],
  components: [],
  steps: [],
};

describe('an operation that was waited for', () => {
  test.each([
    { outcome: 'succeeded', code: null, exitCode: 0 },
    { outcome: 'failed', code: 'instance-unhealthy', exitCode: 1 },
    { outcome: 'failed', code: 'aborted', exitCode: 1 },
    { outcome: 'failed', code: 'artifact-not-found', exitCode: 2 },
    { outcome: 'failed', code: 'nothing-to-roll-back-to', exitCode: 2 },
    { outcome: 'needs-operator', code: 'needs-operator', exitCode: 3 },
  ] as const)('$outcome $code ends with $exitCode', ({ outcome, code, exitCode }) => {
    expect(exitCodeOfResult({ ...result, outcome, code })).toBe(exitCode);
  });

  test('what is found too late to be a refusal is a failure', () => {
    expect(exitCodeOfResult({ ...result, code: 'config-invalid', generation: 12 })).toBe(1);
  });
});

describe('an error', () => {
  test.each([
    { error: new BasculeError('usage', { problem: '', help: '' }), ending: 'refused' },
    { error: new BasculeError('config-invalid', { file: '', problems: [] }), ending: 'refused' },
    { error: new BasculeError('refused', { code: 'bad-sha', message: '', remedy: '' }), ending: 'refused' },
    { error: new BasculeError('timeout-passed', { operation: '', timeout: '1s' }), ending: 'detached' },
    { error: new BasculeError('temporal-lost', { operation: null }), ending: 'detached' },
    { error: new BasculeError('temporal-unreachable', { address: '' }), ending: 'unavailable' },
    { error: new BasculeError('no-worker', { project: '', taskQueue: '' }), ending: 'unavailable' },
    { error: new BasculeError('not-answered', { code: '', message: '', remedy: '' }), ending: 'unavailable' },
    { error: new TypeError('x is undefined'), ending: 'bug' },
    { error: 'thrown text', ending: 'bug' },
  ])('$error is $ending', ({ error, ending }) => {
    expect(endingOfError(error)).toBe(ending);
  });

  test('of a key that the answer needs is a refusal before, and ends the waiting alone where an operation goes on', () => {
    const error = new BasculeError('encryption-key-missing', { keyId: 'k1' });
    expect([endingOfError(error), endingOfError(error, true)]).toEqual(['refused', 'detached']);
    expect(endingOfError(new BasculeError('config-invalid', { file: '', problems: [] }), true)).toBe('refused');
  });
});

test('the exit codes are those that scripts rely on', () => {
  expect({ ...exitCodes, ...signalExitCodes }).toEqual({
    succeeded: 0,
    accepted: 0,
    failed: 1,
    refused: 2,
    'needs-operator': 3,
    detached: 4,
    unavailable: 5,
    bug: 70,
    SIGHUP: 129,
    SIGINT: 130,
    SIGTERM: 143,
  });
});
