import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Configuration } from '../../src/domain/configuration.js';
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { stateOf } from '../rig/applied.js';
import { say } from '../rig/chaos.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { isWhole } from '../rig/tier.js';
import { type Report, type Stream, startVisitors, type VisitorRequest, type Visitors } from '../rig/visitors.js';

describe('switches by reload', () => {
  const reloads = isWhole ? 30 : 4;
  const httpKeepAliveMs = 1_000;
  /** After every so many reloads visitors are watched for longer than a connection may be kept. */
  const dwellEvery = isWhole ? 10 : 4;
  /** Without a certificate: served over http. */
  const plainHost = 'plain.veza.fr';

  interface Reload {
    readonly to: Color;
    /** In ms since the epoch: before it was asked for, and when a new worker had proven it. */
    readonly askedAt: number;
    readonly provenAt: number;
  }

  let edge: ExampleEdge;
  beforeAll(async () => {
    edge = await startExampleEdge('veza', {
      states: prodOn('blue'),
      // Servers that answer late are up all the same: this is about reloads.
      intervalMs: 5_000,
      change: ({ edge: configured, environments, ...rest }) => ({
        ...rest,
        edge: { ...configured, httpKeepAliveMs },
        environments: environments.map((each) =>
          each.name === 'prod' ? { ...each, hosts: [...each.hosts, plainHost] } : each,
        ),
      }),
    });
  });
  afterAll(async () => await edge?.dispose());

  const prodOn = (color: Color) => [
    stateOf('staging', 'blue', { hasStandby: true }),
    stateOf('prod', color, { hasStandby: true }),
  ];

  const streams = (
    [
      { host: plainHost, path: '/', kind: 'keep-alive', perSecond: 20 },
      { host: plainHost, path: '/tracks/1.ts', kind: 'keep-alive', perSecond: 5 },
      { host: plainHost, path: '/api/v1/a', kind: 'cookie', perSecond: 5 },
      { host: plainHost, path: '/', kind: 'new', perSecond: 20 },
      { host: 'veza.fr', path: '/', kind: 'keep-alive', protocol: 'https', perSecond: 10 },
      { host: 'veza.fr', path: '/', kind: 'new', protocol: 'https', perSecond: 10 },
      { host: 'veza.fr', path: '/', kind: 'keep-alive', protocol: 'h2', perSecond: 20 },
      { host: 'veza.fr', path: '/tracks/1.ts', kind: 'keep-alive', protocol: 'h2', perSecond: 5 },
      { host: 'veza.fr', path: '/api/v1/a', kind: 'cookie', protocol: 'h2', perSecond: 5 },
      { host: 'veza.fr', path: '/', kind: 'new', protocol: 'h2', perSecond: 10 },
    ] satisfies Stream[]
  )
    // A load that a slow machine can send as well: half of it in make test.
    .map((stream): Stream => ({ ...stream, perSecond: isWhole ? stream.perSecond : stream.perSecond / 2 }));

  it(`${reloads} reloads lose no request over http, https and HTTP/2, and a new connection never meets the old color`, async () => {
    const { http, https } = edge.applied.configuration.edge;
    const visitors = await startVisitors({
      target: { ...http, https: { port: https?.port ?? 0, trusted: edge.trusted } },
      maxSeconds: 120,
      streams,
    });
    const done: Reload[] = [];
    let oldWorkers = 0;
    for (let number = 1; number <= reloads; number += 1) {
      const to = number % 2 === 0 ? 'blue' : 'green';
      const askedAt = Date.now();
      await edge.reload(prodOn(to), number + 1);
      done.push({ to, askedAt, provenAt: Date.now() });
      oldWorkers = Math.max(oldWorkers, await countOldWorkers());
      await untilVisited(visitors, number % dwellEvery === 0 ? 1.5 * httpKeepAliveMs : 150);
    }
    const report = await visitors.stop();
    await vi.waitFor(async () => expect(await countOldWorkers()).toBe(0), { timeout: 10_000, interval: 50 });

    for (const [name, requests] of groups(report)) {
      const old = requests.filter((one) => isOfOldColor(done, one));
      const latest = Math.max(0, ...old.map((one) => sinceReload(done, one)));
      const refused = requests.filter((one) => one.refused > 0).length;
      say(
        `${name}: ${requests.length} requests, ${old.length} answers of the old color after a reload (up to ${latest} ms), ${refused} sent again, slowest ${Math.max(...requests.map(({ ms }) => ms))} ms`,
      );
    }
    say(`old workers at once: at most ${oldWorkers}`);
    const { failed, failures, endedByLimit } = report;
    expect({ failed, failures, endedByLimit }).toEqual({ failed: 0, failures: [], endedByLimit: false });
    const stale = report.requests.filter((one) => isOfOldColor(done, one));
    expect(stale.filter(({ reused }) => !reused)).toEqual([]);
    expect(stale.filter((one) => sinceReload(done, one) > httpKeepAliveMs)).toEqual([]);
  }, 120_000);

  const countOldWorkers = async () => (await readWorkers(edge.haproxy.masterSocket))?.old.length ?? 0;

  async function untilVisited(visitors: Visitors, ms: number): Promise<void> {
    const until = Date.now() + ms;
    const { sent } = visitors.progress();
    await vi.waitFor(
      () => {
        expect(Date.now()).toBeGreaterThan(until);
        expect(visitors.progress().sent).toBeGreaterThan(sent);
      },
      { timeout: 20_000, interval: 10 },
    );
  }

  function groups({ requests }: Report): Map<string, VisitorRequest[]> {
    const byName = new Map<string, VisitorRequest[]>();
    for (const one of requests) {
      const name = `${one.protocol} ${one.kind}`;
      byName.set(name, [...(byName.get(name) ?? []), one]);
    }
    return byName;
  }

  /** Sent after a reload was proven, answered before the next was asked for, by the color that it replaced. */
  function isOfOldColor(done: readonly Reload[], { at, ms, color }: VisitorRequest): boolean {
    const last = done.findLast(({ askedAt }) => askedAt <= at + ms);
    return last !== undefined && at > last.provenAt && color === otherColor(last.to);
  }

  function sinceReload(done: readonly Reload[], { at }: VisitorRequest): number {
    return at - (done.findLast(({ provenAt }) => provenAt < at)?.provenAt ?? at);
  }
});

describe('a reload of many pools', () => {
  let edge: ExampleEdge;
  afterEach(async () => await edge.dispose());

  /** The example with 12 pools in each of its two environments, and prod on a host that is served over http. */
  const with24Pools = ({ components, environments, ...rest }: Configuration): Configuration => {
    const [first] = components;
    if (!first) throw new Error('the example has components');
    const more = Array.from({ length: 12 - components.length }, (_, number) => ({
      ...first,
      name: `more${number}`,
      pool: `more${number}`,
      routes: [{ prefix: `/more${number}` }],
    }));
    return {
      ...rest,
      components: [...components, ...more],
      environments: environments.map((each) =>
        each.name === 'prod' ? { ...each, hosts: [...each.hosts, 'plain.veza.fr'] } : each,
      ),
    };
  };

  const states = [stateOf('staging', 'blue', { hasStandby: true }), stateOf('prod', 'blue', { hasStandby: true })];

  if (isWhole)
    it('A reload while a primary is dead fails no request to its pool, though the new worker takes it for up', async () => {
      edge = await startExampleEdge('veza', { states, intervalMs: 5_000, change: with24Pools });
      await edge.stopInstance('veza-more8-blue');
      const visitors = await startVisitors({
        target: edge.applied.configuration.edge.http,
        maxSeconds: 60,
        streams: (['new', 'keep-alive', 'cookie'] as const).map((kind) => ({
          host: 'plain.veza.fr',
          path: '/more8/a',
          kind,
          perSecond: 40,
        })),
      });
      const visited = async (requests: number) => {
        const { sent } = visitors.progress();
        await vi.waitFor(() => expect(visitors.progress().sent).toBeGreaterThan(sent + requests), 20_000);
      };
      await visited(50);
      for (let generation = 2; generation <= 11; generation += 1) {
        await edge.reload(states, generation);
        await visited(50);
      }
      const { sent, failed, failures, requests } = await visitors.stop();
      const slow = requests.filter(({ ms }) => ms > 500).length;
      say(`${failed} of ${sent} failed; slowest ${Math.max(...requests.map(({ ms }) => ms))} ms, ${slow} above 500 ms`);
      expect({ failed, failures }).toEqual({ failed: 0, failures: [] });
      expect(new Set(requests.map(({ color }) => color))).toEqual(new Set(['green']));
    }, 120_000);

  it('A server that comes back starts slowly, and a reload gives those that were up their full share at once', async () => {
    edge = await startExampleEdge('lab');
    const [first, second] = ['backend-api-1', 'backend-api-2'] as const;
    await edge.untilUp([first, second]);
    await edge.stopInstance(first);
    await edge.untilDown([first]);
    expect(await share(first)).toBe(0);
    await edge.startInstance(first);
    await edge.untilUp([first]);
    // In its first seconds of 30 it gets a small part of what the other one gets.
    expect(await share(first)).toBeLessThan(30);

    await edge.reload([], 2);
    expect(await share(first)).toBe(50);
    await edge.untilUp([first, second]);
    expect(await share(first)).toBe(50);
  }, 120_000);

  /** How many of 100 visitors an instance answers. */
  async function share(instance: string): Promise<number> {
    let answered = 0;
    for (let visit = 0; visit < 100; visit += 1) {
      const { status, body } = await edge.ask('any.test', '/api/v1/a');
      expect(status).toBe(200);
      if (body === instance) answered += 1;
    }
    return answered;
  }
});
