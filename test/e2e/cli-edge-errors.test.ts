import { existsSync } from 'node:fs';
import { appendFile, chmod, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { endingSchema, resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { withoutStamp } from '../../src/haproxy/header.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { visitOnce } from '../rig/ask.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { environmentOf } from '../rig/environment-view.js';
import { freePort } from '../rig/ports.js';
import { type Project, startProject } from '../rig/project.js';

const [base, next] = ['a0a0a0a0', 'b1b1b1b1'];

let project: Project;
let programs: string;

beforeAll(async () => {
  programs = join('/tmp', `bascule-programs-${process.pid}`);
  await writeHaproxy();
  project = await startProject({ configure: quick, env: { PATH: `${programs}:${process.env.PATH ?? ''}` } });
  for (const sha of [base, next]) await project.releaseAll(sha);
  // Small enough to be filled; needs root, as CI has it.
  await mkdir(file('edge'), { recursive: true });
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', file('edge')]);
  await project.startWorker();
  await mustSucceed(project, 'apply');
  await mustSucceed(project, 'deploy', 'prod', base, '--soak', '0s');
});
afterAll(async () => {
  await project?.stopWorker();
  await execa('umount', ['-l', file('edge')], { reject: false });
  await project?.stop();
  await rm(programs, { recursive: true, force: true });
});

/** Whatever was wrong: visitors have the release that they had. */
afterEach(async () => {
  await rm(file('edge/ballast'), { force: true });
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
});

const file = (name: string) => join(project.directory, '.bascule', name);
const config = () => file('edge/haproxy.cfg');
const state = (name: string) => file(`edge/state/${name}`);

/**
 * HAProxy itself. While a file `refuses` lies beside it, it checks as an earlier version would that lacks a keyword;
 * while `waits` does, its check does not end; while `old` does, it says that it is too old.
 */
async function writeHaproxy(): Promise<void> {
  const { stdout: real } = await execa('sh', ['-c', 'PATH="$PATH:/usr/sbin"; command -v haproxy']);
  await mkdir(programs, { recursive: true });
  const script = `#!/bin/sh
cd '${programs}'
if [ "$1" = -c ] && [ -e refuses ]; then
  sed s/hard-stop-after/of-a-later-version/ "$3" >haproxy.cfg.staged
  exec ${real} -c -f haproxy.cfg.staged
fi
if [ "$1" = -v ] && [ -e old ]; then
  echo 'HA-Proxy version 2.2.9-2 2021/02/06 - https://haproxy.org/'
  exit 0
fi
if [ "$1" = -c ] && [ -e waits ]; then
  : >checked
  while [ -e waits ]; do sleep 0.05; done
fi
exec ${real} "$@"
`;
  await writeFile(join(programs, 'haproxy'), script);
  await chmod(join(programs, 'haproxy'), 0o755);
}

async function refused(...args: readonly string[]) {
  const { exitCode, document } = await project.json<{ operation: string | null }>(...args);
  const ended = document.operation === null ? endingSchema.parse(document) : resultSchema.parse(document);
  return { exitCode, code: ended.code, message: ended.message, remedy: ended.remedy ?? '' };
}

/** Types the command that a remedy names, as an operator would. */
async function type(remedy: string, wanted: RegExp): Promise<void> {
  const commands = [...remedy.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
  const command = commands.find((one) => wanted.test(one));
  if (command === undefined) throw new Error(`no ${wanted} in: ${remedy}`);
  if (command.startsWith('bascule ')) await mustSucceed(project, ...command.split(' ').slice(1));
  else await execa('sh', ['-c', command]);
}

async function configure(change: (yaml: string) => string): Promise<() => Promise<void>> {
  const path = join(project.directory, 'bascule.yaml');
  const yaml = await readFile(path, 'utf8');
  await writeFile(path, change(yaml));
  return () => writeFile(path, yaml);
}

/** haproxy.cfg without what differs from one installation of it to the next. */
const installed = async () => withoutStamp(await readFile(config(), 'utf8'));

async function drift() {
  return statusSchema.parse(await project.look()).edge.drift.map(({ kind }) => kind);
}

async function repair(): Promise<void> {
  await mustSucceed(project, 'apply', '--repair');
  expect(await drift()).toEqual([]);
}

describe('a configuration that HAProxy refuses', () => {
  test("is shown with HAProxy's words and our line, and nothing was installed", async () => {
    const before = await readFile(config(), 'utf8');
    await writeFile(join(programs, 'refuses'), '');
    const result = await refused('deploy', 'staging', base);
    await rm(join(programs, 'refuses'));
    expect(result).toMatchObject({ exitCode: 1, code: 'haproxy-refused' });
    expect(result.message).toContain("unknown keyword 'of-a-later-version' in 'global' section");
    expect(result.message).toMatch(/^ *line \d+: hard-stop-after 1h$/m);
    expect(result.remedy).toContain('bascule.yaml');
    expect(await readFile(config(), 'utf8')).toBe(before);
  });

  test('because its port is taken is refused before HAProxy is reloaded', async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    const putBack = await configure((yaml) => yaml.replace(`:${project.edge.port}`, `:${port}`));
    const result = await refused('apply');
    squatter.close();
    await putBack();
    expect(result).toMatchObject({ exitCode: 1, code: 'address-in-use' });
    expect(result.remedy).toContain(`kill ${process.pid}`);
  });

  test('only when it is loaded leaves the earlier one in file and process', async () => {
    const [port, before] = [await freePort(), await installed()];
    const putBack = await configure((yaml) => yaml.replace(`:${project.edge.port}`, `:${port}`));
    await writeFile(join(programs, 'waits'), '');
    const applying = project.bascule('apply');
    await expect.poll(() => existsSync(join(programs, 'checked')), { timeout: 20_000 }).toBe(true);
    const squatter = createServer().listen(port, '127.0.0.1');
    await rm(join(programs, 'waits'));
    const { exitCode, stdout } = await applying;
    squatter.close();
    await putBack();
    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^✘ apply failed \(reload-failed\)/);
    expect(stdout).toMatch(new RegExp(`\\[ALERT\\].*cannot bind socket.*127\\.0\\.0\\.1:${port}`));
    expect(stdout).toContain('the edge serves what it served before');
    expect(await installed()).toBe(before);
    expect(await drift()).toEqual([]);
  });
});

test('a HAProxy that is too old is found by doctor, with where a later one is', async () => {
  await writeFile(join(programs, 'old'), '');
  const { exitCode, stdout } = await project.bascule('doctor');
  await rm(join(programs, 'old'));
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(
    /✘ HAProxy: HAProxy on localhost is version 2\.2\.9-2; Bascule needs 2\.4 or later\n +→ .*haproxy\.debian\.net/,
  );
});

describe('what somebody changed by hand', () => {
  test('in haproxy.cfg keeps deploys from it until it is mended', async () => {
    await appendFile(config(), '\n# by hand\n');
    expect(await drift()).toEqual(['hand-edited']);
    const result = await refused('deploy', 'prod', next);
    expect(result).toMatchObject({ exitCode: 1, code: 'edge-drift' });
    expect(result.remedy).toContain('--repair');
    const { stdout } = await project.bascule('apply', '--repair', '--dry-run');
    expect(stdout).toContain('-# by hand');
    await repair();
    expect(await readFile(config(), 'utf8')).not.toContain('\n# by hand\n');
  });

  test('keeps a switch from it, and is mended by one with --repair, which shows what it changes', async () => {
    await appendFile(config(), '\n# by hand\n');
    expect(await refused('switch', 'prod', 'green')).toMatchObject({ code: 'edge-drift' });
    const { exitCode, stdout, stderr } = await project.bascule('switch', 'prod', 'green', '--repair');
    expect({ exitCode, said: `${stdout}\n${stderr}` }).toMatchObject({
      exitCode: 0,
      said: expect.stringContaining('-# by hand'),
    });
    expect(await drift()).toEqual([]);
    expect(await readFile(config(), 'utf8')).not.toContain('\n# by hand\n');
  });

  test('and reloaded by hand is named, and mended', async () => {
    const text = await readFile(config(), 'utf8');
    await writeFile(config(), text.replace(/setenv BASCULE_DIGEST \S+/, `setenv BASCULE_DIGEST ${'0'.repeat(64)}`));
    const { master = 0 } = (await readWorkers(file('edge/haproxy.sock').replace('.sock', '-master.sock'))) ?? {};
    process.kill(master, 'SIGHUP');
    await expect.poll(drift, { timeout: 10_000 }).toContain('other-configuration-running');
    expect(await refused('deploy', 'prod', next)).toMatchObject({ exitCode: 1, code: 'edge-drift' });
    await repair();
  });

  test.each([
    ['with rubbish in it', (path: string) => writeFile(path, 'purple\n')],
    ['that is gone', (path: string) => rm(path)],
  ])('a color file %s is drift, and mended', async (_, damage) => {
    await damage(state('active-color-prod'));
    expect(await drift()).toEqual(['color-file']);
    expect(await refused('deploy', 'prod', next)).toMatchObject({ exitCode: 1, code: 'edge-drift' });
    await repair();
    expect(await readFile(state('active-color-prod'), 'utf8')).toBe('green\n');
  });

  test.each([
    ['with rubbish in it', (path: string) => writeFile(path, '{rubbish')],
    ['that is gone', (path: string) => rm(path)],
  ])('an applied.json %s is drift, and written anew from bascule.yaml', async (_, damage) => {
    const before = await readFile(state('applied.json'), 'utf8');
    await damage(state('applied.json'));
    const result = await refused('deploy', 'prod', next);
    expect(result).toMatchObject({ exitCode: 1, message: expect.stringContaining(state('applied.json')) });
    await type(result.remedy, /^bascule apply --repair$/);
    expect(await drift()).toEqual([]);
    expect(await readFile(state('applied.json'), 'utf8')).toBe(before);
  });

  test('history and claim full of rubbish are mended, and the repair says first what it mends', async () => {
    await writeFile(state('active-color-prod.history'), 'rubbish\n');
    await writeFile(state('generation'), '\0 \0rubbish \n');
    const { exitCode, stderr } = await project.bascule('apply', '--repair');
    expect(exitCode).toBe(0);
    const [mends = 0, reads = 0] = ['names no release', 'read the edge'].map((text) => stderr.indexOf(text));
    expect(mends).toBeGreaterThan(0);
    expect(mends).toBeLessThan(reads);
    expect(await readFile(state('active-color-prod.history'), 'utf8')).toMatch(new RegExp(`^\\S+ green ${base}\n$`));
    expect(await drift()).toEqual([]);
  });

  test('a haproxy.cfg that is gone under the HAProxy that serves it is written again as it was', async () => {
    const before = await readFile(config(), 'utf8');
    await rm(config());
    expect(await drift()).toEqual(['header']);
    expect((await project.bascule('status', 'prod')).stdout).toMatch(new RegExp(`● green +${base} +active`));
    const result = await refused('apply');
    expect(result).toMatchObject({ exitCode: 1, code: 'edge-drift', message: expect.stringContaining('is missing') });
    await repair();
    const environments = (text: string) => text.split('\n').filter((line) => line.startsWith('# environment name='));
    const after = await readFile(config(), 'utf8');
    expect(environments(after)).toEqual(environments(before));
    expect(withoutStamp(after)).toBe(withoutStamp(before));
  });

  test('a state file that is a link is not followed, and is put back as the remedy says', async () => {
    const path = state('active-color-prod.history');
    await rename(path, `${path}.real`);
    await symlink(`${path}.real`, path);
    const result = await refused('status');
    expect(result).toMatchObject({ exitCode: 5, code: 'state-file-is-link' });
    expect(result.message).toContain(path);
    await type(result.remedy, /^cp /);
    await rm(`${path}.real`);
    expect(await drift()).toEqual([]);
  });
});

describe('a HAProxy that runs', () => {
  test('and lost its socket is named, also by a repair, and is there again when it was started anew', async () => {
    await rm(file('edge/haproxy.sock'));
    expect((await project.bascule('status')).stdout).toContain('HAProxy does not answer');
    const result = await refused('apply', '--repair');
    expect(result).toMatchObject({ exitCode: 1, code: 'edge-silent', message: expect.stringContaining('ENOENT') });
    expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
    await type(result.remedy, /^kill \d+$/);
    await expect.poll(() => existsSync(file('edge/haproxy.sock')), { timeout: 20_000 }).toBe(true);
    await expect.poll(drift, { timeout: 20_000 }).toEqual([]);
  });

  test('and lost its master socket is named, and has it again by the signal that the remedy says', async () => {
    await rm(file('edge/haproxy-master.sock'));
    const result = await refused('apply');
    expect(result).toMatchObject({ exitCode: 1, code: 'edge-master-silent' });
    await type(result.remedy, /^kill -HUP \d+$/);
    await expect.poll(() => existsSync(file('edge/haproxy-master.sock')), { timeout: 10_000 }).toBe(true);
    await mustSucceed(project, 'apply');
  });
});

describe('the edge', () => {
  test('whose disk is full has a deploy wait, which goes on when there is room (needs root, to mount a small one)', async () => {
    await execa('sh', ['-c', `cat /dev/zero >'${file('edge/ballast')}'`], { reject: false });
    const deploying = project.bascule('deploy', 'staging', base, '--soak', '0s');
    const step = async () => environmentOf(await project.look(), 'staging').operation?.step;
    await expect.poll(step, { timeout: 25_000 }).toBe('switch to green');
    expect((await project.bascule('status', 'staging')).stdout).toContain('· switch to green →');
    expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
    await rm(file('edge/ballast'));
    expect(await deploying).toMatchObject({ exitCode: 0 });
  });

  test('that is read-only refuses a change before it begins (needs root, to mount it so)', async () => {
    await execa('mount', ['--bind', file('edge'), file('edge')]);
    await execa('mount', ['-o', 'remount,ro,bind', file('edge')]);
    const result = await refused('deploy', 'prod', next);
    await execa('umount', ['-l', file('edge')]);
    expect(result).toMatchObject({ exitCode: 1, code: 'edge-not-writable' });
    expect(result.message).toContain('EROFS');
    expect(result.remedy).toContain('mount -o remount,rw');
    expect(await drift()).toEqual([]);
  });

  test('that needs an operator refuses every change but a repair, which lifts that', async () => {
    await writeFile(state('needs-operator'), 'the take-back of a switch failed\n');
    expect(await refused('deploy', 'prod', next)).toMatchObject({
      exitCode: 1,
      code: 'edge-needs-operator',
      message: expect.stringContaining('the take-back of a switch failed'),
      remedy: expect.stringContaining('bascule apply --repair'),
    });
    await repair();
    await expect(readFile(state('needs-operator'))).rejects.toThrow();
  });

  test('that does not know an environment of bascule.yaml yet refuses its deploys', async () => {
    const putBack = await configure((yaml) =>
      yaml.replace('environments:', 'environments:\n  qa: { prefix: demo-qa-, hosts: [qa.localhost] }'),
    );
    const result = await refused('deploy', 'qa', base);
    expect(result).toMatchObject({ exitCode: 2, code: 'environment-not-applied', remedy: 'Run `bascule apply`.' });
    expect((await project.bascule('status')).stdout).toContain('bascule.yaml differs from what is applied');
    await putBack();
  });

  test('that does not know a component of bascule.yaml yet refuses deploys', async () => {
    const putBack = await configure((yaml) =>
      yaml.replace(
        'components:',
        'components:\n  chat: { health: { path: /chat }, routes: [{ prefix: /chat }], run: [node] }',
      ),
    );
    const result = await refused('deploy', 'prod', next);
    expect(result).toMatchObject({ exitCode: 2, code: 'component-not-applied' });
    await type(result.remedy, /^bascule apply --dry-run$/);
    await putBack();
  });

  test('of another project is not touched', async () => {
    const other = await startProject({
      temporal: project.temporal,
      configure: (yaml) => yaml.replace('project: demo', 'project: other').replaceAll('.bascule/edge', file('edge')),
    });
    try {
      other.start('worker');
      // Until it polls: it refuses whatever is asked.
      await expect(other.look()).rejects.toMatchObject({ args: { code: 'edge-of-other-project' } });
      expect(await other.json('apply')).toMatchObject({
        exitCode: 1,
        document: {
          code: 'edge-of-other-project',
          message: expect.stringContaining('belongs to project demo'),
          remedy: expect.stringContaining('an edge of its own: other `edge.files` and another `edge.http`'),
        },
      });
    } finally {
      await other.stop();
    }
  });
});
