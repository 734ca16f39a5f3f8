import { once } from 'node:events';
import { connect } from 'node:http2';
import { afterEach, expect, it } from 'vitest';
import type { AppliedConfiguration } from '../../src/domain/configuration.js';
import { stampConfiguration } from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { probeOf } from '../rig/edge-under-test.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { askRaw } from '../rig/raw-visitor.js';

const servers = ['stream-server-1', 'stream-server-2', 'stream-server-3', 'stream-server-4'];
const tracks = Array.from({ length: 1_000 }, (_, index) => `/tracks/${index + 1}/playlist.m3u8`);

let edge: ExampleEdge;
afterEach(async () => await edge?.dispose());
const start = async (instances: readonly string[]) => {
  edge = await startExampleEdge('lab', {
    change: (whole) => ({
      ...whole,
      components: whole.components.map((each) => (each.name === 'stream' ? { ...each, instances } : each)),
    }),
  });
  await edge.untilUp(instances);
};

/** The server of each of these tracks. */
async function serversOf(paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const atOnce = 20;
  for (let from = 0; from < paths.length; from += atOnce) {
    const some = paths.slice(from, from + atOnce);
    const answers = await Promise.all(some.map(async (path) => await edge.ask('any.test', path)));
    for (const [index, { status, body }] of answers.entries()) found.set(some[index] ?? '', status === 200 ? body : '');
  }
  return found;
}

/** The configuration that serves, but with these servers of streams alone. */
function withServers({ configuration, ...rest }: AppliedConfiguration, instances: readonly string[]): string {
  const components = configuration.components.map((each) => (each.name === 'stream' ? { ...each, instances } : each));
  const rendered = renderConfiguration({ ...rest, configuration: { ...configuration, components } }, []);
  const stamp = { project: 'demo', generation: 2, probe: probeOf(2), states: [], version: '0.0.0' };
  return stampConfiguration(rendered, stamp);
}

it('a track stays on one server, from request to request, with any query and through a reload', async () => {
  await start(servers);
  const some = tracks.slice(0, 100);
  const before = await serversOf(some);
  expect([...new Set(before.values())].sort()).toEqual(servers);
  expect(await serversOf(some)).toEqual(before);
  const withQuery = await serversOf(some.map((path) => `${path}?token=${path.length}`));
  expect([...withQuery.values()]).toEqual([...before.values()]);
  await edge.reload([], 2);
  expect(await serversOf(some)).toEqual(before);
});

it('a track stays on one server with all of its files', async () => {
  await start(servers);
  const some = tracks.slice(0, 100);
  const before = await serversOf(some);
  for (const file of ['1.ts', 'audio/2.m4s']) {
    const files = await serversOf(some.map((path) => path.replace('playlist.m3u8', file)));
    expect([...files.values()]).toEqual([...before.values()]);
  }
});

it('a track stays on one server whether it is asked for over HTTP/1, over HTTP/2 or by its whole URL', async () => {
  await start(servers);
  const some = tracks.slice(0, 40);
  const before = await serversOf(some);
  const { http } = edge.applied.configuration.edge;
  const session = connect(`http://${http.address}:${http.port}`);
  try {
    for (const path of some) {
      const own = before.get(path);
      const head = `GET http://any.test${path} HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n`;
      expect((await askRaw(http, head))?.headers).toMatchObject({ 'x-app': own });
      const stream = session.request({ ':authority': 'any.test', ':path': path }, { endStream: true });
      const [headers] = await once(stream, 'response', { signal: AbortSignal.timeout(10_000) });
      expect(headers).toMatchObject({ 'x-app': own });
    }
  } finally {
    session.destroy();
  }
});

it('taking out one of four servers moves its own tracks, about a quarter, and those of no other', async () => {
  await start(servers);
  const before = await serversOf(tracks);
  await edge.haproxy.reload(withServers(edge.applied, servers.slice(0, 3)));
  const after = await serversOf(tracks);
  const moved = tracks.filter((track) => after.get(track) !== before.get(track));
  const ofTheFourth = tracks.filter((track) => before.get(track) === 'stream-server-4');
  console.log(`taking out one of 4 servers moved ${moved.length} of ${tracks.length} tracks`);
  expect(moved).toEqual(ofTheFourth);
  // A quarter is 250; the hash is not the same share for all.
  expect(moved.length).toBeGreaterThan(150);
  expect(moved.length).toBeLessThan(350);
  expect([...new Set(after.values())].sort()).toEqual(servers.slice(0, 3));
});

it('when a server dies, its tracks go to the others, and come back with it', async () => {
  await start(servers);
  const some = tracks.slice(0, 200);
  const before = await serversOf(some);
  await edge.stopInstance('stream-server-2');
  await edge.untilDown(['stream-server-2']);
  const meanwhile = await serversOf(some);
  const moved = some.filter((track) => meanwhile.get(track) !== before.get(track));
  expect(moved).toEqual(some.filter((track) => before.get(track) === 'stream-server-2'));
  expect([...new Set(meanwhile.values())]).not.toContain('stream-server-2');

  await edge.startInstance('stream-server-2');
  await edge.untilUp(servers);
  expect(await serversOf(some)).toEqual(before);
});
