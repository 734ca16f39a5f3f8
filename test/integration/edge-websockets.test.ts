import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Color } from '../../src/domain/edge-state.js';
import type { AppProcess } from '../rig/app.js';
import { stateOf } from '../rig/applied.js';
import { type ExampleEdge, startExampleEdge } from '../rig/example-edge.js';
import { isWhole } from '../rig/tier.js';
import type { OpenWebSocket } from '../rig/web-socket.js';

const prodOn = (color: Color) => [
  stateOf('staging', 'blue', { hasStandby: true }),
  stateOf('prod', color, { hasStandby: true }),
];

const topologies = [
  {
    example: 'lab',
    host: 'any.test',
    path: '/socket',
    instances: ['backend-api-1', 'backend-api-2'],
    states: [],
  },
  {
    example: 'veza',
    host: 'veza.fr',
    path: '/api/v1/socket',
    instances: ['veza-backend-blue', 'veza-backend-green'],
    states: prodOn('blue'),
  },
] as const;

/** Ways in which an instance dies; after all but the first its connections are still open. */
const deaths: readonly (readonly [string, (instance: AppProcess) => Promise<void> | void])[] = [
  ['dies', (instance) => instance.kill()],
  ['hangs', (instance) => instance.hang()],
  ['fails its health checks, however well it still talks', (instance) => instance.failHealth()],
];

let edge: ExampleEdge;
let instances: Map<string, AppProcess>;
const start = async (
  { example, states, instances: names }: (typeof topologies)[number],
  more: readonly string[] = [],
) => {
  // Without external sites, the first check of which may come after 5 s and with it everybody else's.
  edge = await startExampleEdge(example, { states, change: (whole) => ({ ...whole, external: [] }) });
  instances = new Map();
  for (const name of [...names, ...more]) instances.set(name, await edge.startProcess(name));
};
afterEach(async () => await edge?.dispose());

describe.each(topologies)('a WebSocket of the example $example', (topology) => {
  const { host, path, instances: names } = topology;
  beforeEach(async () => await start(topology));

  it.each(isWhole ? deaths : deaths.filter(([how]) => topology.example === 'lab' || how === 'hangs'))(
    'is cut when its instance %s, and reaches the other one when it comes again',
    async (_how, die) => {
      const socket = await edge.openWebSocket(host, path);
      const own = appOf(socket);
      const [other] = names.filter((name) => name !== own);
      const survivor = await openTo(other, topology);
      await die(instanceOf(own));
      await untilCut(socket);
      await vi.waitFor(async () => expect(appOf(await edge.openWebSocket(host, path))).toBe(other), 20_000);
      if (survivor) await untilHeardFrom(survivor, other);
    },
  );

  if (isWhole || topology.example === 'lab')
    it('goes on with its instance through a reload', async () => {
      const socket = await edge.openWebSocket(host, path);
      const own = appOf(socket);
      await edge.reload(topology.states, 2);
      await untilHeardFrom(socket, own);
    });
});

describe('a WebSocket of examples/veza.yaml', () => {
  const [, veza] = topologies;
  beforeEach(async () => await start(veza, ['veza-staging-backend-blue']));

  it('stays with the color that it was opened to through a switch, while new ones go to the new color', async () => {
    const before = await edge.openWebSocket('veza.fr', '/api/v1/socket');
    await edge.reload(prodOn('green'), 2);
    const after = await edge.openWebSocket('veza.fr', '/api/v1/socket');
    expect(appOf(after)).toBe('veza-backend-green');
    await untilHeardFrom(before, 'veza-backend-blue');
    await untilHeardFrom(after, 'veza-backend-green');
  });

  it('of staging goes on when prod’s instance hangs, and through a switch of prod', async () => {
    const staging = await edge.openWebSocket('staging.veza.fr', '/api/v1/socket');
    const prod = await edge.openWebSocket('veza.fr', '/api/v1/socket');
    instanceOf('veza-backend-blue').hang();
    await untilCut(prod);
    await edge.reload(prodOn('green'), 2);
    await untilHeardFrom(staging, 'veza-staging-backend-blue');
  });
});

const appOf = (socket: OpenWebSocket): string => socket.identity()?.sha ?? '';

function instanceOf(name: string): AppProcess {
  const instance = instances.get(name);
  if (!instance) throw new Error(`${name} is no process`);
  return instance;
}

/** A WebSocket to this very instance, where new ones can reach it: side by side, not as a standby. */
async function openTo(name: string | undefined, { example, host, path }: (typeof topologies)[number]) {
  if (example !== 'lab') return null;
  return await vi.waitFor(
    async () => {
      const socket = await edge.openWebSocket(host, path);
      if (appOf(socket) === name) return socket;
      await socket.close();
      throw new Error(`${name} gets no new connection`);
    },
    { timeout: 20_000, interval: 20 },
  );
}

async function untilCut(socket: OpenWebSocket): Promise<void> {
  await vi.waitFor(() => expect(socket.closed()).not.toBeNull(), { timeout: 20_000, interval: 20 });
}

/** Until it has received another two messages, the last of this app. */
async function untilHeardFrom(socket: OpenWebSocket, app: string | undefined): Promise<void> {
  const before = socket.messages();
  await vi.waitFor(
    () => {
      expect(socket.closed()).toBeNull();
      expect(socket.messages()).toBeGreaterThanOrEqual(before + 2);
    },
    { timeout: 10_000, interval: 20 },
  );
  expect(appOf(socket)).toBe(app);
}
