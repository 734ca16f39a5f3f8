import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { endingSchema, resultSchema, rollbackListSchema, statusSchema } from '../../src/cli/output-schema.js';
import { visitOnce } from '../rig/ask.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { environmentOf } from '../rig/environment-view.js';
import { installVersion, ownVersion } from '../rig/other-version.js';
import { type Project, startProject } from '../rig/project.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bascule = join(root, 'dist/bascule.cjs');
const [first, second, broken] = ['a1a1a1a1', 'b2b2b2b2', 'bad0bad0'];
const firstSecret = 'open-sesame-1';

let project: Project;
const token = () => join(project.directory, 'token');
const deploy = (sha: string, ...more: readonly string[]) =>
  mustSucceed(project, 'deploy', 'prod', sha, '--soak', '0s', ...more);

beforeAll(async () => {
  project = await startProject({
    configure: (yaml) =>
      quick(yaml).replace(
        '    run: ["node", "server.mjs"]',
        '    env: { GREETING: hello, TOKEN: { file: ./token } }\n    run: ["node", "server.mjs"]',
      ),
  });
  await writeFile(token(), `${firstSecret}\n`);
  for (const sha of [first, second]) await project.releaseAll(sha);
  await project.releaseAll(broken, { crash: true });
  await project.startWorker();
  await mustSucceed(project, 'apply');
  await deploy(first);
  await deploy(second);
});
afterAll(() => project.stop());

async function status() {
  return environmentOf(statusSchema.parse(await project.look()), 'prod');
}

async function rollbackList() {
  return rollbackListSchema.parse((await project.json<unknown>('rollback', 'prod', '--list')).document);
}

async function cleanup(...more: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>('cleanup', 'prod', ...more);
  return { exitCode, ...resultSchema.parse(document) };
}

/** Names of the folders that hold releases of an instance. */
const releasesOf = (instance: string) =>
  readdir(join(project.directory, '.bascule/instances', instance, 'releases')).catch(() => []);

describe('rollback --list', () => {
  test('shows where a rollback would go, and how, and changes nothing', async () => {
    const before = await status();
    expect(await rollbackList()).toMatchObject({
      active: { color: before.active, sha: second },
      releases: [{ sha: first, fast: true, isNext: true }],
      stops: null,
      refused: null,
      remedy: null,
    });
    const { stdout } = await project.bascule('rollback', 'prod', '--list');
    expect(stdout).toMatch(/a1a1a1a1 +green .*fast: a switch +→ bascule rollback prod$/m);
    expect((await status()).sha).toBe(second);
  });
});

describe('failover-test', () => {
  async function failoverTest(...args: readonly string[]) {
    const { exitCode, document } = await project.json<unknown>('failover-test', ...args);
    return { exitCode, ...resultSchema.parse(document) };
  }

  test('is refused in production without --yes, and where nothing stands by', async () => {
    expect(await failoverTest('prod', 'api')).toMatchObject({
      ...{ exitCode: 2, code: 'failover-test-refused', remedy: expect.stringContaining('--yes') },
    });
    expect(await failoverTest('staging', 'api')).toMatchObject({
      ...{ exitCode: 2, code: 'failover-test-refused', message: expect.stringContaining('nothing stands by') },
    });
  });

  test('stops the active instance, has the standby answer meanwhile, and starts it again', async () => {
    const { active } = await status();
    const standby = `demo-api-${active === 'blue' ? 'green' : 'blue'}`;
    const result = await failoverTest('prod', 'api', '--yes');
    expect(result, result.message).toMatchObject({ exitCode: 0, failover: { instance: `demo-api-${active}` } });
    expect(new Set(result.failover?.meanwhile.map(({ server }) => server))).toEqual(
      new Set([`prod_backend_api/${standby}`]),
    );
    const view = await status();
    expect(view.active).toBe(active);
    expect(view.colors[active].components).toMatchObject([
      { state: 'running', health: 'UP L7OK' },
      { state: 'running', health: 'UP L7OK' },
    ]);
  });
});

describe('exec', () => {
  const exec = (...args: readonly string[]) => project.bascule('exec', ...args);

  test("runs a program in the active release's folder with its environment, and ends with its exit code", async () => {
    const script = 'console.log(process.cwd(), process.env.BASCULE_SHA, process.env.TOKEN); process.exit(3)';
    const { exitCode, stdout } = await exec('prod', 'api', '--', 'node', '-e', script);
    expect(exitCode).toBe(3);
    expect(stdout).toMatch(new RegExp(`/demo-api-blue/releases/${second}-\\w+ ${second} ${firstSecret}$`));
  });

  test('goes to the color that is named', async () => {
    const { stdout } = await exec('prod', 'web', '--color', 'green', '--', 'sh', '-c', 'echo $BASCULE_SHA $HOST');
    expect(stdout).toMatch(new RegExp(`^${first} 127\\.`));
  });

  test('gives what it started the exit code of a signal as a shell has it', async () => {
    expect((await exec('prod', 'api', '--', 'sh', '-c', 'kill -9 $$')).exitCode).toBe(137);
  });

  test('ends with 2 where something is missing, and says what', async () => {
    const cases = [
      [['prod', 'nope', '--', 'true'], 'there is no component nope', 'There are: staging api'],
      [['staging', 'api', '--', 'true'], 'demo-staging-api-blue holds no release', '--color'],
      [['prod', 'api', '--', 'no-such-program'], 'no-such-program is not installed', 'Install no-such-program'],
      [['prod', 'api'], 'what is to be run follows after --', 'bascule exec ENV COMPONENT -- PROGRAM'],
    ] as const;
    const answers = await Promise.all(cases.map(([args]) => exec(...args)));
    for (const [index, [, message, remedy]] of cases.entries()) {
      expect(answers[index]).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
      expect(answers[index]?.stderr).toContain(remedy);
    }
  });
});

describe('a changed secret', () => {
  test('shows in status without its value, and comes into force by deploying again', async () => {
    expect((await status()).colors.blue.components.map(({ environmentChanged }) => environmentChanged)).toEqual([
      false,
      false,
    ]);
    await writeFile(token(), 'open-sesame-2\n');
    const [api, web] = (await status()).colors.blue.components;
    expect([api?.environmentChanged, web?.environmentChanged]).toEqual([true, false]);
    const { stdout } = await project.bascule('status', 'prod');
    expect(stdout).toContain(`env of api changed since this release started → bascule deploy prod ${second} --again`);
    expect(stdout).not.toContain('open-sesame');

    await deploy(second, '--again');
    expect((await status()).colors.green.components.map(({ environmentChanged }) => environmentChanged)).toEqual([
      false,
      false,
    ]);
    const { stdout: said } = await project.bascule('exec', 'prod', 'api', '--', 'sh', '-c', 'echo $TOKEN');
    expect(said).toBe('open-sesame-2');
  });

  test('that is missing is found before a deploy touches anything', async () => {
    await rm(token());
    const { exitCode, document } = await project.json<unknown>('deploy', 'prod', first);
    expect(exitCode).toBe(2);
    expect(resultSchema.parse(document)).toMatchObject({ code: 'secret-missing', lost: [], generation: null });
    expect((await status()).colors.green.components[0]?.environmentChanged).toBeNull();
    await writeFile(token(), `${firstSecret}\n`);
  });
});

describe('cleanup', () => {
  test('leaves a healthy standby; --standby removes it too, and a rollback then deploys again', async () => {
    const { active } = await status();
    const standby = active === 'blue' ? 'green' : 'blue';
    expect(await cleanup()).toMatchObject({ exitCode: 0, outcome: 'succeeded', changed: false });
    expect((await status()).colors[standby].state).toBe('standby');

    expect(await cleanup('--standby')).toMatchObject({ exitCode: 0, outcome: 'succeeded', changed: true });
    expect((await status()).colors[standby].state).toBe('empty');
    expect(await releasesOf(`demo-api-${standby}`)).toEqual([]);
    expect((await rollbackList()).releases[0]).toMatchObject({ sha: second, fast: false });
    expect(await cleanup()).toMatchObject({ exitCode: 0, changed: false });
    expect(await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).toMatchObject({ sha: second });
  });

  test('removes what a failed deploy left, and leaves the rule that a rollback has to be named', async () => {
    expect((await project.bascule('deploy', 'prod', broken)).exitCode).toBe(1);
    const { active } = await status();
    const other = active === 'blue' ? 'green' : 'blue';
    expect((await status()).colors[other].state).toBe('failed');
    const list = await rollbackList();
    expect(list).toMatchObject({
      refused: expect.stringContaining('name the release'),
      remedy: `bascule rollback prod --to ${second}`,
    });
    expect(list.releases.map(({ isNext }) => isNext)).not.toContain(true);

    const { exitCode, stdout } = await project.bascule('cleanup', 'prod');
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`demo-api-${other}`) });
    expect((await status()).colors[other].state).toBe('empty');
    const refused = endingSchema.parse((await project.json<unknown>('rollback', 'prod')).document);
    expect(refused.code).toBe('rollback-refused');
    expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(second);
  });
});

test('a damaged record of one instance is named by status, which shows all the others', async () => {
  const { active } = await status();
  const record = join(project.directory, `.bascule/instances/demo-api-${active}/record`);
  const before = await readFile(record, 'utf8');
  await writeFile(record, 'pid=-1\n');
  const { exitCode, stdout } = await project.bascule('status');
  await writeFile(record, before);
  expect(exitCode, stdout).toBe(0);
  expect(stdout).toMatch(
    /problem +the record of demo-api-\w+ in \S+ is damaged: its pid is "-1"\n +→ End what still listens/,
  );
  expect(stdout).toMatch(new RegExp(`demo-web-${active} +\\S+ +running · UP`));
  expect(stdout).toMatch(/staging {2}staging\.localhost/);
});

test('dev --stop is refused while a worker runs that would start all again', async () => {
  const { exitCode, stderr } = await project.bascule('dev', '--stop');
  expect({ exitCode, stderr }).toEqual({
    exitCode: 2,
    stderr: expect.stringMatching(/a worker of this project runs \(process (\d+) on .*`kill \1`/s),
  });
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(second);
});

describe('another version', () => {
  test('of the worker is named by what talks to it, once, with what to do, also where a request is refused', async () => {
    const other = join(project.directory, 'other-version');
    const main = await installVersion(other, '99.0.0');
    const own = await ownVersion();
    const run = (...args: readonly string[]) =>
      execa(main, args, { cwd: project.directory, env: project.env, reject: false });
    const [status, approve] = await Promise.all([run('status'), run('approve', 'prod')]);
    for (const { stderr } of [status, approve]) {
      expect(stderr.match(/warning: /g)).toHaveLength(1);
      expect(stderr).toContain(`the worker is version ${own}, this command is version 99.0.0`);
      expect(stderr).toContain('→ Install 99.0.0 where the worker runs too');
    }
    expect(status.stdout).toContain(`the worker is version ${own}, this command 99.0.0`);
    const { stdout, stderr } = await project.bascule('status');
    expect({ stdout, stderr }).toEqual({ stdout: expect.not.stringContaining('this command'), stderr: '' });
  });
});

describe('status --watch', () => {
  test('prints each change as a line of JSON, until Ctrl-C', async () => {
    const watch = project.start('status', 'prod', '--watch', '--json');
    await watch.printed(new RegExp(`"sha":"${second}"`));
    await deploy(first);
    await watch.printed(new RegExp(`\\n.*"active":"\\w+","sha":"${first}"`));
    watch.kill('SIGINT');
    const { exitCode, stdout } = await watch.ended;
    expect(exitCode).toBe(130);
    const shas = stdout.split('\n').map((line) => statusSchema.parse(JSON.parse(line)).environments[0]?.sha);
    expect([shas[0], shas.at(-1)]).toEqual([second, first]);
  });

  test('is drawn in place on a terminal, with the cursor hidden until Ctrl-C', async () => {
    const argv = [process.execPath, bascule, 'status', 'prod', '--watch'].map((word) => `'${word}'`).join(' ');
    const watch = execa('script', ['-qec', `stty cols 100 rows 12; exec ${argv}`, '/dev/null'], {
      cwd: project.directory,
      env: { ...project.env, TERM: 'xterm' },
      reject: false,
    });
    let drawn = '';
    watch.stdout.on('data', (chunk) => {
      drawn += String(chunk);
    });
    // Twelve rows: the lines, the footer and the cursor's own; each time eleven up again.
    await expect.poll(() => drawn, { timeout: 20_000 }).toContain('\x1b[11A');
    expect(drawn).toContain('more lines do not fit');
    expect(drawn.startsWith('\x1b[?25l')).toBe(true);
    watch.stdin.write('\x03');
    const { exitCode } = await watch;
    expect(exitCode).toBe(130);
    expect(drawn.endsWith('\x1b[?25h')).toBe(true);
    expect(drawn).not.toContain('Interrupted');
  });
});

describe("a worker's bascule.yaml that is broken", () => {
  let text = '';
  const file = () => join(project.directory, 'bascule.yaml');

  beforeAll(async () => {
    text = await readFile(file(), 'utf8');
    await writeFile(file(), text.replace('topology: blue-green', 'topology: [blue-green'));
  });
  afterAll(() => writeFile(file(), text));

  test.each([['deploy', 'prod', second], ['apply']])(
    '%s %s is refused with its place, and nothing begins',
    async (...args) => {
      const { exitCode, document } = await project.json<unknown>(...args);
      expect({ exitCode, document }).toMatchObject({
        exitCode: 2,
        document: { code: 'config-invalid', message: expect.stringMatching(/bascule\.yaml:\d+:\d+/) },
      });
    },
  );

  test('is named by status, and keeps nobody from rolling back', async () => {
    const { exitCode, stdout } = await project.bascule('status', 'prod');
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/bascule\.yaml:\d+:\d+/) });
    expect(stdout).toContain('what was read last stays in force');
    const to = (await rollbackList()).releases[0]?.sha ?? '';
    await mustSucceed(project, 'rollback', 'prod', '--to', to);
    expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(to);
  });

  test('keeps the instances running as they were', async () => {
    const { active, colors } = await status();
    const instance = colors[active].components[0]?.instance ?? '';
    const log = project.start('logs', 'prod', 'api', '--color', active, '--since', '1h', '--tail', '1', '--follow');
    await log.printed(/^listening on .*\n/m);
    const record = await readFile(join(project.directory, '.bascule/instances', instance, 'record'), 'utf8');
    process.kill(Number(/^pid=(\d+)$/m.exec(record)?.[1]), 'SIGKILL');
    await expect
      .poll(async () => (await status()).colors[active].components[0], { timeout: 20_000 })
      .toMatchObject({ state: 'running', restarts: 1, health: expect.stringContaining('UP L') });
    // Who followed the log before has seen both starts.
    await log.printed(/(?:^listening on .*\n){2}/m);
    log.kill('SIGINT');
    expect((await log.ended).exitCode).toBe(130);
  });

  test('is in force as soon as it is mended, without a restart', async () => {
    await writeFile(file(), text);
    expect((await project.bascule('status')).stdout).not.toContain('bascule.yaml:');
    await mustSucceed(project, 'apply');
  });
});
