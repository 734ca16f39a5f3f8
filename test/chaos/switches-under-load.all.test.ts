import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { changeEdge } from '../../src/client/edge.js';
import { loadConfiguration } from '../../src/config/load.js';
import type { ColorChange } from '../../src/domain/edge-change.js';
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import type { Status } from '../../src/domain/inspect.js';
import { readServers } from '../../src/haproxy/runtime.js';
import { type Project, startProject } from '../rig/project.js';
import { type Report, startVisitors, type VisitorRequest, type Visitors } from '../rig/visitors.js';
import { openWebSocket } from '../rig/web-socket.js';

const switches = 30;
const httpKeepAliveMs = 1_000;
/** After every so many switches visitors are watched for longer than a connection may be kept. */
const dwellEvery = 5;

/** One kept connection, with a cookie, for each. */
const keptPaths = ['/api/v1/a', '/api/v1/b', '/api/v1/c', '/api/v1/d'];

interface Switch {
  readonly to: Color;
  /** In ms since the epoch: when it was asked for, and when the answer came. */
  readonly askedAt: number;
  readonly returnedAt: number;
}

let project: Project;
let client: Client;

beforeAll(async () => {
  project = await startProject({
    configure: (yaml) =>
      yaml
        .replaceAll('interval: 1s, fall: 3, rise: 2', 'interval: 200ms, fall: 3, rise: 1')
        .replace('  manage: true', `  httpKeepAlive: ${httpKeepAliveMs}ms\n  manage: true`),
  });
  await project.startWorker();
  await must('apply');
  for (const sha of ['aaaaaaa1', 'bbbbbbb2']) await project.releaseAll(sha);
  const now = ['--soak', '0s', '--drain', '0s'];
  await must('deploy', 'staging', 'aaaaaaa1', ...now);
  await must('deploy', 'prod', 'aaaaaaa1', ...now);
  await must('deploy', 'prod', 'bbbbbbb2', ...now);
  client = new Client({ connection: await Connection.connect({ address: project.temporal.address }) });
});

afterAll(async () => {
  await client?.connection.close();
  await project.stop();
});

it(`${switches} switches in a row lose no request, and the color that a switch names answers from then on`, async () => {
  const socket = await openWebSocket({ target: project.edge, host: 'prod.localhost', path: '/' });
  const began = socket.identity();
  const prod = { host: 'prod.localhost', environment: 'prod' };
  const visitors = await startVisitors({
    target: project.edge,
    maxSeconds: 240,
    streams: [
      ...keptPaths.map((path) => ({ ...prod, path, kind: 'cookie' as const, perSecond: 25 })),
      { host: 'localhost', path: '/api/v1/new', kind: 'new', perSecond: 50, environment: 'prod' },
      { host: 'prod.localhost', path: '/', kind: 'new', perSecond: 50, environment: 'prod' },
      { host: 'staging.localhost', path: '/', kind: 'keep-alive', perSecond: 10, environment: 'staging' },
    ],
  });
  const done: Switch[] = [];
  let from = await activeColor();
  for (let number = 1; number <= switches; number += 1) {
    done.push(await switchProd(from, number));
    from = otherColor(from);
    if (number % dwellEvery === 0) await pastKeepAlive(visitors);
  }
  const report = await visitors.stop();

  const { failed, failures, held, endedByLimit, wrongEnvironment, wrongEnvironmentAnswers } = report;
  expect({ failed, failures, held, endedByLimit, wrongEnvironment, wrongEnvironmentAnswers }).toEqual({
    failed: 0,
    failures: [],
    held: 0,
    endedByLimit: false,
    wrongEnvironment: 0,
    wrongEnvironmentAnswers: [],
  });
  expect(new Set(report.requests.filter(isOfProd).map(({ color }) => color))).toEqual(new Set(['blue', 'green']));
  expect(new Set(report.requests.filter((one) => !isOfProd(one)).map(({ color }) => color)).size).toBe(1);
  expectNewConnectionsOnNewColor(report, done);
  expectKeptConnectionsToFollow(report, done);

  const { length } = report.requests.filter(isOfProd);
  expect(length).toBeGreaterThan(switches * 100);
  expect(socket.closed()).toBeNull();
  const messages = socket.messages();
  await vi.waitFor(() => expect(socket.messages()).toBeGreaterThan(messages), { timeout: 10_000 });
  expect(socket.identity()).toEqual(began);
  await socket.close();
}, 300_000);

const isOfProd = ({ host }: VisitorRequest): boolean => host !== 'staging.localhost';

function expectNewConnectionsOnNewColor(report: Report, done: readonly Switch[]): void {
  const news = report.requests.filter((one) => isOfProd(one) && one.kind === 'new');
  const judged = news.flatMap((one) => {
    const color = settledColor(done, one, 0);
    return color ? [{ ...one, expected: color }] : [];
  });
  expect(judged.filter(({ color, expected }) => color !== expected)).toEqual([]);
  expect(judged.length).toBeGreaterThan(switches * 10);
}

function expectKeptConnectionsToFollow(report: Report, done: readonly Switch[]): void {
  const kept = report.requests.filter((one) => isOfProd(one) && one.kind === 'cookie' && one.reused);
  const judged = kept.flatMap((one) => {
    const color = settledColor(done, one, httpKeepAliveMs);
    return color ? [{ ...one, expected: color }] : [];
  });
  expect(judged.filter(({ color, expected }) => color !== expected)).toEqual([]);
  expect(judged.length).toBeGreaterThan((switches / dwellEvery) * 20);
}

/** The color that a switch had made active more than `afterMs` before, where no other one was asked for up to the answer. */
function settledColor(done: readonly Switch[], { at, ms }: VisitorRequest, afterMs: number): Color | null {
  const last = done.findLast(({ askedAt }) => askedAt <= at + ms);
  return last && at > last.returnedAt + afterMs ? last.to : null;
}

async function switchProd(from: Color, number: number): Promise<Switch> {
  const to = otherColor(from);
  await untilUp(to);
  const id = `demo/test/switch/${number}`;
  // Each switch is to a release of its own: the same one would be no push.
  const sha = `c${number.toString().padStart(6, '0')}`;
  const change: ColorChange = {
    kind: 'color',
    id,
    operation: id,
    environment: 'prod',
    from,
    to,
    sha,
    history: 'push',
  };
  const askedAt = Date.now();
  const result = await changeEdge(client, { project: 'demo', edge: 'local' }, change, AbortSignal.timeout(60_000));
  expect(result, result.message).toMatchObject({ outcome: 'succeeded', changed: true });
  return { to, askedAt, returnedAt: Date.now() };
}

/** After a reload a server counts as UP once it was checked. */
async function untilUp(color: Color): Promise<void> {
  const { edge } = await loadConfiguration(join(project.directory, 'bascule.yaml'));
  await vi.waitFor(
    async () => {
      const { servers } = await readServers(edge.files.socket);
      const up = servers.filter(({ name, isUp }) => isUp && /^demo-(?:api|web)-/.test(name) && name.endsWith(color));
      expect(up.length).toBe(2);
    },
    { timeout: 20_000, interval: 20 },
  );
}

async function pastKeepAlive(visitors: Visitors): Promise<void> {
  const until = Date.now() + httpKeepAliveMs;
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(until), { timeout: 10_000, interval: 50 });
  const { sent } = visitors.progress();
  await vi.waitFor(() => expect(visitors.progress().sent).toBeGreaterThan(sent + 100), { timeout: 20_000 });
}

async function activeColor(): Promise<Color> {
  const { document } = await project.json<Status>('status', 'prod');
  return document.environments.find(({ name }) => name === 'prod')?.active ?? 'blue';
}

async function must(...args: string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await project.bascule(...args);
  if (exitCode !== 0) throw new Error(`bascule ${args.join(' ')} ended with ${exitCode}: ${stdout}\n${stderr}`);
}
