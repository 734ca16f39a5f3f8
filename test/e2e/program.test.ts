import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';

// The program as it is installed, in a process of its own. Other tests run commands within theirs (test/rig/command.ts).

const bascule = fileURLToPath(new URL('../../dist/bascule.cjs', import.meta.url));
const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));

let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-program-'));
  await copyFile(example, join(folder, 'bascule.yaml'));
});
afterAll(() => rm(folder, { recursive: true }));

const options = () => ({ cwd: folder, env: { NO_COLOR: '1', BASCULE_CONFIG: '' }, reject: false }) as const;
const run = (...args: readonly string[]) =>
  execa(process.execPath, [bascule, ...args], { ...options(), stdin: 'ignore' });

test('--version prints the version of package.json', async () => {
  const manifest = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  expect(await run('--version')).toMatchObject({ exitCode: 0, stdout: version, stderr: '' });
});

test('--help prints the commands on stdout', async () => {
  const { exitCode, stdout, stderr } = await run('--help');
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout).toMatch(/^ {2}deploy /m);
});

test('bad usage ends with 2, without a stack', async () => {
  const { exitCode, stderr } = await run('deplo');
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('Did you mean deploy?') });
  expect(stderr).not.toMatch(/\n\s+at /);
});

test('a reader that closes stdout early is no error', async () => {
  const command = 'set -o pipefail; "$0" "$1" render | head -1';
  const { exitCode, stderr } = await execa('bash', ['-c', command, process.execPath, bascule], options());
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
});

test('an error that nobody catches is reported as a bug, and ends the command that waits', async () => {
  const unresponsive = createServer().listen(0, '127.0.0.1');
  await once(unresponsive, 'listening');
  const { port } = unresponsive.address() as AddressInfo;
  const preload = join(folder, 'throws.cjs');
  await writeFile(
    preload,
    "setInterval(() => { if (process.listenerCount('uncaughtException') > 0) throw new Error('thrown late'); }, 10);",
  );
  const { exitCode, stdout } = await execa(process.execPath, ['--require', preload, bascule, 'status', '--json'], {
    ...options(),
    env: { ...options().env, TEMPORAL_ADDRESS: `127.0.0.1:${port}` },
  });
  unresponsive.close();
  expect(exitCode).toBe(70);
  expect(JSON.parse(stdout)).toMatchObject({ code: 'unforeseen', message: expect.stringContaining('thrown late') });
});

test('a worker that can not listen on --metrics says so', async () => {
  const squatter = createServer().listen(0, '127.0.0.1');
  await once(squatter, 'listening');
  const { port } = squatter.address() as AddressInfo;
  for (const [address, message, remedy] of [
    ['nonsense', 'nonsense is no address', 'Write it as 127.0.0.1:9464'],
    [`127.0.0.1:${port}`, `is taken by process ${process.pid} (`, `kill ${process.pid}`],
  ] as const) {
    const { exitCode, stderr } = await run('worker', '--metrics', address);
    expect(exitCode, stderr).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).toContain(remedy);
  }
  squatter.close();
});

test('a worker whose folder can not be made says so', async () => {
  await rm(join(folder, '.bascule'), { recursive: true, force: true });
  await writeFile(join(folder, '.bascule'), '');
  const { exitCode, stderr } = await run('worker');
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('.bascule') });
  expect(stderr).toMatch(/→ A file lies where a folder belongs: `ls -ld \S+\.bascule`/);
});
