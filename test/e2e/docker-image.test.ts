import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { visitOnce } from '../rig/one-visit.js';
import { freeLoopbackRange, freePort } from '../rig/ports.js';
import { startTemporal, type TemporalServer } from '../rig/temporal.js';
import { isWhole } from '../rig/tier.js';
import { type Engine, type EngineName, startEngine } from './rig/engines.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const image = 'bascule:test';
const worker = 'worker';
const volume = 'project';
const buildWithinMs = 900_000;

/** The settings that reach a build without a line in the Dockerfile. */
const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()]);

// Both build the whole image: minutes, so `make test` leaves it out.
describe.runIf(isWhole).each<EngineName>(['docker', 'podman'])('the image, by %s', (name) => {
  let engine: Engine;
  let temporal: TemporalServer;
  let edgePort = 0;

  beforeAll(async () => {
    engine = await startEngine(name);
    temporal = await startTemporal();
    edgePort = await freePort();
  }, buildWithinMs);
  afterAll(async () => {
    await engine?.stop();
    await temporal?.stop();
  }, 120_000);

  const bascule = (...args: readonly string[]) => engine.command('exec', worker, 'bascule', ...args);

  const releaseServed = async () => {
    const visit = { address: '127.0.0.1', port: edgePort, host: 'staging.localhost', path: '/' };
    const { status, sha } = await visitOnce(visit);
    return sha ?? status;
  };

  test('is built from the Dockerfile, and is the version of package.json, for a user other than root', {
    timeout: buildWithinMs,
  }, async () => {
    const settings = proxies.filter((each) => process.env[each]).flatMap((each) => ['--build-arg', each]);
    const options = ['--network', 'host', ...engine.options.build, ...settings];
    await engine.succeed('build', ...options, '--tag', image, root);
    const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string };
    expect(await engine.succeed('run', '--rm', '--network', 'host', ...engine.options.run, image, '--version')).toBe(
      version,
    );
    const [{ Config }] = JSON.parse(await engine.succeed('image', 'inspect', image)) as [{ Config: { User: string } }];
    expect(Config.User).toBe('node');
  });

  test('carries its demo: worker, edge and instances run as node, a deploy is served, and a stop and a start keep it', {
    timeout: 300_000,
  }, async () => {
    const metricsPort = await freePort();
    const isHealthy = () =>
      vi.waitFor(async () => expect((await fetch(`http://127.0.0.1:${metricsPort}/healthz`)).status).toBe(200), {
        timeout: 60_000,
        interval: 200,
      });
    // As the worker of docker-compose.yml, but for ports and addresses that nothing else on this machine has.
    const options = ['--network', 'host', '--volume', `${volume}:/project`, ...engine.options.run];
    await engine.succeed(
      ...['run', '--rm', ...options, '--entrypoint', 'sed', image, '--in-place'],
      `s!127.0.0.1:8088!127.0.0.1:${edgePort}!; s!127.77.0.0/16!${freeLoopbackRange().cidr}!`,
      'bascule.yaml',
    );
    await engine.succeed(
      ...['run', '--detach', '--name', worker, '--init', '--user', '1000:1000', ...options],
      ...['--env', `TEMPORAL_ADDRESS=${temporal.address}`, '--env', 'TEMPORAL_NAMESPACE=default'],
      ...[image, 'worker', '--metrics', `127.0.0.1:${metricsPort}`],
    );
    await isHealthy();

    const applied = await bascule('apply');
    expect(applied.exitCode, applied.all).toBe(0);
    const deployed = await bascule('deploy', 'staging', 'a1a1a1a1a1', '--soak', '0s');
    expect(deployed.exitCode, deployed.all).toBe(0);
    expect(await releaseServed()).toBe('a1a1a1a1a1');
    const users = await engine.succeed('exec', worker, 'sh', '-c', 'cat /proc/[0-9]*/status');
    const uids = users.split('\n').filter((line) => line.startsWith('Uid:'));
    expect(new Set(uids)).toEqual(new Set(['Uid:\t1000\t1000\t1000\t1000']));
    // The worker, HAProxy's two and the instances of api and web, at least.
    for (const program of ['node', 'haproxy'])
      expect(users.split('\n').filter((line) => line === `Name:\t${program}`).length).toBeGreaterThanOrEqual(2);

    await engine.succeed('stop', '--time', '30', worker);
    const stateOf = async () => (await engine.succeed('inspect', '--format', '{{.State.ExitCode}}', worker)).trim();
    expect(await stateOf()).toBe('0');
    await expect(releaseServed()).rejects.toThrow();

    await engine.succeed('start', worker);
    await isHealthy();
    await expect.poll(releaseServed, { timeout: 60_000 }).toBe('a1a1a1a1a1');
    const again = await bascule('deploy', 'staging', 'b2b2b2b2b2', '--soak', '0s');
    expect(again.exitCode, again.all).toBe(0);
    expect(await releaseServed()).toBe('b2b2b2b2b2');
  });
});
