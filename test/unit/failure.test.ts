import { ActivityFailure, ApplicationFailure, RetryState, TimeoutFailure, type TimeoutType } from '@temporalio/common';
import { expect, test } from 'vitest';
import { describeFailure } from '../../src/workflows/failure.js';

const failed = (cause: Error) =>
  new ActivityFailure(
    'the activity failed',
    'startInstance',
    '7',
    RetryState.MAXIMUM_ATTEMPTS_REACHED,
    'worker',
    cause,
  );

test.each<[TimeoutType, string]>([
  ['HEARTBEAT', 'heartbeat'],
  ['START_TO_CLOSE', 'start to close'],
])('a step of which nobody hears any more (%s) is named, with where to look', (type, said) => {
  expect(describeFailure(failed(new TimeoutFailure('activity timed out', undefined, type)))).toEqual({
    code: 'timed-out',
    message: `startInstance did not end in time (${said})`,
    remedy: 'Look at the worker that ran it: `bascule status`, and its log.',
  });
});

test("a step that failed says what its activity said, below Temporal's wrapping", () => {
  const cause = ApplicationFailure.create({ type: 'unhealthy', message: 'no', details: [{ remedy: 'see its log' }] });
  expect(describeFailure(failed(cause))).toEqual({ code: 'unhealthy', message: 'no', remedy: 'see its log' });
});

test('a step that ended in a way that nobody foresaw says so', () => {
  expect(describeFailure(new RangeError('what'))).toEqual({ code: 'unforeseen', message: 'what', remedy: null });
});
