import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import type { EdgeChange } from '../../src/domain/edge-change.js';
import { type Edge, edgeFiles } from '../../src/haproxy/edge.js';
import { examineFile } from '../../src/haproxy/examine.js';
import { installConfiguration } from '../../src/haproxy/install.js';
import { ensureManagedEdge, findProcesses, stopManagedEdge } from '../../src/haproxy/managed.js';
import { clearNeedsOperator, markNeedsOperator } from '../../src/haproxy/operator-mark.js';
import { lookAtEdge, readEdge } from '../../src/haproxy/read-edge.js';
import { refuseUnlessReady } from '../../src/haproxy/readiness.js';
import { recordColors } from '../../src/haproxy/record.js';
import { renderPlan } from '../../src/haproxy/render-plan.js';
import { readRunning, readServers } from '../../src/haproxy/runtime.js';
import { whyNotRunning } from '../../src/haproxy/silence.js';
import { stageConfiguration, unstageConfiguration } from '../../src/haproxy/stage.js';
import { verifyTraffic } from '../../src/haproxy/verify.js';
import { ask } from '../rig/ask.js';
import {
  applyChange,
  change,
  createTestEdge,
  isShareable,
  keepFiles,
  load,
  planned,
  switchChange,
  type TestEdge,
  takeBackAll,
  version,
  withEnvironments,
} from '../rig/edge.js';
import { ShimmedHost } from '../rig/faulty-host.js';
import { asOtherUser } from '../rig/other-user.js';

const tests: TestEdge[] = [];
/** Each ends what a test has started. */
const endings: (() => Promise<unknown>)[] = [];
const timeoutMs = 8_000;

afterEach(async () => {
  await Promise.all(endings.splice(0).map((end) => end()));
  await Promise.all(tests.splice(0).map((test) => test.dispose()));
});

async function newEdge(): Promise<TestEdge> {
  const test = await createTestEdge();
  tests.push(test);
  return test;
}

/** One edge serves all tests that begin with one that serves. */
let shared: (TestEdge & { restore(): Promise<void> }) | null = null;
afterAll(async () => await shared?.dispose());

/** An edge that serves the first configuration, with both colors of prod running. */
async function servingEdge(): Promise<TestEdge> {
  if (!isShareable()) {
    const test = await newServingEdge();
    tests.push(test);
    return test;
  }
  if (shared) await shared.restore();
  else {
    const test = await newServingEdge();
    const { restore, remove } = await keepFiles(test);
    shared = { ...test, restore, dispose: async () => void (await Promise.all([remove(), test.dispose()])) };
  }
  const { edge } = shared;
  await waitUntil(async () => (await countUp(edge)) === 4);
  return shared;
}

async function newServingEdge(): Promise<TestEdge> {
  const test = await createTestEdge();
  await Promise.all([test.serve('prod', 'blue'), test.serve('prod', 'green')]);
  await change(test, 'run-1', applyChange);
  await waitUntil(async () => (await countUp(test.edge)) === 4);
  return test;
}

const countUp = async (edge: Edge): Promise<number> =>
  (await readServers(edge.configuration.files.socket)).servers.filter(({ isUp }) => isUp).length;

async function errorOf(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('nothing was thrown');
}

async function visit(test: TestEdge, path = '/'): Promise<string> {
  const { status, body } = await ask(test.applied.configuration.edge.http, 'prod.localhost', path);
  return status === 200 ? body : String(status);
}

async function driftOf(edge: Edge): Promise<string[]> {
  return (await readEdge(edge, { probe: false, version })).drift.map(({ kind }) => kind);
}

/** What an operator does who can't wait: swaps the server lines of prod and reloads. */
async function swapByHand({ edge }: TestEdge): Promise<void> {
  const { config } = edgeFiles(edge);
  const text = await readFile(config, 'utf8');
  const swapped = text.replace(
    /^( +server demo-prod-\w+-\w+ +\S+?)( backup)?$/gm,
    (_, line: string, backup?: string) => (backup ? line : `${line} backup`),
  );
  await writeFile(config, swapped);
  const before = await readRunning(edge.configuration.files.socket);
  const { master = 0 } = (await findProcesses(edge, timeoutMs)) ?? {};
  await edge.host.run(['kill', '-s', 'HUP', String(master)], { timeoutMs });
  await waitUntil(async () => (await readRunning(edge.configuration.files.socket))?.pid !== before?.pid);
}

async function waitUntil(isSo: () => Promise<boolean>): Promise<void> {
  await vi.waitFor(async () => expect(await isSo()).toBe(true), { timeout: 20_000, interval: 20 });
}

/** Has another program of the edge's host listen there. */
async function occupy({ edge }: TestEdge, port: number): Promise<void> {
  const bind = { address: edge.configuration.http.address, port };
  const script = 'socat "TCP4-LISTEN:$2,bind=$1,reuseaddr,fork" SYSTEM:cat >/dev/null 2>&1 </dev/null & echo $!';
  const { stdout: pid } = await edge.host.run(['sh', '-c', script, 'occupy', bind.address, String(port)], {
    timeoutMs,
  });
  endings.push(() => edge.host.run(['kill', pid], { timeoutMs }));
  await waitUntil(async () => (await textOf(edge.host.connect(bind).end('taken')).catch(() => '')) === 'taken');
}

/** The edge, asked through a relay that counts the connections to HAProxy's socket. */
async function counted(test: TestEdge): Promise<{ readonly edge: Edge; asked(): number }> {
  const { configuration } = test.edge;
  const socket = join(test.folder, 'counted.sock');
  let asked = 0;
  const relay = createServer({ allowHalfOpen: true }, (visitor) => {
    asked += 1;
    visitor.pipe(connect({ path: configuration.files.socket, allowHalfOpen: true })).pipe(visitor);
  });
  await new Promise<void>((resolve) => relay.listen(socket, resolve));
  endings.push(async () => relay.close());
  const files = { ...configuration.files, socket };
  return { edge: { ...test.edge, configuration: { ...configuration, files } }, asked: () => asked };
}

function onPort(test: TestEdge, port: number): AppliedConfiguration {
  const wanted = structuredClone(test.applied) as unknown as { configuration: { edge: { http: { port: number } } } };
  wanted.configuration.edge.http.port = port;
  return wanted as unknown as AppliedConfiguration;
}

describe('an edge change', () => {
  it('installs the first configuration, starts HAProxy, and leaves no drift', async () => {
    const test = await servingEdge();
    const record = await readEdge(test.edge, { probe: true, version });
    expect(record.drift).toEqual([]);
    expect(record.installed?.generation).toBe(1);
    expect(record.running?.generation).toBe(1);
    expect(record.states).toEqual([
      { name: 'staging', color: 'blue', sha: null, standby: null },
      { name: 'prod', color: 'blue', sha: null, standby: null },
    ]);
    expect(record.pools['prod/web']).toEqual({ server: 'prod_web_pool/demo-prod-web-blue', status: 200 });
    expect(record.pools['staging/web']?.status).toBe(503);
  });

  it('is looked at with all its servers by asking HAProxy once', async () => {
    const { edge, asked } = await counted(await servingEdge());
    const { record, servers } = await lookAtEdge(edge, { probe: false, version });
    expect(record).toMatchObject({ drift: [], running: { generation: 1 } });
    expect(servers.filter(({ isUp }) => isUp)).toHaveLength(4);
    expect(asked()).toBe(1);
  });

  it('switches every pool of its environment, and the files say so', async () => {
    const test = await servingEdge();
    expect([await visit(test), await visit(test, '/api/v1')]).toEqual(['demo-prod-web-blue', 'demo-prod-api-blue']);
    await change(test, 'run-2', switchChange('blue', 'green'));
    expect([await visit(test), await visit(test, '/api/v1')]).toEqual(['demo-prod-web-green', 'demo-prod-api-green']);
    const record = await readEdge(test.edge, { probe: false, version });
    expect(record.drift).toEqual([]);
    expect(record.running).toMatchObject({ generation: 2, digest: record.installed?.digest });
    expect(record.states[1]).toEqual({ name: 'prod', color: 'green', sha: 'aaaaaaa', standby: null });
    expect(await readFile(edgeFiles(test.edge).color('prod'), 'utf8')).toBe('green\n');
  });

  it('that changes nothing says so', async () => {
    const test = await servingEdge();
    expect((await planned(test, 'run-2', applyChange)).plan).toMatchObject({
      changed: false,
      diff: '',
      templateChange: null,
    });
  });

  it('drops the files of an environment that is applied no more', async () => {
    const test = await servingEdge();
    await change(test, 'run-2', switchChange('blue', 'green'));
    await change(test, 'run-3', applyChange, withEnvironments(test.applied, ['staging']));
    expect(Object.keys(await test.files()).filter((name) => name.includes('active-color'))).toEqual([]);
    expect(await driftOf(test.edge)).toEqual([]);
  });

  it('reads the colors of an edge that Bascule never wrote from its color files', async () => {
    const test = await newEdge();
    await mkdir(test.edge.configuration.files.state, { recursive: true });
    await writeFile(edgeFiles(test.edge).color('prod'), 'green\n');
    const { states } = await readEdge(test.edge, { probe: false, version, wantedApplied: test.applied });
    expect(states.map(({ name, color }) => [name, color])).toEqual([
      ['staging', 'blue'],
      ['prod', 'green'],
    ]);
  });
});

describe('a change that is refused', () => {
  it.each<[string, EdgeChange]>([
    ['active-color-changed', switchChange('green', 'blue')],
    ['environment-not-applied', { ...switchChange('blue', 'green'), environment: 'preview' } as EdgeChange],
  ])('%s', async (code, what) => {
    const test = await servingEdge();
    const { record } = await planned(test, 'run-2', what);
    expect((await errorOf(refuseUnlessReady(test.edge, what, record))).code).toBe(code);
  });

  it('names the servers of the wanted color that are not UP on the edge', async () => {
    const test = await newEdge();
    await test.serve('prod', 'blue');
    await change(test, 'run-1', applyChange);
    const what = switchChange('blue', 'green');
    const { record } = await planned(test, 'run-2', what);
    const error = await errorOf(refuseUnlessReady(test.edge, what, record));
    expect(error.code).toBe('color-not-up');
    expect(error.message).toContain('prod_api_pool/demo-prod-api-green, prod_web_pool/demo-prod-web-green');
    await refuseUnlessReady(test.edge, { ...what, repair: true }, record);
    const back = { ...switchChange('blue', 'green', null) };
    await refuseUnlessReady(test.edge, back, record);
  });

  it('waits for an operator where a take-back failed, until a repair', async () => {
    const test = await servingEdge();
    const { takeBack } = await planned(test, 'run-2', applyChange);
    await markNeedsOperator(test.edge, { text: 'put back what was there', takeBack });
    const { record } = await planned(test, 'run-2', applyChange);
    const error = await errorOf(refuseUnlessReady(test.edge, applyChange, record));
    expect(error).toMatchObject({ code: 'edge-needs-operator', message: expect.stringContaining('put back what') });
    const claim = await change(test, 'run-3', { ...applyChange, repair: true });
    await clearNeedsOperator(test.edge, claim);
    const { record: after, plan } = await planned(test, 'run-4', applyChange);
    await refuseUnlessReady(test.edge, applyChange, after);
    expect(plan.changed).toBe(false);
  });

  it('says so where nothing was applied', async () => {
    const test = await newEdge();
    const what = switchChange('blue', 'green');
    const record = await readEdge(test.edge, { probe: false, version });
    expect((await errorOf(refuseUnlessReady(test.edge, what, record))).code).toBe('edge-not-applied');
  });
});

describe('drift', () => {
  it('is a reload with swapped server lines, after which a repair leaves visitors where they are', async () => {
    const test = await servingEdge();
    await change(test, 'run-2', switchChange('blue', 'green', 'aaaaaaa'));
    await change(test, 'run-3', switchChange('green', 'blue', 'bbbbbbb'));
    await waitUntil(async () => (await countUp(test.edge)) === 4);
    await swapByHand(test);
    expect(await visit(test)).toBe('demo-prod-web-green');
    const { drift, states } = await readEdge(test.edge, { probe: false, version });
    expect(drift.map(({ kind }) => kind)).toContain('other-configuration-running');
    expect(drift.map(({ message }) => message).join()).toContain('HAProxy sends prod to green');
    expect(states[1]).toEqual({ name: 'prod', color: 'green', sha: 'aaaaaaa', standby: 'bbbbbbb' });

    await change(test, 'run-4', { ...applyChange, id: 'repair', repair: true });
    expect(await driftOf(test.edge)).toEqual([]);
    expect(await visit(test)).toBe('demo-prod-web-green');
    expect(await readFile(edgeFiles(test.edge).color('prod'), 'utf8')).toBe('green\n');
  });

  it('is a file that was edited by hand', async () => {
    const test = await servingEdge();
    const { config } = edgeFiles(test.edge);
    await writeFile(config, (await readFile(config, 'utf8')).replace('mode http', 'mode http\n    # mine'));
    expect(await driftOf(test.edge)).toEqual(['hand-edited']);
    const { record } = await planned(test, 'run-2', applyChange);
    expect((await errorOf(refuseUnlessReady(test.edge, applyChange, record))).code).toBe('edge-drift');
    await change(test, 'run-3', { ...applyChange, repair: true });
    expect(await driftOf(test.edge)).toEqual([]);
  });

  it('is a color file or a history that was changed by hand', async () => {
    const test = await servingEdge();
    await change(test, 'run-2', switchChange('blue', 'green'));
    for (const [kind, file, text] of [
      ['color-file', 'color', 'blue\n'],
      ['history-file', 'history', '2026-01-01T00:00:00Z blue bbbbbbb\n'],
      ['history-file', 'history', 'nonsense\n'],
      ['history-file', 'history', ''],
    ] as const) {
      const path = edgeFiles(test.edge)[file]('prod');
      const before = await readFile(path, 'utf8');
      await writeFile(path, text);
      expect(await driftOf(test.edge)).toEqual([kind]);
      if (text.includes('blue')) await change(test, `run-${file}`, { ...applyChange, repair: true });
      else await writeFile(path, before);
      expect(await driftOf(test.edge)).toEqual([]);
    }
    expect(await visit(test)).toBe('demo-prod-web-green');
  });

  it('is an applied.json that was changed by hand, but not a template of another version', async () => {
    const test = await servingEdge();
    const { applied } = edgeFiles(test.edge);
    await writeFile(applied, (await readFile(applied, 'utf8')).replace('prod.localhost', 'www.localhost'));
    expect(await driftOf(test.edge)).toEqual(['template']);
    const record = await readEdge(test.edge, { probe: false, version: '2.0.0' });
    expect(record.drift).toEqual([]);
    const standDown: EdgeChange = { ...applyChange, kind: 'stand-down', environment: 'prod' };
    const at = '2026-01-01T00:00:00Z';
    const plan = await renderPlan(test.edge, { change: standDown, record, at, version: '2.0.0' });
    expect(plan.templateChange).toContain('www.localhost');
  });

  it('is a HAProxy that does not run, and a repair starts it', async () => {
    const test = await servingEdge();
    await stopManagedEdge(test.edge);
    expect(await driftOf(test.edge)).toEqual(['not-running']);
    await change(test, 'run-2', { ...applyChange, repair: true });
    expect(await visit(test)).toBe('demo-prod-web-blue');
    expect(await driftOf(test.edge)).toEqual([]);
  });

  it('is a process that serves an earlier file, and a repair keeps what visitors get', async () => {
    const test = await servingEdge();
    await change(test, 'run-2', switchChange('blue', 'green'));
    const step = await planned(test, 'run-3', switchChange('green', 'blue', 'bbbbbbb'));
    const claim = await stageConfiguration(test.edge, step);
    await installConfiguration(test.edge, { claim, ...step });
    const record = await readEdge(test.edge, { probe: false, version });
    expect(record.drift.map(({ kind }) => kind)).toEqual(['other-configuration-running']);
    expect(record.states[1]).toMatchObject({ color: 'green', sha: 'aaaaaaa' });
    await change(test, 'run-4', { ...applyChange, repair: true });
    expect(await visit(test)).toBe('demo-prod-web-green');
    expect(await driftOf(test.edge)).toEqual([]);
  });
});

describe('a step that fails', () => {
  it('in haproxy -c quotes the line, and leaves everything as it was', async () => {
    const test = await servingEdge();
    const { configuration, ...rest } = test.applied;
    const edge = { ...configuration.edge, extra: { frontend: 'no-such-keyword at-all\n' } };
    const step = await planned(test, 'run-2', applyChange, { ...rest, configuration: { ...configuration, edge } });
    const before = await test.files();
    const error = await errorOf(stageConfiguration(test.edge, step));
    expect(error.code).toBe('haproxy-refused');
    expect(error.message).toContain('[ALERT]');
    expect(error.message).toMatch(/line \d+: no-such-keyword at-all/);
    await unstageConfiguration(test.edge, step.takeBack);
    expect(await test.files()).toEqual({ ...before, 'state/generation': '3 run-2/undo\n' });
    expect(await visit(test)).toBe('demo-prod-web-blue');
  });

  it('on a new address that is taken is refused before anything is installed', async () => {
    const test = await servingEdge();
    const { port } = test.applied.configuration.edge.http;
    await occupy(test, port + 1);
    const step = await planned(test, 'run-2', applyChange, onPort(test, port + 1));
    expect((await errorOf(stageConfiguration(test.edge, step))).code).toBe('address-in-use');
    await unstageConfiguration(test.edge, step.takeBack);
    expect((await readEdge(test.edge, { probe: false, version })).drift).toEqual([]);
  });

  it('on a port taken after the check leaves the earlier configuration serving, and says why', async () => {
    const test = await servingEdge();
    const { port } = test.applied.configuration.edge.http;
    const step = await planned(test, 'run-2', applyChange, onPort(test, port + 1));
    const claim = await stageConfiguration(test.edge, step);
    await occupy(test, port + 1);
    const error = await errorOf(load(test, step, claim));
    expect(error.code).toBe('reload-failed');
    expect(error.message).toContain('generation 1 still serves');
    expect(error.message).toMatch(/\[ALERT\].*cannot bind socket/s);
    expect(await visit(test)).toBe('demo-prod-web-blue');
    await takeBackAll(test.edge, step);
    const record = await readEdge(test.edge, { probe: false, version });
    expect(record.drift).toEqual([]);
    expect(record.running).toMatchObject({ generation: 3, digest: step.record.installed?.digest });
    expect(await visit(test)).toBe('demo-prod-web-blue');
  });

  it('after the reload takes visitors back to where they were, proven by a higher generation', async () => {
    const test = await servingEdge();
    const before = await test.files();
    const step = await planned(test, 'run-2', switchChange('blue', 'green'));
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    await recordColors(test.edge, { claim, ...step });
    expect(await visit(test)).toBe('demo-prod-web-green');
    await takeBackAll(test.edge, step);
    expect(await visit(test)).toBe('demo-prod-web-blue');
    const running = await readRunning(test.edge.configuration.files.socket);
    expect(running).toMatchObject({ generation: 3, digest: step.record.installed?.digest });
    const after = await test.files();
    expect(Object.keys(after).filter((name) => !/haproxy\.cfg\.\d/.test(name))).toEqual(Object.keys(before));
    expect(await driftOf(test.edge)).toEqual([]);
    // Once more: nothing happens.
    await takeBackAll(test.edge, step);
    expect(await test.files()).toEqual(after);
    expect((await readRunning(test.edge.configuration.files.socket))?.pid).toBe(running?.pid);
  });

  it('of the first apply leaves no HAProxy and no configuration', async () => {
    const test = await newEdge();
    const step = await planned(test, 'run-1', applyChange);
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    await takeBackAll(test.edge, step);
    expect(await readRunning(test.edge.configuration.files.socket)).toBeNull();
    expect((await test.files())['haproxy.cfg']).toBeUndefined();
  });

  it('is none where the way back of a first deploy leads to nothing again, and visitors get 503', async () => {
    const test = await newEdge();
    await test.serve('prod', 'green');
    await change(test, 'run-1', applyChange);
    await waitUntil(async () => (await countUp(test.edge)) === 2);
    await change(test, 'run-2', switchChange('blue', 'green'));
    expect(await visit(test)).toBe('demo-prod-web-green');
    const step = await planned(test, 'run-3', switchChange('green', 'blue', null));
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    await verifyTraffic(test.edge, { ...step, timeoutMs });
    expect(await visit(test)).toBe('503');
  });

  it('is traffic that does not come from the new color', async () => {
    const test = await newEdge();
    await test.serve('prod', 'blue');
    await change(test, 'run-1', applyChange);
    const step = await planned(test, 'run-2', { ...switchChange('blue', 'green'), repair: true });
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    const error = await errorOf(verifyTraffic(test.edge, { ...step, timeoutMs: 300 }));
    expect(error.code).toBe('traffic-not-verified');
    expect(error.message).toMatch(/prod\/web on prod\.localhost answered .*, not demo-prod-web-green/);
  });

  it('is another pool that answers worse than before', async () => {
    const test = await servingEdge();
    const endStaging = await test.serve('staging', 'blue');
    await waitUntil(async () => (await countUp(test.edge)) === 6);
    const step = await planned(test, 'run-2', switchChange('blue', 'green'));
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    await endStaging();
    const error = await errorOf(verifyTraffic(test.edge, { ...step, timeoutMs: 300 }));
    expect(error.message).toMatch(/staging\/web on staging\.localhost answered .*; before: 200 from/);
  });
});

describe('a clock that is set back an hour', () => {
  /** And stands still: what waits by it would wait for good. */
  const setBack = () => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 3_600_000 });
  afterEach(() => void vi.useRealTimers());

  it('in the middle of a change leaves generations and histories in their order', async () => {
    const test = await servingEdge();
    await change(test, 'run-2', switchChange('blue', 'green'));
    const step = await planned(test, 'run-3', { ...switchChange('green', 'blue', 'bbbbbbb'), repair: true });
    const claim = await stageConfiguration(test.edge, step);
    setBack();
    await load(test, step, claim);
    await verifyTraffic(test.edge, { ...step, timeoutMs });
    await recordColors(test.edge, { claim, ...step });
    const history = await readFile(edgeFiles(test.edge).history('prod'), 'utf8');
    expect(history.split('\n').map((line) => line.split(' ').slice(1).join(' '))).toEqual([
      'blue bbbbbbb',
      'green aaaaaaa',
      '',
    ]);
    await waitUntil(async () => (await countUp(test.edge)) === 4);
    await change(test, 'run-4', switchChange('blue', 'green', 'ccccccc'));
    const { claim: last, drift, installed } = await readEdge(test.edge, { probe: false, version });
    expect({ last, drift, generation: installed?.generation }).toEqual({
      last: '4 run-4/do',
      drift: [],
      generation: 4,
    });
  });

  it('makes no wait longer: traffic that stays wrong is still told', async () => {
    const test = await newEdge();
    await test.serve('prod', 'blue');
    await change(test, 'run-1', applyChange);
    setBack();
    const step = await planned(test, 'run-2', { ...switchChange('blue', 'green'), repair: true });
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    expect((await errorOf(verifyTraffic(test.edge, { ...step, timeoutMs: 300 }))).code).toBe('traffic-not-verified');
  });
});

describe('a reload', () => {
  it('that is proven already is not done again', async () => {
    const test = await servingEdge();
    const step = await planned(test, 'run-2', switchChange('blue', 'green'));
    const claim = await stageConfiguration(test.edge, step);
    await load(test, step, claim);
    const running = await readRunning(test.edge.configuration.files.socket);
    await load(test, step, claim);
    expect(await readRunning(test.edge.configuration.files.socket)).toEqual(running);
  });
});

it.each(['BASCULE_TEST_SECRET', 'TEMPORAL_API_KEY'])(
  'a configuration is checked in the environment that HAProxy runs in: without %s of the worker',
  async (name) => {
    const test = await servingEdge();
    const { configuration } = test.applied;
    const extra = { global: `.if defined(${name})\n    .alert "seen"\n.endif\n` };
    const wanted = { ...test.applied, configuration: { ...configuration, edge: { ...configuration.edge, extra } } };
    process.env[name] = 'secret';
    try {
      const step = await planned(test, 'run-2', applyChange, wanted);
      await stageConfiguration(test.edge, step);
      // As `doctor` asks.
      await installConfiguration(test.edge, { ...step, claim: await stageConfiguration(test.edge, step) });
      await expect(examineFile(test.edge)).resolves.toBe(edgeFiles(test.edge).config);
    } finally {
      delete process.env[name];
    }
  },
);

describe('the managed HAProxy', () => {
  it('is started once, by two who start it at the same time, and knows no variable of who started it', async () => {
    const test = await servingEdge();
    await stopManagedEdge(test.edge);
    process.env.BASCULE_TEST_SECRET = 'secret';
    // Where programs take their time to begin, as on a busy machine.
    const slow = new ShimmedHost();
    await slow.replace('env', 'sleep 0.3; exec "$real" "$@"');
    const edge = { ...test.edge, host: slow };
    await Promise.all([ensureManagedEdge(edge), ensureManagedEdge(edge), ensureManagedEdge(edge)]);
    await slow.mend();
    delete process.env.BASCULE_TEST_SECRET;
    const { config } = edgeFiles(test.edge);
    const { stdout } = await test.edge.host.run(['ps', '-eo', 'pid,ppid,sid,args'], { timeoutMs });
    const masters = stdout.split('\n').filter((line) => line.includes(`-f ${config}`) && / haproxy -W/.test(line));
    const pid = (await findProcesses(test.edge, 0))?.master;
    const processes = masters.map((line) => line.trim().split(/\s+/).slice(0, 3).map(Number));
    // The master leads a session of its own; its worker is its only child.
    expect(processes.filter(([own]) => own === pid)).toEqual([[pid, expect.any(Number), pid]]);
    expect(processes.filter(([own, parent]) => own !== pid && parent !== pid)).toEqual([]);
    expect(await test.edge.host.readText(`/proc/${pid}/environ`)).not.toContain('secret');
    expect(await ensureManagedEdge(test.edge)).toBe(true);
    expect((await findProcesses(test.edge, 0))?.master).toBe(pid);
  });

  it.each([
    ["another user's", asOtherUser, 'haproxy'],
    ["this user's that runs another program", ['env'], 'sh'],
  ])('is started whatever process has its name and its file as an argument: %s', async (_, as, name) => {
    const test = await servingEdge();
    await stopManagedEdge(test.edge);
    const { config } = edgeFiles(test.edge);
    const place = await mkdtemp(join(tmpdir(), 'bascule-named-'));
    await chmod(place, 0o755);
    const program = join(place, as[0] === 'env' ? 'sh' : name);
    await copyFile('/bin/sh', program);
    await writeFile(join(place, 'wait'), 'echo haproxy >/proc/$$/comm; echo named; while :; do sleep 1; done');
    const [run = '', ...args] = as;
    const named = spawn(run, [...args, program, join(place, 'wait'), config], { detached: true });
    endings.push(async () => {
      process.kill(-(named.pid ?? 0), 'SIGKILL');
      await rm(place, { recursive: true });
    });
    await once(named.stdout, 'data');
    expect(await ensureManagedEdge(test.edge)).toBe(true);
    expect(await visit(test)).toContain('prod');
    await stopManagedEdge(test.edge);
    // Nor is it taken for one that does not answer.
    expect(await whyNotRunning(test.edge)).toBeNull();
  });

  it('is not started where nothing is installed', async () => {
    const test = await newEdge();
    expect(await ensureManagedEdge(test.edge)).toBe(false);
  });

  it('that cannot start says why', async () => {
    const test = await servingEdge();
    await stopManagedEdge(test.edge);
    await occupy(test, test.applied.configuration.edge.http.port);
    const error = await errorOf(ensureManagedEdge(test.edge));
    expect(error.code).toBe('edge-start-failed');
    expect(error.message).toContain('cannot bind socket');
  });

  it('is not another that answers on its master socket', async () => {
    const test = await servingEdge();
    const { files } = test.edge.configuration;
    const elsewhere = { ...test.edge.configuration, files: { ...files, config: `${files.config}.other` } };
    expect((await errorOf(findProcesses({ ...test.edge, configuration: elsewhere }, 0))).code).toBe(
      'edge-other-haproxy',
    );
  });
});
