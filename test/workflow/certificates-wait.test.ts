import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CertificatesRequest, CertificatesResult } from '../../src/domain/issuance.js';
import { certificateWorkflowId } from '../../src/domain/names.js';
import { BasculeError } from '../../src/errors.js';
import { type Rig, startRig } from './rig/rig.js';
import { authoritySteps, beginObtaining } from './rig/runs.js';
import { project, type World } from './rig/world.js';

// What an authority does not answer at once. Each has a server of its own, as in time.test.ts.

let rig: Rig;
let world: World;

/** The certificate `a` is missing. */
beforeEach(async () => {
  rig = await startRig();
  world = rig.newWorld();
  world.missing('a');
});
afterEach(() => rig.stop());

const minute = 60_000;
const ca = 'ca.test';
const renewal: CertificatesRequest = { kind: 'renew', keepGoing: true, patienceMs: 12 * 60 * minute };
const obtain = async (request?: CertificatesRequest): Promise<CertificatesResult> =>
  await rig.resultOf(await beginObtaining(rig, world, request));
const callsOf = (step: string): number => world.faults.calls.filter((call) => call === step).length;

/** How long an activity of the certificate took with all of its tries, in ms of the server's time until the last began. */
async function waitedFor(activity: string): Promise<number> {
  const handle = rig.client.workflow.getHandle(certificateWorkflowId(project, `${world.name}.a`));
  const { events } = await handle.fetchHistory();
  const at = events?.findIndex((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === activity);
  const [scheduled, started] = events?.slice(at).map(({ eventTime }) => Number(eventTime?.seconds) * 1_000) ?? [];
  return (started ?? 0) - (scheduled ?? 0);
}

const failedBy = ({ code, message, remedy }: BasculeError) => ({
  ...{ outcome: 'failed', code, message: `${world.name}.a: ${message}`, remedy },
});

const retryAt = '2036-12-02T03:04:05Z';
const limited = (retryAfterMs: number) =>
  new BasculeError('acme-rate-limited', {
    ...{ ca, act: 'take an order', problem: 'too many orders (rateLimited)', retryAt, retryAfterMs },
  });

test('an authority that has had too many requests is asked again when it says, in the same run', async () => {
  world.faults.throws('placeOrder a', limited(10 * minute), 1);
  expect(await obtain()).toMatchObject({ outcome: 'succeeded' });
  expect(await waitedFor('placeOrder')).toBeGreaterThanOrEqual(10 * minute);
  expect(callsOf('placeOrder a')).toBe(2);
});

test('one that says to come back later than a command waits ends it, in its words', async () => {
  world.faults.throws('placeOrder a', limited(60 * minute));
  expect(await obtain()).toMatchObject(failedBy(limited(60 * minute)));
  expect(callsOf('placeOrder a')).toBe(1);
});

test.each([
  ['a rate limit', 'placeOrder a', limited(24 * 60 * minute)],
  [
    'an order that is pending',
    'finalizeOrder a',
    new BasculeError('acme-order-pending', { ca, what: 'it waits', retryAfterMs: 24 * 60 * minute, retryAt }),
  ],
])(
  '%s for longer than the renewal waits is asked again by the schedule, when the authority says',
  async (_, step, error) => {
    world.faults.throws(step, error);
    const result = await obtain(renewal);
    expect(result).toMatchObject({ ...failedBy(error), certificates: [{ retryAt }] });
    expect(result.remedy).toContain(retryAt);
    expect(world.looksAt).toEqual([retryAt]);
    expect(callsOf(step)).toBe(1);
    world.faults.fix(step);
    expect(await obtain(renewal)).toMatchObject({ outcome: 'succeeded' });
    expect(world.looksAt).toEqual([]);
    expect(world.ordersPlaced).toBe(1);
  },
);

test('a renewal by the schedule waits for it', async () => {
  world.faults.throws('placeOrder a', limited(60 * minute), 1);
  expect(await obtain(renewal)).toMatchObject({ outcome: 'succeeded' });
  expect(await waitedFor('placeOrder')).toBeGreaterThanOrEqual(60 * minute);
});

test('an order that never ends is looked at less and less often, and gone on with by the next run', async () => {
  const what = 'the order for a.test is processing';
  const pending = new BasculeError('acme-order-pending', { ca, what, retryAfterMs: null });
  world.faults.throws('finalizeOrder a', pending);
  expect(await obtain()).toMatchObject(failedBy(pending));
  // Waits that double from 1 s up to 5 min, within 15 min.
  expect(callsOf('finalizeOrder a')).toBeGreaterThan(5);
  expect(callsOf('finalizeOrder a')).toBeLessThan(15);
  world.faults.fix('finalizeOrder a');
  expect(await obtain()).toMatchObject({ outcome: 'succeeded' });
  expect(world.ordersPlaced).toBe(1);
});

test('whatever step the worker ends in, the next one goes on with the same order', async () => {
  const steps = [...authoritySteps, 'requestEdgeChange install', 'closeOrder a'];
  const ended = await Promise.all(
    steps.map(async (step) => {
      const own = rig.newWorld();
      own.missing('a');
      own.faults.set(step, 'hangs once after its effect');
      const { outcome } = await rig.resultInRealTime<CertificatesResult>(await beginObtaining(rig, own));
      const tries = own.faults.calls.filter((call) => call === step).length;
      return { step, outcome, tries, orders: own.ordersPlaced, reloads: own.edge.reloads };
    }),
  );
  expect(ended).toEqual(steps.map((step) => ({ step, outcome: 'succeeded', tries: 2, orders: 1, reloads: 1 })));
});
