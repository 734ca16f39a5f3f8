import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../rig/ports.js';
import { startTemporal, type TemporalServer, temporalPath } from '../rig/temporal.js';
import { askAsWebPage } from '../rig/web-page.js';

// A Temporal that somebody else runs: its namespace, and what Bascule needs of it.

const root = fileURLToPath(new URL('../../', import.meta.url));
let folder: string;
let temporal: TemporalServer;
let tools: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-namespace-'));
  await cp(join(root, 'examples/local.yaml'), join(folder, 'bascule.yaml'));
  tools = dirname(await temporalPath());
  temporal = await startTemporal();
});
afterAll(async () => {
  await temporal.stop();
  await rm(folder, { recursive: true, force: true });
});

const environment = (namespace: string) => ({
  ...{ TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: namespace },
  ...{ PATH: `${tools}:${process.env.PATH}`, NO_COLOR: '1' },
});
const bascule = (namespace: string, ...args: readonly string[]) =>
  execa(process.execPath, [join(root, 'dist/bascule.cjs'), ...args], {
    ...{ cwd: folder, env: environment(namespace), reject: false, timeout: 20_000 },
  });
const shell = (namespace: string, line: string) => execa({ env: environment(namespace), shell: true })`${line}`;

/** What the remedy after the arrow says to type, as it is. */
const typed = (stderr: string): string => /→ .*?(temporal operator [^`\n]+)/.exec(stderr)?.[1] ?? '';

/** Starts a worker, waits until it polls, and ends it. */
async function workerPolls(namespace: string): Promise<void> {
  const port = await freePort();
  const metrics = `127.0.0.1:${port}`;
  const worker = bascule(namespace, 'worker', '--metrics', metrics);
  await expect.poll(async () => (await bascule(namespace, 'status', '--json')).exitCode, { timeout: 30_000 }).toBe(0);
  expect((await fetch(`http://${metrics}/healthz`)).status).toBe(200);
  expect(await (await fetch(`http://${metrics}/metrics`)).text()).toContain('temporal_');
  expect(await askAsWebPage({ address: '127.0.0.1', port })).toEqual([]);
  worker.kill('SIGTERM');
  expect(await worker).toMatchObject({ exitCode: 0 });
}

test('a missing namespace, then missing search attributes: each is said, and what is said to type mends it', async () => {
  const [status, worker, doctor] = await Promise.all([
    bascule('shop', 'status'),
    bascule('shop', 'worker'),
    bascule('shop', 'doctor'),
  ]);
  expect(status).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('has no namespace shop') });
  expect(worker).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('has no namespace shop') });
  expect(doctor.stdout.match(/has no namespace shop/g)).toHaveLength(1);
  await shell('shop', typed(status.stderr));

  const refused = await expect
    .poll(() => bascule('shop', 'worker'), { timeout: 20_000 })
    .toMatchObject({ exitCode: 2, stderr: expect.stringContaining('lacks the search attributes BasculeEnvironment') })
    .then(() => bascule('shop', 'worker'));
  expect((await bascule('shop', 'doctor')).stdout).toContain('✘ search attributes');
  await shell('shop', typed(refused.stderr));
  await workerPolls('shop');
});

test('the script of docker-compose.yml makes a namespace that a worker runs in, and run again changes nothing', async () => {
  const script = join(root, 'docker/temporal-namespace.sh');
  expect((await shell('team', script)).stdout).toContain('Search attributes have been added');
  expect((await shell('team', script)).stdout).toBe('');
  await workerPolls('team');
});
