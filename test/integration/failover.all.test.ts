import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AppProcess } from '../rig/app.js';
import { stateOf } from '../rig/applied.js';
import { say } from '../rig/chaos.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { type Report, type Stream, startVisitors, type VisitorRequest } from '../rig/visitors.js';

/** As in the example, where the interval is 5 s. The bound is that of a quiet machine: it is shown in make test-all alone. */
const health = { intervalMs: 1_000, fall: 3 };
const boundMs = health.fall * health.intervalMs + 1_000;
/** Without a certificate: served over http. */
const host = 'plain.veza.fr';
const pools = ['backend', 'stream', 'web'];

const streams: readonly Stream[] = [
  { host, path: '/page', kind: 'new', perSecond: 20 },
  { host, path: '/page', kind: 'keep-alive', perSecond: 20 },
  { host, path: '/api/v1/a', kind: 'cookie', perSecond: 20 },
  { host, path: '/tracks/1.ts', kind: 'keep-alive', perSecond: 10 },
  { host: 'veza.fr', path: '/page', kind: 'keep-alive', protocol: 'h2', perSecond: 20 },
  { host, path: '/api/v1/a', kind: 'new', method: 'POST', perSecond: 20 },
  { host, path: '/api/v1/a', kind: 'keep-alive', method: 'POST', perSecond: 20 },
];

let edge: ExampleEdge;
let primaries: AppProcess[];
beforeEach(async () => {
  primaries = [];
  edge = await startExampleEdge('veza', {
    states: [stateOf('prod', 'blue', { hasStandby: true })],
    intervalMs: health.intervalMs,
    change: ({ environments, ...rest }) => ({
      ...rest,
      environments: environments.map((each) =>
        each.name === 'prod' ? { ...each, hosts: [...each.hosts, host] } : each,
      ),
    }),
  });
  for (const pool of pools) {
    const name = `veza-${pool}-blue`;
    primaries.push(await edge.startProcess(name, { BASCULE_COLOR: 'blue' }));
  }
  await edge.untilUp(pools.flatMap((pool) => [`veza-${pool}-blue`, `veza-${pool}-green`]));
});
afterEach(async () => {
  await edge.dispose();
});

/** Has all primaries end at once under load, until the standby has answered for a while. */
async function visitWhile(end: 'kill' | 'hang'): Promise<Report & { readonly at: number }> {
  const { http, https } = edge.applied.configuration.edge;
  const visitors = await startVisitors({
    target: { ...http, https: { port: https?.port ?? 0, trusted: edge.trusted } },
    maxSeconds: 60,
    streams,
  });
  await vi.waitFor(() => expect(visitors.progress().sent).toBeGreaterThan(100), 20_000);
  const at = Date.now();
  for (const primary of primaries) void primary[end]();
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(at + boundMs + 500), { timeout: 20_000, interval: 50 });
  return { ...(await visitors.stop()), at };
}

/** Within it three refused connections, or a first check, have marked a dead server down. */
const momentMs = 1_000;

/**
 * What nothing could repair: a POST that its server may have carried out is not sent a second time, and what a server
 * holds at the moment in which it is marked down is cut with its WebSockets, a GET in its first retry too.
 */
function expectOnlyThoseUnderWayFailed({ at, requests }: Report & { readonly at: number }): void {
  for (const method of ['GET', 'POST'] as const) {
    const sent = requests.filter((one) => one.method === method);
    const failed = sent.filter(isFailure);
    const lastMs = Math.max(0, ...failed.map((one) => one.at - at));
    const slowestMs = Math.max(...sent.map(({ ms }) => ms));
    say(`${method}: ${failed.length} of ${sent.length} failed, sent up to ${lastMs} ms after; slowest ${slowestMs} ms`);
  }
  const failed = requests.filter(isFailure);
  const lost = failed.filter(({ method }) => method === 'GET');
  expect(lost.filter((one) => one.at > at + momentMs)).toEqual([]);
  expect(lost.length).toBeLessThanOrEqual(requests.length * 0.03);
  expect(failed.filter(({ status }) => status === 503)).toEqual([]);
  expect(failed.filter((one) => one.at > at + boundMs)).toEqual([]);
}

const isFailure = ({ status, error }: VisitorRequest): boolean => error !== null || (status ?? 0) >= 400;

function expectStandbyWithinBound({ at, requests }: Report & { readonly at: number }): void {
  for (const path of new Set(streams.map((stream) => stream.path))) {
    const first = requests.find((one) => one.path === path && one.color === 'green');
    if (!first) throw new Error(`the standby never answered ${path}`);
    const firstMs = first.at + first.ms - at;
    say(`${path}: answered by the standby after ${firstMs} ms`);
    expect(firstMs).toBeLessThanOrEqual(boundMs);
    const after = requests.filter((one) => one.path === path && !isFailure(one) && one.at > at + boundMs);
    expect(new Set(after.map(({ color }) => color))).toEqual(new Set(['green']));
  }
}

describe('when all primaries of an environment', () => {
  it.each([
    ['are killed', 'kill'],
    ['hang', 'hang'],
  ] as const)(
    '%s, the standby answers within fall × interval + 1 s, and only requests under way are lost',
    async (_what, end) => {
      const report = await visitWhile(end);
      expectStandbyWithinBound(report);
      expectOnlyThoseUnderWayFailed(report);
    },
  );
});
