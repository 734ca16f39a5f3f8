import { appendFile, chmod, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { endingSchema, resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { visitOnce } from '../rig/one-visit.js';
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

/** HAProxy, but for a configuration that it is told to refuse. */
async function writeHaproxy(): Promise<void> {
  const { stdout: real } = await execa('sh', ['-c', 'PATH="$PATH:/usr/sbin"; command -v haproxy']);
  await mkdir(programs, { recursive: true });
  const script = `#!/bin/sh
if [ -e '${programs}/refuses' ] && [ "$1" = -c ]; then
  echo "[ALERT]    (42) : config : parsing [haproxy.cfg.staged:3] : unknown keyword 'from-a-later-version' in 'global' section" >&2
  exit 1
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

async function drift() {
  const { document } = await project.json<unknown>('status');
  return statusSchema.parse(document).edge.drift.map(({ kind }) => kind);
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
    expect(result.message).toContain("unknown keyword 'from-a-later-version'");
    expect(result.message).toMatch(/^ *line 3: # environment/m);
    expect(await readFile(config(), 'utf8')).toBe(before);
  });

  test('because its port is taken is refused before HAProxy is reloaded', async () => {
    const yaml = await readFile(join(project.directory, 'bascule.yaml'), 'utf8');
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    await writeFile(join(project.directory, 'bascule.yaml'), yaml.replace(`:${project.edge.port}`, `:${port}`));
    const result = await refused('apply');
    squatter.close();
    await writeFile(join(project.directory, 'bascule.yaml'), yaml);
    expect(result).toMatchObject({ exitCode: 1, code: 'address-in-use' });
    expect(result.remedy).toContain(`ss -ltnp 'sport = :${port}'`);
  });
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

  test('a state file that is a link is not followed', async () => {
    const path = state('active-color-prod.history');
    await rename(path, `${path}.real`);
    await symlink(`${path}.real`, path);
    const result = await refused('status');
    expect(result).toMatchObject({ exitCode: 5, code: 'state-file-is-link' });
    expect(result.message).toContain(path);
    await rename(`${path}.real`, path);
    expect(await drift()).toEqual([]);
  });
});

describe('the edge', () => {
  test('whose disk is full has a deploy wait, which goes on when there is room', async () => {
    await execa('sh', ['-c', `cat /dev/zero >'${file('edge/ballast')}'`], { reject: false });
    const deploying = project.bascule('deploy', 'staging', base, '--soak', '0s');
    await expect
      .poll(async () => (await project.bascule('status', 'staging')).stdout, { timeout: 25_000 })
      .toContain('· switch to green →');
    expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
    await rm(file('edge/ballast'));
    expect(await deploying).toMatchObject({ exitCode: 0 });
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
    const path = join(project.directory, 'bascule.yaml');
    const yaml = await readFile(path, 'utf8');
    await writeFile(
      path,
      yaml.replace('environments:', 'environments:\n  qa: { prefix: demo-qa-, hosts: [qa.localhost] }'),
    );
    const result = await refused('deploy', 'qa', base);
    expect(result).toMatchObject({ exitCode: 2, code: 'environment-not-applied', remedy: 'Run `bascule apply`.' });
    expect((await project.bascule('status')).stdout).toContain('bascule.yaml differs from what is applied');
    await writeFile(path, yaml);
  });

  test('of another project is not touched', async () => {
    const other = await startProject({
      temporal: project.temporal,
      configure: (yaml) => yaml.replace('project: demo', 'project: other').replaceAll('.bascule/edge', file('edge')),
    });
    try {
      other.start('worker');
      await expect
        .poll(async () => (await other.json<{ code: string }>('apply')).document, { timeout: 20_000 })
        .toMatchObject({ code: 'edge-of-other-project', message: expect.stringContaining('belongs to project demo') });
    } finally {
      await other.stop();
    }
  });
});
