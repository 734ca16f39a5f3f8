import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { EdgeChangeResult } from '../../src/domain/edge-change.js';
import type { CertificatesRequest, CertificatesResult } from '../../src/domain/issuance.js';
import { certificateWorkflowId } from '../../src/domain/names.js';
import { BasculeError } from '../../src/errors.js';
import { operationCalls } from './rig/edge-world.js';
import { type Rig, startRig } from './rig/rig.js';
import { beginObtaining, beginRun, type CertificateRun, certificateRuns } from './rig/runs.js';
import { project, type World } from './rig/world.js';

let rig: Rig;
let world: World;

beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

beforeEach(() => {
  world = rig.newWorld();
  world.holds('aaaaaaa', 'bbbbbbb');
});

const ca = 'ca.test';
const obtain = async (request?: CertificatesRequest): Promise<CertificatesResult> =>
  await rig.resultOf(await beginObtaining(rig, world, request));

const calledIn = (world: World): string[] => [...new Set(operationCalls(world))];
const callsOf = ({ faults }: World, step: string): number => faults.calls.filter((call) => call === step).length;
/** Whether it is a step of the workflow `certificate`. */
const isOfCertificate = (step: string): boolean => / a$| install$/.test(step);
const nameOf = (name: string, { name: of }: World = world): string => `${of}.${name}`;

const ofRuns = Object.entries<CertificateRun>(certificateRuns);
/** An apply has those of each certificate done by the workflow that is the first row. */
const ownSteps = ({ type, steps }: CertificateRun): readonly string[] =>
  steps.filter((step) => type !== 'apply' || !isOfCertificate(step));
const resultOfRun = async (own: World, run: CertificateRun) =>
  await rig.resultOf<CertificatesResult | EdgeChangeResult>(await beginRun(rig, own, run));

// First, since the server's time, which passes between two tries, may stand still after activities that fail for good.
test.each(ofRuns)('%s takes the steps that are listed, in that order; each may fail once', async (_, run) => {
  run.prepare(world);
  const steps = ownSteps(run);
  for (const step of steps) world.faults.set(step, 'fails once');
  expect(await resultOfRun(world, run)).toMatchObject({ outcome: 'succeeded', code: null, remedy: null });
  expect(calledIn(world)).toEqual(run.steps);
  expect(steps.filter((step) => callsOf(world, step) < 2)).toEqual([]);
});

test.each(ofRuns)('%s in which a step fails for good says which, and puts nothing in force', async (_, run) => {
  // Whether that can be done changes nothing for visitors.
  const steps = ownSteps(run).filter((step) => step !== 'closeOrder a' && step !== 'scheduleLooks');
  const ended = await Promise.all(
    steps.map(async (step) => {
      const own = rig.newWorld();
      run.prepare(own);
      const before = own.edge.certificates;
      own.faults.set(step, 'fails');
      const id = await beginRun(rig, own, run);
      const { outcome, code, message, remedy } = await rig.resultInRealTime<CertificatesResult | EdgeChangeResult>(id);
      const { states } = own.edge.running;
      return {
        ...{ step, outcome, code, message: message.replace(nameOf('a', own), 'a'), remedy },
        isApplied: states.some(({ name }) => name === 'new'),
        isInstalled: Object.keys(own.edge.certificates).length > Object.keys(before).length,
      };
    }),
  );
  const documented = steps.map((step) => ({
    ...{ step, outcome: 'failed', code: 'broken', remedy: `fix ${step}` },
    message: `${isOfCertificate(step) ? 'a: ' : ''}${step} is broken`,
    isApplied: false,
    // The certificate of a new host is there before it is routed.
    isInstalled: step === 'requestEdgeChange in-force',
  }));
  expect(ended).toEqual(documented);
});

describe('a certificate that is missing', () => {
  test('is obtained, installed, and then served; its order is done with', async () => {
    world.missing('a');
    const { certificates, ...result } = await obtain();
    expect(result).toMatchObject({
      ...{ outcome: 'succeeded', code: null, remedy: null, changed: true, kept: [], warnings: [] },
      message: `${nameOf('a')}: served until 2026-04-01`,
      generation: world.edge.running.generation,
    });
    expect(certificates).toMatchObject([{ name: nameOf('a'), names: [nameOf('a')], certificate: { serial: '1' } }]);
    expect(world.edge.certificates).toEqual({ [nameOf('a')]: expect.any(String) });
    expect(world.orders).toEqual(new Set());
  });

  test('is served, whether its order can be closed or not', async () => {
    world.missing('a');
    world.faults.set('closeOrder a', 'fails');
    const result = await obtain();
    expect(result).toMatchObject({ outcome: 'succeeded', certificates: [{ outcome: 'succeeded' }] });
    expect(result.warnings).toEqual([expect.stringContaining('could not be closed (closeOrder a is broken)')]);
  });

  test('is served, whether the next look can be planned or not', async () => {
    world.missing('a');
    world.faults.set('scheduleLooks', 'fails');
    const result = await obtain();
    expect(result).toMatchObject({ outcome: 'succeeded', certificates: [{ outcome: 'succeeded' }] });
    expect(result.warnings).toEqual([expect.stringContaining('could not be planned: scheduleLooks is broken')]);
  });

  const preflight = [
    new BasculeError('certificate-forbidden', { ca, problems: ['a.test: CAA 0 issue "other.test" at a.test'] }),
    new BasculeError('name-not-found', { names: ['a.test'] }),
    new BasculeError('challenge-not-answered', {
      ...{ address: '127.0.0.1', port: 80 },
      problems: ['http://a.test/.well-known/acme-challenge/x at 127.0.0.1:80 answered 404'],
    }),
  ];
  test.each(preflight)('is not asked for where it could not be given: $code', async (error) => {
    world.missing('a');
    const before = world.edge.picture();
    world.faults.throws('checkNames a', error);
    const { code, message, remedy } = error;
    expect(await obtain()).toMatchObject({
      ...{ outcome: 'failed', code, message: `${nameOf('a')}: ${message}`, remedy, changed: false, generation: null },
      certificates: [{ outcome: 'failed', code, certificate: null }],
    });
    expect(calledIn(world)).toEqual(['planCertificates', 'checkNames a', 'scheduleLooks']);
    expect(callsOf(world, 'checkNames a')).toBe(1);
    expect(world.edge.picture()).toEqual(before);
  });

  const refusals = [
    {
      step: 'placeOrder a',
      error: new BasculeError('acme-refused', {
        ...{ ca, act: 'take an order', status: 400, type: 'rejectedIdentifier' },
        problem: 'policy forbids it (rejectedIdentifier)',
      }),
    },
    {
      step: 'answerChallenges a',
      error: new BasculeError('challenge-failed', { ca, problems: ['a.test: connection refused (connection)'] }),
    },
    {
      step: 'downloadCertificate a',
      error: new BasculeError('certificate-unusable', { name: 'a.test', reason: 'it is for other names: b.test' }),
    },
  ];
  test.each(refusals)('that the authority refuses at $step is asked for once, and told in its words', async (row) => {
    world.missing('a');
    const before = world.edge.picture();
    world.faults.throws(row.step, row.error);
    const { code, message, remedy } = row.error;
    expect(await obtain()).toMatchObject({
      ...{ outcome: 'failed', code, message: `${nameOf('a')}: ${message}`, remedy, changed: false },
    });
    expect(callsOf(world, row.step)).toBe(1);
    expect(world.edge.picture()).toEqual(before);
  });
});

describe('certificates side by side', () => {
  test('are each tried where one fails, in the renewal of every day', async () => {
    world.missing('a', 'b', 'c');
    world.faults.set('placeOrder b', 'fails');
    const { certificates, ...result } = await obtain({ kind: 'renew', keepGoing: true });
    expect(result).toMatchObject({ outcome: 'failed', code: 'broken', remedy: 'fix placeOrder b', changed: true });
    expect(result.message).toBe(`${nameOf('b')}: placeOrder b is broken\n2 of 3 are served`);
    const ended = certificates.map(({ name, outcome }) => [name, outcome]).toSorted();
    expect(ended).toEqual([
      [nameOf('a'), 'succeeded'],
      [nameOf('b'), 'failed'],
      [nameOf('c'), 'succeeded'],
    ]);
    expect(Object.keys(world.edge.certificates).toSorted()).toEqual([nameOf('a'), nameOf('c')]);
  });

  test('are twenty-five at a time; after one that failed no other is begun and those are named, unless it was asked to keep going', async () => {
    const names = Array.from({ length: 27 }, (_, index) => `n${index + 1}`);
    world.missing(...names);
    world.faults.set('checkNames', 'fails');
    const { certificates, message } = await obtain();
    expect(certificates).toHaveLength(25);
    expect(message).toContain(`not begun (--keep-going does): ${nameOf('n26')}, ${nameOf('n27')}`);
    expect((await obtain({ kind: 'issue', keepGoing: true })).certificates).toHaveLength(27);
    world.faults.fix('checkNames');
    expect(await obtain()).toMatchObject({
      ...{ outcome: 'succeeded', message: '27 certificates are served' },
    });
  });

  test('of the same name are one: who comes second waits for the first, and no other order is placed', async () => {
    world.missing('a');
    const held = world.faults.hold('finalizeOrder a');
    const first = await beginObtaining(rig, world);
    await held.reached;
    const second = obtain({ kind: 'renew', keepGoing: true });
    await expect.poll(() => world.faults.calls).toContain('awaitCertificate');
    held.release();
    const { certificates } = await rig.resultOf<CertificatesResult>(first);
    expect(await second).toMatchObject({ outcome: 'succeeded', certificates });
    expect(world.ordersPlaced).toBe(1);
  });
});

test('where nothing is due, nothing is asked of the authority and nothing of the edge', async () => {
  world.missing('a', 'b');
  world.edge.holdsCertificates(nameOf('a'), nameOf('b'));
  const before = world.edge.picture();
  expect(await obtain({ kind: 'renew', keepGoing: true })).toMatchObject({
    ...{ outcome: 'succeeded', changed: false, generation: null, certificates: [] },
    kept: [{ name: nameOf('a') }, { name: nameOf('b') }],
    message: 'nothing is due: 2 certificates are valid, the first of them until 2026-04-01',
  });
  expect(calledIn(world)).toEqual(['planCertificates']);
  expect(world.edge.picture()).toEqual(before);
});

test('one that is due is put in the place of the earlier one, and others stay', async () => {
  world.missing('a', 'b');
  world.edge.holdsCertificates(nameOf('a'), nameOf('b'));
  world.wantedCertificates = world.wantedCertificates.map((one, index) => (index === 0 ? { ...one, why: 'due' } : one));
  const { [nameOf('a')]: earlier, [nameOf('b')]: other } = world.edge.certificates;
  expect(await obtain({ kind: 'renew' })).toMatchObject({ outcome: 'succeeded', kept: [{ name: nameOf('b') }] });
  expect(world.edge.certificates[nameOf('a')]).not.toBe(earlier);
  expect(world.edge.certificates[nameOf('b')]).toBe(other);
});

describe('a certificate that the edge does not take', () => {
  test('is taken back, and the run says so; the next one goes on with the same order', async () => {
    world.missing('a');
    const before = world.edge.picture();
    world.edge.refusedCertificates.add(nameOf('a'));
    expect(await obtain()).toMatchObject({
      ...{ outcome: 'failed', code: 'haproxy-refused', changed: false, generation: null },
      message: `${nameOf('a')}: ${nameOf('a')} is none`,
    });
    expect(world.edge.picture()).toEqual(before);
    world.edge.refusedCertificates.clear();
    expect(await obtain()).toMatchObject({ outcome: 'succeeded' });
    expect(world.ordersPlaced).toBe(1);
  });

  test('and cannot take back either needs an operator, and so do the run and the apply that want it', async () => {
    const run = certificateRuns['an apply of a new host'];
    run.prepare(world);
    world.faults.set('recordColor of install', 'fails after its effect');
    world.faults.set('restoreConfig', 'fails');
    const { message, ...result } = await resultOfRun(world, run);
    expect(result).toMatchObject({ outcome: 'needs-operator', code: 'needs-operator', generation: null });
    expect(result.remedy).toContain('`bascule apply --repair`');
    expect(message).toContain(world.edge.needsOperator);
  });
});

describe('an apply', () => {
  const run = certificateRuns['an apply of a new host'];
  const isApplied = (): boolean => world.edge.running.states.some(({ name }) => name === 'new');

  test('routes a new host when its certificate is there, and answers with the generation', async () => {
    run.prepare(world);
    const held = world.faults.hold('requestEdgeChange in-force');
    const result = resultOfRun(world, run);
    await held.reached;
    expect([isApplied(), Object.keys(world.edge.certificates)]).toEqual([false, [nameOf('a')]]);
    held.release();
    const { generation } = await result;
    expect([isApplied(), generation]).toEqual([true, world.edge.running.generation]);
  });

  test('is not in force where a certificate is not given', async () => {
    run.prepare(world);
    world.faults.set('answerChallenges a', 'fails');
    expect(await resultOfRun(world, run)).toMatchObject({
      ...{ outcome: 'failed', code: 'broken', changed: false, generation: null, remedy: 'fix answerChallenges a' },
      message: `${nameOf('a')}: answerChallenges a is broken`,
    });
    expect(isApplied()).toBe(false);
  });

  test('on an edge that serves nothing yet comes first, since nobody else could answer; it says what is missing', async () => {
    run.prepare(world);
    world.isEdgeApplied = false;
    world.faults.set('checkNames a', 'fails');
    expect(await resultOfRun(world, run)).toMatchObject({
      ...{ outcome: 'failed', changed: true, generation: world.edge.running.generation },
      message: `bascule.yaml is in force, and its certificates are not there: ${nameOf('a')}: checkNames a is broken`,
    });
    expect(isApplied()).toBe(true);
  });
});

test('one that is revoked is named by its serial, served on, and what puts another in its place is said', async () => {
  const run = certificateRuns['certs revoke'];
  run.prepare(world);
  const before = world.edge.picture();
  const { message, changed } = await resultOfRun(world, run);
  expect(message).toContain('certificate 1 is revoked');
  expect(message).toContain(`bascule certs issue ${nameOf('a')} --force`);
  expect([changed, world.edge.picture()]).toEqual([false, before]);
});

test('those of another client are kept, and the edge answers for its account', async () => {
  const run = certificateRuns['certs adopt'];
  run.prepare(world);
  expect(await resultOfRun(world, run)).toMatchObject({
    ...{ outcome: 'succeeded', kept: [{ name: nameOf('a') }], certificates: [] },
    message: expect.stringContaining('the account is the one of before'),
  });
  expect(world.edge.running.answers).toBe(true);
  expect(await obtain()).toMatchObject({ message: 'nothing is due: the certificate is valid until 2026-04-01' });
});

test('the workflow of one certificate refuses to be started by hand, and says what to type', async () => {
  const id = certificateWorkflowId(project, nameOf('a'));
  await rig.start('certificate', id, [{}]);
  await expect(rig.resultOf(id)).rejects.toMatchObject({
    cause: { message: expect.stringContaining('bascule certs issue') },
  });
});

// Last, for the same reason as above.
describe('a run that is cancelled', () => {
  test('stops the certificate that it waits for, whose order is taken up by the next one', async () => {
    world.missing('a');
    const held = world.faults.hold('finalizeOrder a');
    const id = await beginObtaining(rig, world);
    await held.reached;
    await rig.client.workflow.getHandle(id).cancel();
    const result = await rig.client.workflow.getHandle(id).result();
    expect(result).toMatchObject({ outcome: 'failed', code: 'aborted', changed: false });
    expect(result.message).toContain('stopped as asked');
    expect(world.edge.certificates).toEqual({});
    held.release();
    const again = await beginObtaining(rig, world);
    expect(await rig.client.workflow.getHandle(again).result()).toMatchObject({ outcome: 'succeeded' });
    expect(world.ordersPlaced).toBe(1);
  });

  test('and that puts bascule.yaml in force leaves the edge as it was', async () => {
    const run = certificateRuns['an apply of a new host'];
    run.prepare(world);
    const held = world.faults.hold('verifyTraffic of in-force');
    const id = await beginRun(rig, world, run);
    await held.reached;
    const isApplied = (): boolean => world.edge.running.states.some(({ name }) => name === 'new');
    expect(isApplied()).toBe(true);
    const { client } = rig;
    await client.workflow.getHandle(id).cancel();
    expect(await client.workflow.getHandle(id).result()).toMatchObject({ outcome: 'failed', code: 'cancelled' });
    expect(isApplied()).toBe(false);
  });
});
