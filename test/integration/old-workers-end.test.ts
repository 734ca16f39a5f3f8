import { rm } from 'node:fs/promises';
import { createServer, request, type ServerResponse } from 'node:http';
import { delimiter } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import { edgeFiles } from '../../src/haproxy/edge.js';
import { installConfiguration } from '../../src/haproxy/install.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readOldWorkersEndBy } from '../../src/haproxy/old-workers-end.js';
import { reloadEdge } from '../../src/haproxy/reload.js';
import { stageConfiguration } from '../../src/haproxy/stage.js';
import { applyChange, createTestEdge, planned, type TestEdge } from '../rig/edge.js';
import { newerHaproxyFolder } from '../rig/haproxy.js';

const second = 1_000;
const hour = 3_600 * second;
const timeoutMs = 8 * second;
/** Uptimes are whole seconds. */
const exactMs = 2 * second;

let edge: TestEdge;
let disposals: (() => unknown)[];
/** Of the instance, in the order of the visitors. */
let answers: ServerResponse[];
afterEach(async () => {
  for (const dispose of disposals) dispose();
  await edge.dispose();
  vi.unstubAllEnvs();
});

/** An edge whose web of prod begins each answer to a visitor, and does not end it by itself. */
async function startEdge(): Promise<void> {
  disposals = [];
  answers = [];
  edge = await createTestEdge();
  const { address = '', port } = edge.applied.addresses['demo-prod-web-blue'] ?? {};
  const server = createServer((asked, answer) => {
    if (asked.url !== '/') return answer.end();
    answers.push(answer);
    return answer.write('the first of many');
  });
  await new Promise<void>((resolve) => server.listen(port, address, resolve));
  disposals.push(() => server.closeAllConnections());
  disposals.push(() => server.close());
}

/** Loads a configuration with this `hard-stop-after`; answers between which moments it was reloaded. */
async function load(run: string, hardStopAfterMs: number): Promise<{ from: number; until: number }> {
  const { configuration, ...rest } = edge.applied;
  const wanted: AppliedConfiguration = {
    ...rest,
    configuration: { ...configuration, edge: { ...configuration.edge, hardStopAfterMs } },
  };
  const step = await planned(edge, run, applyChange, wanted);
  const claim = await stageConfiguration(edge.edge, step);
  const target = await installConfiguration(edge.edge, { claim, ...step });
  const from = Date.now();
  await reloadEdge(edge.edge, { claim, target, timeoutMs });
  return { from, until: Date.now() };
}

/** A visitor whose answer has begun. */
async function download(): Promise<void> {
  const { address: host, port } = edge.applied.configuration.edge.http;
  await new Promise((resolve, reject) => {
    const asking = request({ host, port, agent: false, headers: { Host: 'prod.localhost' } });
    disposals.push(() => asking.destroy());
    asking.on('error', reject).on('response', (response) => response.on('error', () => undefined));
    asking.on('response', (response) => (response.statusCode === 200 ? resolve(null) : reject(response.statusCode)));
    asking.end();
  });
}

async function endBy(): Promise<number | null> {
  const workers = await readWorkers(edge.edge.configuration.files.masterSocket);
  const at = await readOldWorkersEndBy(edge.edge, workers);
  return at === null ? null : Date.parse(at);
}

async function countOld(): Promise<number | undefined> {
  return (await readWorkers(edge.edge.configuration.files.masterSocket))?.old.length;
}

function expectWithin(at: number | null, { from, until }: { from: number; until: number }, afterMs: number): void {
  expect(at).toBeGreaterThanOrEqual(from + afterMs - exactMs);
  expect(at).toBeLessThanOrEqual(until + afterMs + exactMs);
}

describe.each([
  ["the system's HAProxy", async () => undefined],
  ['HAProxy 2.8', async () => vi.stubEnv('PATH', `${await newerHaproxyFolder()}${delimiter}${process.env.PATH}`)],
])('the old workers of %s', (_name, choose) => {
  beforeEach(async () => {
    await choose();
    await startEdge();
  });

  test('end by the hard-stop-after that each was loaded with, from the reload that replaced it', async () => {
    await load('run-1', hour);
    expect(await endBy()).toBeNull();
    await download();
    const replaced = await load('run-2', 60 * second);
    expectWithin(await endBy(), replaced, hour);
    await download();
    const replacedNext = await load('run-3', 2 * hour);
    expect(await countOld()).toBe(2);
    expectWithin(await endBy(), replaced, hour);
    answers[0]?.end();
    await vi.waitFor(async () => expect(await countOld()).toBe(1), timeoutMs);
    expectWithin(await endBy(), replacedNext, 60 * second);
  });

  test('have ended by then', async () => {
    await load('run-1', 3 * second);
    await download();
    await load('run-2', hour);
    const at = await endBy();
    // A further reload gives no more time.
    await load('run-3', hour);
    await vi.waitFor(async () => expect(await countOld()).toBe(0), timeoutMs);
    expect(Date.now()).toBeLessThan((at ?? 0) + exactMs);
  });

  test('whose configuration is not kept any more are taken to end by the installed one', async () => {
    await load('run-1', hour);
    await download();
    const replaced = await load('run-2', 60 * second);
    await rm(edgeFiles(edge.edge).kept(1));
    expectWithin(await endBy(), replaced, 60 * second);
  });

  test('run from the start of the next younger worker that is there', async () => {
    await load('run-1', 48 * hour);
    await download();
    await load('run-2', hour);
    const workers = await readWorkers(edge.edge.configuration.files.masterSocket);
    const [old] = workers?.old ?? [];
    if (!workers?.current || !old) throw new Error('there are a worker and an old one');
    const before = Date.now();
    const current = { ...workers.current, uptime: '0d00h00m09s' };
    // One that has ended by the time it is asked: it has no end, and still says when the older one was replaced.
    const ended = { pid: 999_999_999, reloads: 1, uptime: '1d02h03m04s' };
    expect(await readOldWorkersEndBy(edge.edge, { ...workers, current, old: [ended] })).toBeNull();
    const at = await readOldWorkersEndBy(edge.edge, { ...workers, current, old: [{ ...old, reloads: 2 }, ended] });
    const uptimeMs = 26 * hour + 184 * second;
    const replaced = { from: before - uptimeMs, until: Date.now() - uptimeMs };
    expectWithin(Date.parse(at ?? ''), replaced, 48 * hour);
  });
});
