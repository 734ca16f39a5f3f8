import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { create } from 'tar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { environmentOf } from '../rig/environment-view.js';
import { visitOnce } from '../rig/one-visit.js';
import { type Project, startProject } from '../rig/project.js';

const base = 'a0a0a0a0';
const cutOff = 'e0000003';
const token = 'letmein-93ab';
const secret = 'open-sesame-93ab';

let project: Project;
let registry: Server;
let deployOfCutOff: Promise<{ exitCode: number; document: unknown; stderr: string }>;
/** Everything that any command printed. */
let printed = '';

/** How the registry answers for the artifact of a sha, where it is not by the file itself. */
const answers = new Map<string, RequestListener>();
/** A checksum file's text, where it is not the right one. */
const checksums = new Map<string, string>();

beforeAll(async () => {
  registry = await startRegistry();
  const { port } = registry.address() as AddressInfo;
  project = await startProject({
    env: { REGISTRY_TOKEN: token, API_KEY: secret },
    configure: (yaml) =>
      quick(yaml)
        .replace(/url: "file:[^"]*"/, `url: "http://127.0.0.1:${port}/{component}/{sha}.tar.gz"`)
        .replace('\nartifacts:', '\nartifacts:\n  token: { env: REGISTRY_TOKEN }\n  maxSize: 1MB')
        .replace(
          '    run: ["node"',
          '    env: { API_KEY: { env: API_KEY } }\n    migrate: { command: ["node", "migrate.mjs"], timeout: 1s }\n    run: ["node"',
        ),
  });
  await release(base);
  await project.startWorker();
  await mustSucceed(project, 'apply');
  await mustSucceed(project, 'deploy', 'prod', base, '--soak', '0s');
  await release(cutOff);
  answers.set(cutOff, (_, response) => {
    response.writeHead(200, { 'content-length': 5_000 });
    response.write('too little', () => response.destroy());
  });
  // It is tried again for half a minute, in an environment of its own.
  deployOfCutOff = project.json('deploy', 'staging', cutOff);
});
afterAll(async () => {
  await project?.stop();
  registry?.closeAllConnections();
  registry?.close();
});

const artifact = (component: string, sha: string) =>
  join(project.directory, 'artifacts', component, sha, `${component}-${sha}.tar.gz`);
const release = (sha: string, migrate = 'process.exit(0)', more: object = {}) =>
  project.releaseAll(sha, { files: { 'migrate.mjs': migrate }, ...more });

/** Serves the project's own artifacts to who has the token. */
function startRegistry(): Promise<Server> {
  const server = createServer((request, response) => {
    const [, component = '', sha = '', isChecksum] =
      /^\/(\w+)\/(\w+)\.tar\.gz(\.sha256)?$/.exec(request.url ?? '') ?? [];
    const answer = answers.get(sha);
    if (request.headers.authorization !== `Bearer ${token}`) return void response.writeHead(401).end();
    if (answer && !isChecksum) return answer(request, response);
    readFile(artifact(component, sha)).then(
      (content) => {
        const sum = checksums.get(sha) ?? createHash('sha256').update(content).digest('hex');
        response.end(isChecksum ? `${sum}\n` : content);
      },
      () => response.writeHead(404).end(),
    );
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

/** Types the deploy, and holds what it printed for the last test; visitors are served as before. */
async function deploy(sha: string, ...more: readonly string[]) {
  const { exitCode, document, stderr } = await project.json<unknown>('deploy', 'prod', sha, ...more);
  printed += `${JSON.stringify(document)}${stderr}`;
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
  return { exitCode, ...resultSchema.parse(document) };
}

describe('an artifact that', () => {
  test.each([
    {
      what: 'is not there',
      sha: 'e0000001',
      code: 'artifact-not-found',
      exitCode: 2,
      message: '/e0000001.tar.gz',
      remedy: 'Check the sha',
    },
    {
      what: 'the token may not read',
      sha: 'e0000002',
      answer: ((_, response) => response.writeHead(403).end()) as RequestListener,
      code: 'artifact-unauthorized',
      exitCode: 1,
      message: 'the environment variable REGISTRY_TOKEN',
      remedy: 'Put a token that may read it in the environment variable REGISTRY_TOKEN',
    },
    {
      what: 'has another checksum',
      sha: 'e0000004',
      checksum: 'f'.repeat(64),
      code: 'artifact-wrong-checksum',
      exitCode: 1,
      message: `${'f'.repeat(64)} was pinned`,
      remedy: 'Upload both',
    },
    {
      what: 'has a checksum file that is none',
      sha: 'e0000005',
      checksum: '<html>',
      code: 'artifact-checksum-unreadable',
      exitCode: 2,
      message: 'holds no SHA-256',
      remedy: 'sha256sum FILE',
    },
    {
      what: 'is no tar',
      sha: 'e0000006',
      content: Buffer.from('not a tar at all'),
      code: 'artifact-not-a-tar',
      exitCode: 1,
      message: 'is no tar archive',
      remedy: '.tar.gz',
    },
    {
      what: 'is too large',
      sha: 'e0000007',
      content: Buffer.alloc(1_100_000),
      code: 'artifact-too-large',
      exitCode: 1,
      message: 'is larger than 1000000 bytes',
      remedy: 'artifacts.maxSize',
    },
  ])('$what ends the deploy as $code', async ({ sha, answer, checksum, content, code, exitCode, message, remedy }) => {
    if (answer) answers.set(sha, answer);
    if (checksum) checksums.set(sha, checksum);
    if (code !== 'artifact-not-found') await release(sha);
    if (content) for (const component of ['api', 'web']) await writeFile(artifact(component, sha), content);
    const result = await deploy(sha);
    expect(result).toMatchObject({ exitCode, outcome: 'failed', code });
    expect(result.message).toContain(message);
    expect(result.remedy).toContain(remedy);
  });

  test('leads out of its folder is refused as a whole', async () => {
    await release('e0000008');
    for (const component of ['api', 'web']) {
      await create({ file: artifact(component, 'e0000008'), gzip: true, cwd: '/', preservePaths: true }, [
        join(project.directory, '..', project.directory.split('/').at(-1) ?? '', 'bascule.yaml'),
      ]);
    }
    const result = await deploy('e0000008');
    expect(result).toMatchObject({ exitCode: 1, code: 'artifact-hostile' });
    expect(result.message).toContain('bascule.yaml');
    expect(result.remedy).toContain('build it without');
  });
});

describe('a component that', () => {
  test('ends at once is shown with its last lines', async () => {
    await release('c0000001', undefined, { crash: true });
    const result = await deploy('c0000001');
    expect(result).toMatchObject({ exitCode: 1, code: 'instance-exited' });
    expect(result.message).toContain('this release crashes as it starts');
  });

  test('is never healthy is shown with its last five answers', async () => {
    await release('c0000002', undefined, { unhealthy: true });
    const result = await deploy('c0000002');
    expect(result).toMatchObject({ exitCode: 1, code: 'instance-unhealthy' });
    expect(result.message).toMatch(/it answered: (?:.*500.*, ){4}.*500/);
    // Nor with lines of the release that crashed there before.
    expect(result.message).not.toContain('crashes');
    expect(result.remedy).toContain('startDeadline');
  });

  test('dies in the soak gives visitors the release before', async () => {
    await release('c0000003');
    const deploying = deploy('c0000003', '--soak', '30s');
    await expect.poll(async () => (await prod()).waiting, { timeout: 20_000 }).toBe('soak');
    const { active, colors } = await prod();
    const instance = colors[active].components[0]?.instance ?? '';
    const folder = join(project.directory, '.bascule/instances', instance);
    // It is not started again: its program is gone.
    const record = await readFile(join(folder, 'record'), 'utf8');
    const name = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(record)?.[1] ?? '';
    await writeFile(join(folder, 'releases', `${name('sha')}-${name('sha256').slice(0, 12)}`, 'server.mjs'), 'x y');
    process.kill(Number(name('pid')), 'SIGKILL');
    const result = await deploying;
    expect(result).toMatchObject({ exitCode: 1, code: 'unhealthy-in-soak' });
    expect(result.message).toContain(instance);
    const [, command = ''] = /`bascule (logs [^`]+)`/.exec(result.remedy ?? '') ?? [];
    expect((await project.bascule(...command.split(' '))).stdout).toContain('SyntaxError');
  });

  test("finds its port taken is told who to ask for the program's name", async () => {
    await release('c0000004');
    const { active, colors } = await prod();
    const other = active === 'blue' ? 'green' : 'blue';
    const { instance = '', address = '' } = colors[other].components.find(({ name }) => name === 'web') ?? {};
    await mustSucceed(project, 'cleanup', 'prod', '--standby');
    const [host = '', port = ''] = address.split(':');
    const squatter = createTcpServer((socket) => socket.on('error', () => undefined)).listen(Number(port), host);
    const result = await deploy('c0000004');
    await new Promise((resolve) => squatter.close(resolve));
    expect(result).toMatchObject({ exitCode: 1, code: 'port-in-use' });
    expect(result.message).toBe(`${instance} cannot start: ${address} is taken by another process`);
    expect(result.remedy).toContain(`ss -ltnp 'sport = :${port}'`);
  });
});

describe('a migration that', () => {
  test('fails is shown with its last lines, and as what is not taken back', async () => {
    await release('d0000001', "console.error('no such table: users'); process.exit(7)");
    const result = await deploy('d0000001');
    expect(result).toMatchObject({ exitCode: 1, code: 'migration-failed' });
    expect(result.message).toContain('no such table: users');
    expect(result.lost).toContain('the migration of api ran and is not taken back');
  });

  test('is to be skipped does not run, nor does it when the release before is deployed again', async () => {
    await mustSucceed(project, 'deploy', 'prod', 'd0000001', '--skip-migrate', '--soak', '0s');
    const { document } = await project.json<unknown>('rollback', 'prod', '--full', '--why', 'a test');
    const { outcome, to, steps } = resultSchema.parse(document);
    expect({ outcome, sha: to?.sha }).toEqual({ outcome: 'succeeded', sha: base });
    const names = steps.map(({ name }) => name);
    expect(names.filter((name) => name.startsWith('recreate'))).toHaveLength(2);
    expect(names.filter((name) => name.includes('migrate'))).toEqual([]);
  });

  test('hangs is ended after its time', async () => {
    await release('d0000002', "console.log('waiting for a lock'); setInterval(() => {}, 1_000)");
    const result = await deploy('d0000002');
    expect(result).toMatchObject({ exitCode: 1, code: 'migration-timed-out' });
    expect(result.message).toContain('did not end within 1 s');
    expect(result.message).toContain('waiting for a lock');
    expect(result.remedy).toContain('migrate.timeout');
  });
});

test('an artifact that stays cut off, however often it is fetched, ends the deploy', async () => {
  const { exitCode, document, stderr } = await deployOfCutOff;
  printed += `${JSON.stringify(document)}${stderr}`;
  const result = resultSchema.parse(document);
  expect({ exitCode, ...result }).toMatchObject({ exitCode: 1, code: 'artifact-truncated' });
  expect(result.message).toContain('bytes of 5000');
  expect(result.remedy).toContain('upload the artifact anew');
});

test('no token and no secret was ever printed', async () => {
  printed += (await project.bascule('status')).stdout + (await project.bascule('doctor')).stdout;
  printed += await project.workerLog();
  expect(printed).toContain('REGISTRY_TOKEN');
  expect(printed).not.toContain(token);
  expect(printed).not.toContain(secret);
});

async function prod() {
  return environmentOf(statusSchema.parse(await project.look()), 'prod');
}
