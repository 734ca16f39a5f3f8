import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ServerAddress } from '../../src/domain/configuration.js';
import { stampConfiguration } from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { readRunning, readServers } from '../../src/haproxy/runtime.js';
import { type App, startApp } from '../rig/app.js';
import { appliedConfiguration, component, environment } from '../rig/applied.js';
import { ask } from '../rig/ask.js';
import { type Haproxy, haproxyPlaces, startHaproxy } from '../rig/haproxy.js';
import { type NameServer, startNameServer } from '../rig/name-server.js';
import { freeLoopbackRange, freePort } from '../rig/ports.js';
import { isWhole } from '../rig/tier.js';

const within = { timeout: 20_000, interval: 50 };
const environments = [environment('staging', ['staging.localhost']), environment('prod', ['localhost'])];

let names: NameServer;
let range: ReturnType<typeof freeLoopbackRange>;
let port: number;
let apps: App[];
let haproxy: Haproxy | null;
let http: ServerAddress;

beforeEach(async () => {
  range = freeLoopbackRange();
  names = await startNameServer(range.address(53));
  port = await freePort(range.address(10));
  apps = [];
  haproxy = null;
});
afterEach(async () => {
  await haproxy?.stop();
  await Promise.all(apps.map((app) => app.stop()));
  await names.stop();
});

/** An edge whose servers are names, as instances of Incus are. */
async function startEdge(): Promise<Haproxy> {
  const places = await haproxyPlaces();
  http = { address: range.address(1), port: await freePort(range.address(1)) };
  const { addresses, ...rest } = appliedConfiguration({
    environments,
    components: [component('web', { isDefault: true })],
    socket: places.socket,
    edge: { http },
  });
  const named = Object.keys(addresses).map((name) => [name, { address: `${name}.test`, port }]);
  const rendered = renderConfiguration({ ...rest, addresses: Object.fromEntries(named) }, []);
  const stamp = { project: 'demo', generation: 1, probe: 'random1', states: [], version: '0.0.0' };
  haproxy = await startHaproxy(places, stampConfiguration(rendered, stamp), { nameServer: range.address(53) });
  return haproxy;
}

/** Starts an app at the range's address with this last number, and gives the name of an instance to it. */
async function startNamed(instance: string, last: number, answer: string): Promise<App> {
  const app = await startApp(range.address(last), port, answer);
  apps.push(app);
  names.addresses.set(`${instance}.test`, range.address(last));
  return app;
}
const answerOf = async (host: string) => {
  const { status, body } = await ask(http, host, '/');
  return status === 200 ? body : status;
};

it('an instance that was recreated with another address is found without a reload (needs root)', async () => {
  const first = await startNamed('demo-prod-web-blue', 10, 'first');
  const { socket } = await startEdge();
  expect(await answerOf('localhost')).toBe('first');
  const running = await readRunning(socket);

  await first.stop();
  apps.pop();
  await startNamed('demo-prod-web-blue', 11, 'second');
  await vi.waitFor(async () => expect(await answerOf('localhost')).toBe('second'), within);
  expect(await readRunning(socket)).toEqual(running);
});

it('a name that nobody has yet keeps nothing from starting, and is found once there is one (needs root)', async () => {
  await startNamed('demo-prod-web-blue', 10, 'prod');
  await startEdge();
  expect(await answerOf('localhost')).toBe('prod');
  expect(await answerOf('staging.localhost')).toBe(503);

  await startNamed('demo-staging-web-blue', 11, 'staging');
  await vi.waitFor(async () => expect(await answerOf('staging.localhost')).toBe('staging'), within);
  expect(await answerOf('localhost')).toBe('prod');
});

it('while no name server answers, the last address stays (needs root)', async () => {
  await startNamed('demo-prod-web-blue', 10, 'prod');
  const { socket } = await startEdge();
  expect(await answerOf('localhost')).toBe('prod');
  names.fallSilent();
  // Several times over what HAProxy asks before it calls a resolution failed.
  await vi.waitFor(() => expect(names.unanswered()).toBeGreaterThan(isWhole ? 20 : 8), {
    timeout: 30_000,
    interval: 50,
  });
  expect(await answerOf('localhost')).toBe('prod');
  const { servers } = await readServers(socket);
  expect(servers.find(({ name }) => name === 'demo-prod-web-blue')?.status).toBe('UP');
});
