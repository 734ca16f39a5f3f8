import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemdUnits } from '../../src/cli/systemd-units.js';
import { runCommand } from '../rig/command.js';
import { freePort } from '../rig/ports.js';

// What the command line does without Temporal and without a worker.

const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));

let folder = '';
let closedAddress = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-cli-'));
  closedAddress = `127.0.0.1:${await freePort()}`;
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const run = (...args: readonly string[]) =>
  runCommand(args, {
    folder,
    env: { ...process.env, NO_COLOR: '1', BASCULE_CONFIG: '', TEMPORAL_ADDRESS: closedAddress },
  });

async function runJson(...args: readonly string[]) {
  const { exitCode, stdout, stderr } = await run(...args, '--json');
  return { exitCode, document: JSON.parse(stdout) as Record<string, unknown>, stderr };
}

/** examples/local.yaml, with environments staging and prod. */
async function useExample(change: (yaml: string) => string = (yaml) => yaml): Promise<void> {
  await writeFile(join(folder, 'bascule.yaml'), change(await readFile(example, 'utf8')));
}

describe('help', () => {
  const commands = [
    ...['deploy', 'rollback', 'switch', 'status', 'history', 'follow', 'logs', 'approve', 'abort'],
    ...['apply', 'render', 'validate', 'init', 'schema', 'dev', 'worker'],
  ];

  test('lists every command in groups, on stdout', async () => {
    const { exitCode, stdout, stderr } = await run('--help');
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    for (const group of ['Deploy:', 'Look:', 'Steer:', 'Edge:', 'Set up:']) expect(stdout).toContain(`\n${group}\n`);
    for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test.each(commands)('%s has an example that begins with its name', async (command) => {
    const { exitCode, stdout } = await run(command, '--help');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`\\nExamples?:\\n {2}\\$ bascule ${command}`));
  });
});

describe('bad usage ends with 2, says what was wrong and what to type', () => {
  test.each([
    { args: [], says: 'which command?', remedy: 'bascule --help' },
    { args: ['deplo'], says: 'Did you mean deploy?', remedy: 'bascule --help' },
    { args: ['deploy', '--soka', '1s'], says: 'Did you mean --soak?', remedy: 'bascule deploy --help' },
    {
      args: ['deploy', 'prod', 'abcdef0', '--soak', '1 minute'],
      says: 'Expected a duration',
      remedy: 'bascule deploy',
    },
    { args: ['deploy'], says: 'SHA is missing', remedy: '--help' },
    { args: ['deploy', 'prod'], says: 'SHA is missing', remedy: 'bascule deploy prod SHA' },
    { args: ['deploy', 'prod', 'main'], says: '"main" is no sha', remedy: 'git rev-parse' },
    {
      args: ['deploy', 'prdo', 'abcdef0'],
      says: 'no environment prdo',
      remedy: 'Did you mean prod? It has: staging, prod.',
    },
    { args: ['deploy', 'abcdef0'], says: 'which environment is meant?', remedy: 'staging, prod' },
    { args: ['switch', 'prod', 'red'], says: 'Expected blue or green', remedy: 'bascule switch' },
    { args: ['follow', 'prod'], says: "no operation's id", remedy: 'demo/prod/deploy/7' },
    { args: ['logs', 'prod', 'api', '--tail', '-1'], says: 'Expected a whole number', remedy: 'bascule logs' },
    { args: ['logs', 'prod', 'api', '--follow', '--json'], says: '--follow has no end', remedy: 'one of them' },
    { args: ['status', 'prod', '--config', 'other.yaml'], says: 'other.yaml does not exist', remedy: 'bascule init' },
  ])('bascule $args', async ({ args, says, remedy }) => {
    await useExample();
    const { exitCode, stderr } = await run(...args);
    expect(exitCode, stderr).toBe(2);
    expect(stderr).toContain(says);
    expect(stderr).toContain(remedy);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test('without a bascule.yaml the project has to be named', async () => {
    const { exitCode, stderr } = await run('deploy', 'prod', 'abcdef0');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('--project NAME');
  });

  test('--json answers one document that says so too', async () => {
    await useExample();
    const { exitCode, document } = await runJson('deploy', 'prdo', 'abcdef0');
    expect(exitCode).toBe(2);
    expect(document).toMatchObject({
      schemaVersion: 1,
      outcome: 'refused',
      code: 'unknown-environment',
      operation: null,
    });
    const unknownOption = await runJson('deploy', '--soka');
    expect(unknownOption.document).toMatchObject({ outcome: 'refused', code: 'usage' });
  });
});

describe('where Temporal does not answer', () => {
  test.each([
    ['deploy', 'prod', 'abcdef0'],
    ['switch', 'prod', 'blue'],
    ['rollback', 'prod'],
    ['approve', 'prod'],
    ['apply'],
    ['status'],
    ['history', 'prod'],
    ['logs', 'prod', 'api'],
  ])('bascule %s ends with 5 and names the address', async (...args) => {
    await useExample();
    const { exitCode, document, stderr } = await runJson(...args);
    expect(exitCode, stderr).toBe(5);
    expect(document).toMatchObject({ outcome: 'unavailable', code: 'temporal-unreachable', operation: null });
    expect(stderr).toContain(closedAddress);
  });

  test('--project is enough without a bascule.yaml', async () => {
    expect((await run('deploy', 'prod', 'abcdef0', '--project', 'demo')).exitCode).toBe(5);
  });

  test('ENV may be left out where there is one environment', async () => {
    await useExample((yaml) => yaml.replace(/^ {2}staging:.*\n/m, ''));
    expect((await run('deploy', 'abcdef0')).exitCode).toBe(5);
    expect((await run('rollback')).exitCode).toBe(5);
  });

  test('a half-edited bascule.yaml keeps nobody from rolling back', async () => {
    await useExample((yaml) => yaml.replace('components:', 'komponents:'));
    expect((await run('rollback', 'prod')).exitCode).toBe(5);
  });
});

describe('init', () => {
  test('writes a bascule.yaml that is valid, and its schema beside it', async () => {
    const { exitCode, stdout } = await run('init', '--project', 'shop');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('bascule dev');
    expect(await readFile(join(folder, 'bascule.yaml'), 'utf8')).toContain('\nproject: shop\n');
    expect((await run('schema')).stdout).toBe((await readFile(join(folder, 'bascule.schema.json'), 'utf8')).trimEnd());
    expect((await run('validate')).exitCode).toBe(0);
  });

  test('overwrites nothing', async () => {
    await writeFile(join(folder, 'bascule.yaml'), 'mine\n');
    const { exitCode, stderr } = await run('init', '--project', 'shop');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('bascule.yaml exists already');
    expect(await readFile(join(folder, 'bascule.yaml'), 'utf8')).toBe('mine\n');
  });

  test('names the project after the folder', async () => {
    await run('init');
    expect(await readFile(join(folder, 'bascule.yaml'), 'utf8')).toMatch(/^project: bascule-cli-[a-z0-9-]+$/m);
  });
});

describe('validate', () => {
  test('shows every error with its place, and ends with 2', async () => {
    await useExample((yaml) => yaml.replace('project: demo', 'projekt: demo').replace('port: 8081', 'port: no'));
    const { exitCode, stderr } = await run('validate');
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/bascule\.yaml:3:1 .*project/);
    expect(stderr).toMatch(/bascule\.yaml:\d+:\d+ components\.api\.port/);
  });

  test('names an address book that is damaged, and how to go on', async () => {
    await useExample();
    await mkdir(join(folder, '.bascule'));
    await writeFile(join(folder, '.bascule/addresses.json'), '{rubbish');
    const { exitCode, stderr } = await run('validate');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('.bascule/addresses.json, which holds the address of each instance, is damaged');
    expect(stderr).toContain('bascule apply --dry-run');
  });

  test('checks what the file stands for with haproxy -c', async () => {
    await useExample();
    const { exitCode, document } = await runJson('validate');
    expect(exitCode).toBe(0);
    expect(document).toMatchObject({ outcome: 'succeeded', checkedByHaproxy: true, environments: ['staging', 'prod'] });
  });
});

describe('render', () => {
  const serverLines = (text: string) =>
    text.split('\n').filter((line) => /^ +server demo-(blue|green|api|web)/.test(line));

  test('draws blue active and green standby, and leaves nothing behind', async () => {
    await useExample();
    const { exitCode, stdout } = await run('render');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/server demo-api-blue +127\.77\.\d+\.\d+:8081 +cookie s1$/m);
    expect(stdout).toMatch(/server demo-api-green +127\.77\.\d+\.\d+:8081 +backup$/m);
    await expect(readFile(join(folder, '.bascule/addresses.json'))).rejects.toThrow('ENOENT');
  });

  test('--active and --no-standby change one environment and no other', async () => {
    await useExample();
    const { stdout } = await run('render', '--active', 'prod=green', '--no-standby', 'prod');
    expect(stdout).toMatch(/server demo-api-green +\S+ +cookie s1$/m);
    expect(stdout).toMatch(/server demo-api-blue +\S+ +backup weight 0$/m);
    expect(stdout).toMatch(/server demo-staging-api-green +\S+ +backup$/m);
    expect(serverLines(stdout)).toHaveLength(4);
  });

  test('keeps the addresses that instances have', async () => {
    await useExample();
    const addresses = { 'demo-api-blue': { address: '127.77.9.9', port: 8081 } };
    await mkdir(join(folder, '.bascule'));
    await writeFile(join(folder, '.bascule/addresses.json'), JSON.stringify(addresses));
    expect((await run('render')).stdout).toMatch(/server demo-api-blue +127\.77\.9\.9:8081/);
  });

  test.each([
    ['--active', 'prdo=green'],
    ['--active', 'prod=red'],
    ['--no-standby', 'prdo'],
  ])('%s %s is refused', async (...args) => {
    await useExample();
    expect((await run('render', ...args)).exitCode).toBe(2);
  });
});

describe('init --systemd', () => {
  /** What systemd has to say against these units. */
  async function verify(...files: readonly string[]): Promise<{ exitCode: number | undefined; output: string }> {
    const { exitCode, all } = await execa('systemd-analyze', ['verify', ...files], { reject: false, all: true });
    return { exitCode, output: all };
  }
  /** Of Debian's base system, as is root; whom the tests run as need not be another one. */
  const user = 'daemon';
  const init = (...more: readonly string[]) => run('init', '--systemd', join(folder, 'units'), '--user', user, ...more);

  test('writes units that systemd accepts, and never over others', async () => {
    await cp(example, join(folder, 'bascule.yaml'));
    const { exitCode, stdout, stderr } = await init();
    expect(exitCode, stderr).toBe(0);
    expect(stdout).toContain('systemctl enable --now bascule-demo-temporal.service bascule-demo-worker.service');
    const files = ['temporal', 'worker'].map((part) => join(folder, 'units', `bascule-demo-${part}.service`));
    expect(await verify(...files)).toEqual({ exitCode: 0, output: '' });
    const [temporal, worker] = await Promise.all(files.map((file) => readFile(file, 'utf8')));
    expect(temporal).toContain('--ip 127.0.0.1');
    expect(temporal).toContain(' --headless ');
    expect(temporal).toContain('"frontend.httpAllowedHosts=[]"');
    expect(temporal).toContain('--retention 720h');
    expect(worker).toContain('KillMode=process');
    expect(worker).toContain(`WorkingDirectory=${folder}\n`);
    expect(await init()).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('exists already') });
  });

  test.each([
    ['90d', 0],
    ['30', 2],
    ['0h', 2],
    ['1m', 2],
  ])('takes a retention of %s as Temporal does: exit code %d', async (retention, code) => {
    await useExample();
    expect((await init('--retention', retention)).exitCode).toBe(code);
    if (code !== 0) return;
    const temporal = await readFile(join(folder, 'units', 'bascule-demo-temporal.service'), 'utf8');
    expect(temporal).toContain('--retention 2160h');
  });

  test('writes units that a machine can trust more: an exposure of at most 4 for Temporal, of 5 for the worker', async () => {
    await useExample((yaml) => yaml.replace(/^( +)http: .*$/m, '$&\n$1https: "*:443"'));
    expect((await init()).exitCode).toBe(0);
    for (const [part, most] of [
      ['temporal', 4],
      ['worker', 5],
    ] as const) {
      const file = join(folder, 'units', `bascule-demo-${part}.service`);
      const { all } = await execa('systemd-analyze', ['security', '--offline=yes', '--no-pager', file], { all: true });
      const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(all)?.[1]);
      expect(exposure, all).toBeLessThanOrEqual(most);
    }
  });

  test('lets the worker take a port below 1024 where https alone needs one', async () => {
    await useExample((yaml) => yaml.replace(/^( +)http: .*$/m, '$&\n$1https: "*:443"'));
    expect((await init()).exitCode).toBe(0);
    const worker = await readFile(join(folder, 'units', 'bascule-demo-worker.service'), 'utf8');
    expect(worker).toContain('AmbientCapabilities=CAP_NET_BIND_SERVICE');
  });

  test('writes units that systemd accepts for a folder with blanks and percent signs in its name', async () => {
    const programs = join(folder, 'my 100% $own programs');
    await mkdir(programs);
    const node = join(programs, 'node');
    await symlink(process.execPath, node);
    const place = { project: 'shop', configurationFile: join(folder, 'bascule.yaml'), user: 'root' };
    const units = systemdUnits({
      ...place,
      node,
      program: node,
      temporal: node,
      needsLowPorts: true,
      retentionMs: 86_400_000,
      writes: ['/etc/my 100% own'],
    });
    for (const { name, text } of units) await writeFile(join(folder, name), text);
    expect(await verify(...units.map(({ name }) => join(folder, name)))).toEqual({ exitCode: 0, output: '' });
  });

  test.each(['root', '0'])('refuses to have everything run as %s', async (root) => {
    await useExample();
    const refused = await run('init', '--systemd', join(folder, 'units'), '--user', root);
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--user NAME') });
    expect(await readdir(folder)).not.toContain('units');
  });

  test('refuses it as well where root names nobody, and a user that there is not', async () => {
    await useExample();
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    const refused = await run('init', '--systemd', join(folder, 'units'));
    expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--user NAME') });
    const unknown = await run('init', '--systemd', join(folder, 'units'), '--user', 'no-such-user');
    expect(unknown).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('useradd --system no-such-user') });
    vi.restoreAllMocks();
  });

  test('needs a valid bascule.yaml', async () => {
    expect(await init()).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('bascule.yaml') });
  });
});
