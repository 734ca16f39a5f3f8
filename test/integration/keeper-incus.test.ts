import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { LocalHost } from '../../src/hosts/local.js';
import { type Keeper, startKeeper } from '../../src/keeper.js';

// The edge in an instance of Incus, whose API is answered here.

let folder: string;
let incus: Server;
let keeper: Keeper;
let status: string;
let asked: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-keeper-'));
  incus = createServer(({ url = '' }, answer) => {
    const { pathname } = new URL(url, 'http://incus');
    asked.push(pathname);
    if (pathname === '/1.0/instances/edge') answer.end(JSON.stringify({ type: 'sync', metadata: { status } }));
    else answer.writeHead(404).end(JSON.stringify({ type: 'error', error: 'not found', error_code: 404 }));
  });
  const socket = join(folder, 'incus.socket');
  await new Promise<void>((resolve) => incus.listen(socket, resolve));
  vi.stubEnv('INCUS_SOCKET', socket);
  await writeFile(
    join(folder, 'bascule.yaml'),
    `version: 1
project: demo
edge: { http: "*:80", host: { driver: incus, instance: edge } }
environments: { prod: { hosts: [prod.localhost] } }
components: { web: { health: { path: / }, run: ["true"] } }
artifacts: { url: "file:./artifacts/{sha}.tar.gz" }
`,
  );
});
afterEach(async () => {
  await keeper.stop();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  incus.closeAllConnections();
  incus.close();
  await rm(folder, { recursive: true });
});

const files = '/1.0/instances/edge/files';
const startKeeping = () => {
  asked = [];
  const place = { configurationFile: join(folder, 'bascule.yaml'), host: new LocalHost() };
  keeper = startKeeper(place, pino({ level: 'silent' }));
};

test('an edge that is being started is left alone: Incus would wait until no files are asked for any more', async () => {
  status = 'Stopped';
  startKeeping();
  await vi.waitFor(
    () => expect(asked.filter((path) => path === '/1.0/instances/edge').length).toBeGreaterThan(1),
    8_000,
  );
  expect(asked).not.toContain(files);
});

test('one that runs is looked at', async () => {
  status = 'Running';
  startKeeping();
  await vi.waitFor(() => expect(asked).toContain(files), 8_000);
});
