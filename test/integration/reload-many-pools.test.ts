import { afterEach, expect, it, vi } from 'vitest';
import type { Configuration } from '../../src/domain/configuration.js';
import { stateOf } from '../rig/applied.js';
import { say } from '../rig/chaos.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { startVisitors } from '../rig/visitors.js';

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
