import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { visitOnce } from '../rig/ask.js';
import { freeLoopbackRange, freePort } from '../rig/ports.js';
import { startTemporal, type TemporalServer } from '../rig/temporal.js';
import { type Engine, type EngineName, startEngine } from './rig/engines.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const image = 'localhost/bascule:test';
const worker = 'worker';
const volume = 'demo-project';
const buildWithinMs = 900_000;

/** Settings that a build takes from its environment without a line in the Dockerfile. */
const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()]);

// Both build the whole image, which takes minutes: `make test` leaves it out.
describe.each<EngineName>(['docker', 'podman'])('the image, built and run by %s', (name) => {
  let engine: Engine;
  let temporal: TemporalServer;
  let edgePort = 0;
  let metricsPort = 0;

  beforeAll(async () => {
    engine = await startEngine(name);
    temporal = await startTemporal();
    const settings = proxies.filter((each) => process.env[each]).flatMap((each) => ['--build-arg', each]);
    await engine.succeed('build', '--network', 'host', ...engine.options.build, ...settings, '--tag', image, root);
  }, buildWithinMs);
  afterAll(async () => {
    await engine?.stop();
    await temporal?.stop();
  }, 120_000);

  // Ports and addresses of docker-compose.yml and of the image's demo may be in use on this machine.
  beforeEach(async () => {
    [edgePort, metricsPort] = [await freeLowPort(), await freePort()];
    const address = `s!127.0.0.1:8088!127.0.0.1:${edgePort}!; s!127.77.0.0/16!${freeLoopbackRange().cidr}!`;
    await runOnce(
      '--volume',
      `${volume}:/project`,
      '--entrypoint',
      'sed',
      image,
      '--in-place',
      address,
      'bascule.yaml',
    );
  });
  afterEach(async () => {
    await engine.command('rm', '--force', worker);
    await engine.succeed('volume', 'rm', '--force', volume);
  });

  /** A command in a container of its own, which ends with it. */
  const runOnce = (...args: readonly string[]) =>
    engine.succeed('run', '--rm', '--network', 'host', ...engine.options.run, ...args);

  /** A command in the worker's container. Answers its stdout. */
  const inside = (...args: readonly string[]) => engine.succeed('exec', worker, ...args);

  /** Waits until the worker is. Throws with what it printed. */
  async function untilHealthy(): Promise<void> {
    const isHealthy = async () =>
      expect((await fetch(`http://127.0.0.1:${metricsPort}/healthz`)).status, 'of /healthz').toBe(200);
    await vi.waitFor(isHealthy, { timeout: 60_000, interval: 200 }).catch(async (cause: unknown) => {
      throw new Error(`the worker is not healthy: ${(await engine.command('logs', worker)).all}`, { cause });
    });
  }

  const served = async () => {
    const visit = { address: '127.0.0.1', port: edgePort, host: 'staging.localhost', path: '/' };
    const { status, sha } = await visitOnce(visit);
    return sha ?? status;
  };

  /** Stops it as its engine does, and answers the exit code. */
  async function stopWorker(): Promise<string> {
    await engine.succeed('stop', '--time', '30', worker);
    return (await engine.succeed('inspect', '--format', '{{.State.ExitCode}}', worker)).trim();
  }

  test('runs bascule, of the version of package.json, as a user other than root in a project that is valid', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(await runOnce(image, '--version')).toBe(version);
    await runOnce(image, 'validate');
    const [{ Config }] = JSON.parse(await engine.succeed('image', 'inspect', image)) as [{ Config: { User: string } }];
    expect(Config.User).toBe('node');
    expect(await runOnce('--entrypoint', 'id', image, '--user', '--name')).toBe('node');
    // Nothing writes into the program at run time.
    await runOnce('--entrypoint', 'sh', image, '-c', '! touch /opt/bascule/dist/touched 2>/dev/null');
  });

  test('has the public authorities, without which its worker connects to no Temporal over TLS', async () => {
    await runOnce('--entrypoint', 'test', image, '-s', '/etc/ssl/certs/ca-certificates.crt');
  });

  test('its worker says why it ends where Temporal does not answer', async () => {
    const options = ['--network', 'host', ...engine.options.run, '--env', 'TEMPORAL_ADDRESS=127.0.0.1:1'];
    const { exitCode, all } = await engine.command('run', '--rm', ...options, image);
    expect({ exitCode, all }).toEqual({ exitCode: 5, all: expect.stringContaining('127.0.0.1:1') });
  });

  test('its worker deploys the demo and serves it at a port below 1024, all as node; the project outlives a stop, which is clean', async () => {
    await engine.succeed(
      ...['run', '--detach', '--name', worker, '--init', '--network', 'host', '--volume', `${volume}:/project`],
      ...['--env', `TEMPORAL_ADDRESS=${temporal.address}`, '--env', 'TEMPORAL_NAMESPACE=default'],
      ...[...engine.options.run, image, 'worker', '--metrics', `127.0.0.1:${metricsPort}`],
    );
    await untilHealthy();
    await inside('bascule', 'apply');
    await inside('bascule', 'deploy', 'staging', 'a1a1a1a1a1', '--soak', '0s');
    expect(await served()).toBe('a1a1a1a1a1');

    const processes = (await inside('sh', '-c', 'cat /proc/[0-9]*/status')).split('\n');
    expect(processes).toContain('Name:\thaproxy');
    const users = processes.filter((line) => line.startsWith('Uid:'));
    expect(new Set(users)).toEqual(new Set(['Uid:\t1000\t1000\t1000\t1000']));

    expect(await stopWorker()).toBe('0');
    await expect(served()).rejects.toThrow();
    await engine.succeed('start', worker);
    await untilHealthy();
    await expect.poll(served, { timeout: 60_000 }).toBe('a1a1a1a1a1');
    await inside('bascule', 'deploy', 'staging', 'b2b2b2b2b2', '--soak', '0s');
    expect(await served()).toBe('b2b2b2b2b2');
  });

  // Podman is no part of docs/install.md's docker-compose.
  if (name === 'docker') {
    test('the worker of docker-compose.yml becomes healthy, and a new container of it serves what the last one did', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'bascule-compose-'));
      try {
        const compose = await writeWorkerAlone(folder, { temporal: temporal.address, metricsPort });
        const up = async (...options: readonly string[]) => {
          const args = ['--file', compose.file, 'up', '--detach', '--no-build', ...options];
          await execa('docker-compose', args, { env: { ...engine.env, ...compose.env }, cwd: folder });
          const health = () => engine.succeed('inspect', '--format', '{{.State.Health.Status}}', worker);
          await expect.poll(health, { timeout: 90_000 }).toBe('healthy');
        };
        await engine.succeed('tag', image, compose.image);
        await up();
        await inside('bascule', 'apply');
        await inside('bascule', 'deploy', 'staging', 'a1a1a1a1a1', '--soak', '0s');
        expect(await served()).toBe('a1a1a1a1a1');
        await up('--force-recreate');
        await expect.poll(served, { timeout: 60_000 }).toBe('a1a1a1a1a1');
        expect(await stopWorker()).toBe('0');
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }
});

/** One that only root may take, or a program whose file has the capability for it. */
async function freeLowPort(): Promise<number> {
  for (let port = 1_023; port > 600; port -= 1) {
    const server = createServer();
    const isFree = await new Promise((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    server.close();
    if (isFree) return port;
  }
  throw new Error('no port below 1024 is free, or the tests may not take one');
}

/** The worker's service of docker-compose.yml by itself: Temporal is another one, and its images can't be pulled here. */
async function writeWorkerAlone(folder: string, at: { readonly temporal: string; readonly metricsPort: number }) {
  const { services } = parse(await readFile(join(root, 'docker-compose.yml'), 'utf8')) as {
    services: { worker: { image: string; environment: object; healthcheck: { test: string[] } } };
  };
  const metrics = `127.0.0.1:${at.metricsPort}`;
  const { healthcheck } = services.worker;
  const service = {
    ...services.worker,
    container_name: worker,
    depends_on: undefined,
    command: ['worker', '--metrics', metrics],
    environment: { ...services.worker.environment, TEMPORAL_ADDRESS: at.temporal },
    healthcheck: {
      ...healthcheck,
      test: healthcheck.test.map((part) => part.replace('127.0.0.1:9464', metrics)),
      interval: '1s',
    },
  };
  const file = join(folder, 'docker-compose.yml');
  const volumes = { project: { external: true, name: volume } };
  await writeFile(file, stringify({ version: '3.8', services: { worker: service }, volumes }));
  return { file, image: service.image, env: { BASCULE_ENV_FILE: join(root, 'docker', 'no-secrets.env') } };
}
