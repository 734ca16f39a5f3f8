import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemdUnits } from '../../src/cli/systemd-units.js';

const bascule = fileURLToPath(new URL('../../dist/bascule.cjs', import.meta.url));
const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-units-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const init = (cwd: string, ...args: readonly string[]) =>
  execa(process.execPath, [bascule, 'init', '--systemd', ...args], { cwd, reject: false, env: { NO_COLOR: '1' } });
/** What systemd says against the units. */
async function verify(...files: readonly string[]): Promise<{ exitCode: number | undefined; said: string }> {
  const { exitCode, all } = await execa('systemd-analyze', ['verify', ...files], { reject: false, all: true });
  return { exitCode, said: all };
}

test('writes units that systemd accepts, and never over others', async () => {
  await cp(example, join(folder, 'bascule.yaml'));
  const { exitCode, stdout, stderr } = await init(folder, 'units');
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toContain('systemctl enable --now bascule-demo-temporal.service bascule-demo-worker.service');
  const files = ['temporal', 'worker'].map((part) => join(folder, 'units', `bascule-demo-${part}.service`));
  expect(await verify(...files)).toEqual({ exitCode: 0, said: '' });
  const [temporal, worker] = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  expect(temporal).toContain('--ip 127.0.0.1');
  expect(worker).toContain('KillMode=process');
  expect(worker).toContain(`WorkingDirectory=${folder}\n`);
  expect(await init(folder, 'units')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('exists already'),
  });
});

test('lets the worker take a port below 1024 where https alone needs one', async () => {
  const text = await readFile(example, 'utf8');
  await writeFile(join(folder, 'bascule.yaml'), text.replace(/^( +)http: .*$/m, '$&\n$1https: "*:443"'));
  expect((await init(folder, 'units')).exitCode).toBe(0);
  const worker = await readFile(join(folder, 'units', 'bascule-demo-worker.service'), 'utf8');
  expect(worker).toContain('AmbientCapabilities=CAP_NET_BIND_SERVICE');
});

test('stands by programs in a folder with blanks and percent signs in its name, and by a port below 1024', async () => {
  const programs = join(folder, 'my 100% $own programs');
  await mkdir(programs);
  const node = join(programs, 'node');
  await symlink(process.execPath, node);
  const place = { project: 'shop', configurationFile: join(folder, 'bascule.yaml'), user: 'root' };
  const units = systemdUnits({ ...place, node, program: node, temporal: node, needsLowPorts: true });
  for (const { name, text } of units) await writeFile(join(folder, name), text);
  expect(await verify(...units.map(({ name }) => join(folder, name)))).toEqual({ exitCode: 0, said: '' });
  expect(units[1]?.text).toContain('AmbientCapabilities=CAP_NET_BIND_SERVICE');
});

test('needs a bascule.yaml that is right', async () => {
  expect(await init(folder)).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('bascule.yaml') });
});
