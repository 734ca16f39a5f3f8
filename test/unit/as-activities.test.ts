import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { expect, test } from 'vitest';
import { asActivities } from '../../src/activities/as-activities.js';
import { BasculeError } from '../../src/errors.js';

test.each([
  { retryAfterMs: 7_000, nextRetryDelay: 7_000 },
  // The workflow's own waits, which grow: an authority that says "at once" each time is not asked in a loop.
  { retryAfterMs: 0, nextRetryDelay: undefined },
  { retryAfterMs: null, nextRetryDelay: undefined },
])('what is to be asked again after $retryAfterMs ms is', async ({ retryAfterMs, nextRetryDelay }) => {
  const args = { ca: 'ca.example.org', act: 'take an order', reason: 'HTTP 503', retryAfterMs };
  const { ask } = asActivities({
    ask: async () => {
      throw new BasculeError('acme-unavailable', args);
    },
  });
  const quiet = { logger: new DefaultLogger('ERROR') };
  const failure = await new MockActivityEnvironment({}, quiet).run(ask, undefined).catch((error: unknown) => error);
  expect(failure).toMatchObject({ type: 'acme-unavailable', nonRetryable: false });
  expect(failure).toHaveProperty('nextRetryDelay', nextRetryDelay);
});
