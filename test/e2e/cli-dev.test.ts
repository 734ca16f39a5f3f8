import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { stoppedSchema } from '../../src/cli/output-schema.js';
import { processesOf } from '../../src/hosts/processes.js';
import { makeRelease } from '../rig/artifacts.js';
import { visitOnce } from '../rig/ask.js';
import { runCommand } from '../rig/command.js';
import { freeLoopbackRange, freePort } from '../rig/ports.js';
import { killAllOf } from '../rig/project.js';
import { takenFromWebPages } from '../rig/web-page.js';

const bascule = fileURLToPath(new URL('../../dist/bascule.cjs', import.meta.url));
const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));

let folder = '';
let edgePort = 0;
let temporalPort = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-dev-'));
  [edgePort, temporalPort] = [await freePort(), await freePort()];
  const yaml = (await readFile(example, 'utf8'))
    .replace('http: 127.0.0.1:8088', `http: 127.0.0.1:${edgePort}`)
    .replace('127.77.0.0/16', freeLoopbackRange().cidr);
  await writeFile(join(folder, 'bascule.yaml'), yaml);
});
afterEach(async () => {
  await killAllOf(folder);
  await rm(folder, { recursive: true, maxRetries: 5 });
});

const env = () => ({ NO_COLOR: '1', BASCULE_CONFIG: '', TEMPORAL_ADDRESS: `127.0.0.1:${temporalPort}` });
const run = (...args: readonly string[]) => runCommand(args, { folder, env: { ...process.env, ...env() } });
const start = (...args: readonly string[]) =>
  execa(process.execPath, [bascule, ...args], { cwd: folder, env: env(), reject: false, stdin: 'ignore' });

/** Starts `bascule dev` and waits for what it prints when all is up. */
async function startDev(...args: readonly string[]) {
  const dev = start('dev', ...args);
  let printed = '';
  while (!printed.includes('is up')) {
    const [chunk] = await Promise.race([
      once(dev.stdout, 'data'),
      dev.then(({ stderr }) => Promise.reject(new Error(stderr))),
    ]);
    printed += String(chunk);
  }
  // A promise of its own would be awaited with this one.
  return { dev };
}

test('dev says what to type where a file lies at .bascule, and brings all up once that is done; after Ctrl-C the edge goes on, and a second dev knows what was', async () => {
  const file = join(folder, '.bascule');
  await writeFile(file, '');
  const refused = await start('dev');
  expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(`${file}/dev.json`) });
  expect((await run('dev', '--stop')).stdout).toContain('Nothing runs.');
  await execa('sh', ['-c', /`(mv [^`]+)`/.exec(refused.stderr)?.[1] ?? '']);

  const { dev } = await startDev('--ui');
  const ui = `http://127.0.0.1:${temporalPort + 1_000}/`;
  expect((await fetch(ui)).status).toBe(200);
  const status = await run('status', '--json');
  expect(status.exitCode, status.stderr).toBe(0);
  expect(JSON.parse(status.stdout)).toMatchObject({ edge: { running: true, generation: 1 } });

  dev.kill('SIGINT');
  const { exitCode, stdout, stderr } = await dev;
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toContain(`http://localhost:${edgePort}/`);
  expect(stdout).toContain(ui);
  expect(stdout).toContain('bascule deploy staging SHA');
  expect(stderr).toContain('The edge and the instances go on serving');
  expect(await isListening(temporalPort)).toBe(false);
  // Nothing was deployed yet.
  expect((await fetch(`http://127.0.0.1:${edgePort}/`, { headers: { host: 'localhost' } })).status).toBe(503);

  const { dev: again } = await startDev();
  expect(JSON.parse((await run('status', '--json')).stdout)).toMatchObject({ edge: { generation: 1 } });
  const kept = JSON.parse((await run('doctor', '--json')).stdout) as { checks: { name: string; note: string }[] };
  expect(kept.checks.find(({ name }) => name === 'operations kept')?.note).toMatch(/^30 days /);
  await killEachProcess();
  await deploy('a1a1a1a1');
  // Temporal's numbers, which it offers at a port of its own choice, are all that a web page gets.
  expect(await takenFromWebPages(folder, [edgePort])).toEqual(['temporal: /metrics']);
  const second = await start('dev');
  expect(second).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('bascule dev --stop') });
  const underWay = visitOnce({ address: '127.0.0.1', port: edgePort, host: 'localhost', path: '/?takes=2000' });
  const stopped = await run('dev', '--stop');
  expect(await underWay).toMatchObject({ status: 200, sha: 'a1a1a1a1' });
  expect(stopped.exitCode, stopped.stderr).toBe(0);
  expect(stopped.stdout).toContain('stopped bascule dev');
  expect(stopped.stdout).toContain(`stopped HAProxy at 127.0.0.1:${edgePort}`);
  expect(stopped.stdout).toContain('stopped demo-api-green');
  expect((await again).exitCode).toBe(0);
  expect(await isListening(edgePort)).toBe(false);
  expect(await processesOf(folder)).toEqual([]);
  const nothing = stoppedSchema.parse(JSON.parse((await run('dev', '--stop', '--json')).stdout));
  expect(nothing).toMatchObject({ dev: 'not-running', edge: 'not-running', instances: [], stopped: [] });

  // What was stopped comes back as it was, also where Temporal does not.
  const { exitCode: withoutTemporal, stderr: said } = await start('worker');
  expect({ withoutTemporal, said }).toEqual({ withoutTemporal: 5, said: expect.stringContaining('does not answer') });
  await expect.poll(() => answeredSha(), { timeout: 10_000 }).toBe('a1a1a1a1');
});

/** Kills the worker, Temporal and HAProxy; returns when all of it answers again. */
async function killEachProcess(): Promise<void> {
  const note = join(folder, '.bascule', 'dev.json');
  const { started } = JSON.parse(await readFile(note, 'utf8')) as { started: { pid: number }[] };
  expect(started).toHaveLength(2);
  const haproxy = (await processesOf(folder)).filter(({ name }) => name === 'haproxy');
  expect(haproxy).not.toEqual([]);
  for (const { pid } of [...started, ...haproxy]) process.kill(pid, 'SIGKILL');
  const looks = async () => {
    const now = JSON.parse(await readFile(note, 'utf8')) as { started: { pid: number }[] };
    expect(now.started.filter(({ pid }) => started.some((one) => one.pid === pid))).toEqual([]);
    expect(JSON.parse((await run('status', '--json')).stdout)).toMatchObject({ edge: { running: true } });
  };
  await vi.waitFor(looks, { timeout: 30_000, interval: 200 });
}

async function deploy(sha: string): Promise<void> {
  for (const component of ['api', 'web']) await makeRelease({ directory: folder, component, sha });
  const { exitCode, stderr } = await run('deploy', 'prod', sha, '--soak', '0s');
  expect(exitCode, stderr).toBe(0);
}

async function answeredSha(): Promise<string | null> {
  try {
    return (await visitOnce({ address: '127.0.0.1', port: edgePort, host: 'localhost', path: '/' })).sha;
  } catch {
    return null;
  }
}

test('dev says why the worker ended, and ends too', async () => {
  const yaml = join(folder, 'bascule.yaml');
  await writeFile(yaml, (await readFile(yaml, 'utf8')).replace(`127.0.0.1:${edgePort}`, '192.0.2.1:8088'));
  const { exitCode, stderr } = await start('dev');
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain('192.0.2.1');
  expect(await isListening(temporalPort)).toBe(false);
});

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
