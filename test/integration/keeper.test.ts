import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as listen } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadProject } from '../../src/activities/project.js';
import { examineHost } from '../../src/doctor.js';
import { defaults } from '../../src/domain/defaults.js';
import { edgeFiles } from '../../src/haproxy/edge.js';
import { installConfiguration } from '../../src/haproxy/install.js';
import { stopManagedEdge } from '../../src/haproxy/managed.js';
import { reloadEdge } from '../../src/haproxy/reload.js';
import { readRunning } from '../../src/haproxy/runtime.js';
import { stageConfiguration } from '../../src/haproxy/stage.js';
import { LocalHost } from '../../src/hosts/local.js';
import { logSize } from '../../src/hosts/log-file.js';
import { type Keeper, startKeeper } from '../../src/keeper.js';
import { applyChange, createTestEdge, planned, switchChange, type TestEdge, version } from '../rig/edge.js';

describe('the keeper of an edge on this machine', () => {
  const timeoutMs = 8_000;
  const overfull = `${'access log '.repeat(9)}\n`.repeat(Math.ceil(defaults.logBytes / 100));

  let edgeUnderTest: TestEdge;
  let keeper: Keeper | null;
  let log: string;
  let place: { configurationFile: string; host: TestEdge['edge']['host'] };
  beforeEach(async () => {
    keeper = null;
    edgeUnderTest = await createTestEdge();
    const { edge, folder } = edgeUnderTest;
    log = edgeFiles(edge).log;
    place = { configurationFile: join(folder, 'bascule.yaml'), host: edge.host };
    const { files, http } = edge.configuration;
    await writeFile(
      place.configurationFile,
      `version: 1
project: demo
edge:
  http: ${http.address}:${http.port}
  files:
    config: ${files.config}
    state: ${files.state}
    certificates: ${files.certificates}
    socket: ${files.socket}
    master: ${files.masterSocket}
environments:
  prod: { hosts: [prod.localhost] }
components:
  web: { health: { path: / }, run: ["true"] }
artifacts:
  url: "file:./artifacts/{sha}.tar.gz"
`,
    );
    await load('run-1', applyChange);
  });
  afterEach(async () => {
    await keeper?.stop();
    await edgeUnderTest.dispose();
  });

  async function load(run: string, change: Parameters<typeof planned>[2]): Promise<void> {
    const { edge } = edgeUnderTest;
    const step = await planned(edgeUnderTest, run, change);
    const claim = await stageConfiguration(edge, step);
    const target = await installConfiguration(edge, { claim, ...step });
    await reloadEdge(edge, { claim, target, timeoutMs });
  }

  const startKeeping = () => {
    keeper = startKeeper(place, pino({ level: 'silent' }));
  };

  test('the log of the managed HAProxy is cut where it is full, and HAProxy goes on writing into it', async () => {
    await writeFile(log, overfull, { flag: 'a' });
    startKeeping();
    await vi.waitFor(async () => expect(await logSize(log)).toBe(0), timeoutMs);
    expect((await stat(`${log}.1`)).size).toBeGreaterThanOrEqual(defaults.logBytes);
    await load('run-2', { ...switchChange('blue', 'green'), repair: true });
    await vi.waitFor(
      async () => expect(await readFile(log, 'utf8')).toMatch(/^\[NOTICE\].*Reloading HAProxy/),
      timeoutMs,
    );

    const { usage } = await examineHost(await loadProject(place), version);
    const edge = usage.find(({ what }) => what === 'edge');
    expect(edge?.bytes).toBeGreaterThanOrEqual(defaults.logBytes);
  });

  test('the log is cut also where HAProxy cannot be started', async () => {
    const { edge } = edgeUnderTest;
    await stopManagedEdge(edge);
    const occupier = listen().listen(edge.configuration.http.port, edge.configuration.http.address);
    await once(occupier, 'listening');
    await writeFile(log, overfull, { flag: 'a' });
    startKeeping();
    await vi.waitFor(async () => expect(await logSize(log)).toBeLessThan(defaults.logBytes), 20_000);
    occupier.close();
    await vi.waitFor(async () => expect(await readRunning(edge.configuration.files.socket)).not.toBeNull(), 20_000);
  });
});

describe('the keeper of an edge in an instance of Incus', () => {
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
});
