import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { create } from 'tar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { processesOf } from '../../src/hosts/processes.js';
import { visitOnce } from '../rig/ask.js';
import { mustSucceed, quick, until } from '../rig/chaos.js';
import { environmentOf } from '../rig/environment-view.js';
import { readHistories } from '../rig/histories.js';
import { type Project, startProject } from '../rig/project.js';

const base = 'a0a0a0a0';
const [cutOff, crashing, unhealthy] = ['e0000003', 'c0000001', 'c0000002'];
/** In each secret, and in nothing that another test gives a program of this machine. */
const canary = 'canary-of-secrets';
const token = `${canary}-token-5f1c9a`;
const secret = `${canary}-password-77e0b2`;

let project: Project;
let registry: Server;
/** Deploys that take their time, each in an environment of its own. */
let deployOfCutOff: ReturnType<typeof runDeploy>;
let deployOfUnhealthy: ReturnType<typeof runDeploy>;
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
        .replace('environments:', 'environments:\n  qa: { prefix: demo-qa-, hosts: [qa.localhost], drain: 1s }')
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
  // It is tried again for half a minute.
  deployOfCutOff = runDeploy('staging', cutOff);
  await release(unhealthy, undefined, { unhealthy: true });
  await release(crashing, undefined, { crash: true });
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

/** Keeps what it printed for the last test. */
async function runDeploy(environment: string, sha: string, ...more: readonly string[]) {
  const { exitCode, document, stderr } = await project.json<unknown>('deploy', environment, sha, ...more);
  printed += `${JSON.stringify(document)}${stderr}`;
  return { exitCode, ...resultSchema.parse(document) };
}

/** The active release serves as before. */
async function deploy(sha: string, ...more: readonly string[]) {
  const result = await runDeploy('prod', sha, ...more);
  expect((await visitOnce({ ...project.edge, host: 'localhost', path: '/' })).sha).toBe(base);
  return result;
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
      what: 'is a page of a login',
      sha: 'e0000009',
      answer: ((_, response) =>
        response.setHeader('content-type', 'text/html').end('<!doctype html>')) as RequestListener,
      code: 'artifact-wrong-checksum',
      exitCode: 1,
      message: 'it answered text/html, 15 bytes, beginning with "<!doctype html>"',
      remedy: 'comes from a login',
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
    expect(result.steps.map(({ name }) => name).filter((name) => !/^(pin artifacts|fetch \w+)$/.test(name))).toEqual(
      [],
    );
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
    const result = await runDeploy('qa', crashing);
    deployOfUnhealthy = runDeploy('qa', unhealthy);
    expect(result).toMatchObject({ exitCode: 1, code: 'instance-exited' });
    expect(result.message).toContain('this release crashes as it starts');
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

  test('ends once and is started again fails, in the soak and before the switch', async () => {
    await release('c0000005');
    const pidOf = async (color: 'blue' | 'green') => {
      const { instance = '' } = (await prod()).colors[color].components[0] ?? {};
      const record = await readFile(join(project.directory, '.bascule/instances', instance, 'record'), 'utf8');
      return Number(/^pid=(.*)$/m.exec(record)?.[1]);
    };
    const soaking = deploy('c0000005', '--soak', '60s');
    await expect.poll(async () => (await prod()).waiting, { timeout: 20_000 }).toBe('soak');
    process.kill(await pidOf((await prod()).active), 'SIGKILL');
    const inSoak = await soaking;
    expect(inSoak).toMatchObject({ exitCode: 1, code: 'unhealthy-in-soak' });
    // Looked at in between, it is down.
    expect(inSoak.message).toMatch(/it ended by itself and was started again \(1 ×\)|DOWN L4CON/);

    const waiting = deploy('c0000005', '--wait-for-approval');
    await expect.poll(async () => (await prod()).waiting, { timeout: 20_000 }).toBe('approval');
    const other = (await prod()).active === 'blue' ? 'green' : 'blue';
    process.kill(await pidOf(other), 'SIGKILL');
    await expect.poll(async () => (await prod()).colors[other].components[0]?.restarts, { timeout: 20_000 }).toBe(1);
    await mustSucceed(project, 'approve', 'prod');
    expect(await waiting).toMatchObject({ exitCode: 1, code: 'instance-restarted' });
  });

  test('answers 5xx is judged beside what the release before answered', async () => {
    const ask = async (status: number, times = 1) => {
      const visit = () => visitOnce({ ...project.edge, host: 'localhost', path: `/?status=${status}` });
      for (let time = 0; time < times; time += 1) await Promise.all(Array.from({ length: 60 }, visit));
    };
    const soaking = async (sha: string, soak: string) => {
      await release(sha);
      const deploying = runDeploy('prod', sha, '--soak', soak);
      await expect.poll(async () => (await prod()).waiting, { timeout: 20_000 }).toBe('soak');
      await ask(503);
      return await deploying;
    };
    // A URL that always gave it.
    await ask(503, 10);
    expect(await soaking('c0000006', '3s')).toMatchObject({ code: null, outcome: 'succeeded' });
    await mustSucceed(project, 'rollback', 'prod');
    await ask(200, 7);
    const failed = await soaking('c0000007', '60s');
    expect(failed).toMatchObject({ exitCode: 1, code: 'errors-in-soak' });
    expect(failed.message).toMatch(
      /60 of \d+ answers of the new release were 5xx in its soak, \d+(\.\d)? %; the release before/,
    );
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
    expect(result.message).toContain(`${instance} cannot start: ${address} is taken by process ${process.pid} (`);
    expect(result.remedy).toContain(`kill ${process.pid}`);
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

test('a component that is never healthy is shown with its last five answers', async () => {
  const result = await deployOfUnhealthy;
  expect(result).toMatchObject({ exitCode: 1, code: 'instance-unhealthy' });
  expect(result.message).toMatch(/it answered: (?:.*500.*, ){4}.*500/);
  // Nor with lines of the release that crashed there before.
  expect(result.message).not.toContain('crashes');
  expect(result.remedy).toContain('startDeadline');
});

test('an artifact that stays cut off, however often it is fetched, ends the deploy', async () => {
  const result = await deployOfCutOff;
  expect(result).toMatchObject({ exitCode: 1, code: 'artifact-truncated' });
  expect(result.message).toContain('bytes of 5000');
  expect(result.remedy).toContain('upload the artifact anew');
});

describe('a secret', () => {
  test('is in the environment of the worker and of the program that it is for, and of no other', async () => {
    const holders = async (value: string) => {
      const programs = new Set<string>();
      for (const { pid, commandLine } of await processesOf(project.directory)) {
        const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
        if (environment.includes(value)) programs.add(commandLine.at(-1) ?? '');
      }
      return [...programs].sort();
    };
    expect(await holders(token)).toEqual(['worker']);
    expect(await holders(secret)).toEqual(['server.mjs', 'worker']);
  });

  test('is in no file that others may read: what lies beside bascule.yaml is the worker’s own', async () => {
    const folder = join(project.directory, '.bascule');
    const wrong: string[] = [];
    const names = await readdir(folder, { recursive: true });
    for (const name of names) {
      const file = await lstat(join(folder, name));
      if (file.isSymbolicLink()) continue;
      const isPrivate = file.isSocket() || names.includes(`${name}/record`);
      if ((file.mode & (isPrivate ? 0o077 : 0o022)) !== 0) wrong.push(`${name} ${(file.mode & 0o777).toString(8)}`);
    }
    expect(wrong).toEqual([]);
    expect(names).toContain('instances/demo-api-green/record');
  });

  test('is in no output, log, file or history, nor in what a long step tells Temporal', async () => {
    const soaking = project.json<unknown>('deploy', 'prod', base, '--again', '--soak', '30s', '--verbose');
    const heartbeat = await untilHeartbeat('prod');
    // What every user of the machine can see of a program.
    const lookAround =
      'for one in /proc/[0-9]*/cmdline; do tr "\\0" " " <$one; done; echo; printf "has %s" "$API_KEY" | wc -c';
    const inspections = [
      ['status'],
      ['doctor'],
      ['logs', 'prod', 'api'],
      ['exec', 'prod', 'api', '--', 'sh', '-c', lookAround],
    ];
    const answers = await Promise.all(inspections.map((args) => project.bascule(...args, '--verbose')));
    expect(answers.at(-1)?.stdout).toMatch(new RegExp(`\\b${'has '.length + secret.length}\\s*$`));
    await mustSucceed(project, 'abort', 'prod');
    const aborted = await soaking;

    const histories = await readHistories(project.temporal.address);
    const places: Record<string, string> = {
      'the commands’ output': `${printed}${JSON.stringify([...answers, aborted])}`,
      'a heartbeat': heartbeat,
      'the worker’s log': await project.workerLog(),
      ...histories,
      ...(await filesBelow(join(project.directory, '.bascule'))),
    };
    const found = Object.entries(places).filter(([, text]) => text.includes(canary));
    expect(found.map(([place]) => place)).toEqual([]);
    // What was searched is what was meant.
    expect(printed).toContain('REGISTRY_TOKEN');
    expect(histories['history of demo/prod/deploy/1']).toContain(`"sha":"${base}"`);
  });
});

/** What Temporal knows of a running step that has sent a heartbeat. */
async function untilHeartbeat(environment: string): Promise<string> {
  const connection = await Connection.connect({ address: project.temporal.address });
  try {
    return await until(`a step in ${environment} has sent a heartbeat`, async () => {
      const workflowId = environmentOf(await project.look(), environment).operation?.id ?? '';
      const { pendingActivities } = await connection.workflowService
        .describeWorkflowExecution({ namespace: 'default', execution: { workflowId } })
        .catch(() => ({ pendingActivities: [] }));
      const heard = (pendingActivities ?? []).filter(({ lastHeartbeatTime }) => lastHeartbeatTime);
      if (heard.length === 0) return null;
      const details = heard.flatMap(({ heartbeatDetails }) => heartbeatDetails?.payloads ?? []);
      return details.map(({ data }) => Buffer.from(data ?? []).toString()).join('\n') || 'no details';
    });
  } finally {
    await connection.close();
  }
}

async function filesBelow(folder: string): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for (const name of await readdir(folder, { recursive: true })) {
    const file = join(folder, name);
    if ((await stat(file)).isFile()) texts[name] = await readFile(file, 'latin1');
  }
  return texts;
}

async function prod() {
  return environmentOf(statusSchema.parse(await project.look()), 'prod');
}
