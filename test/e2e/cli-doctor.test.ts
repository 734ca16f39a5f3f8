import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { diagnosisSchema } from '../../src/cli/output-schema.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { RuntimeApi } from '../../src/haproxy/runtime.js';
import { examineInvariant } from '../../src/invariant.js';
import { readVersion } from '../../src/version.js';
import { mustSucceed, quick } from '../rig/chaos.js';
import { openProject } from '../rig/open-project.js';
import { type Project, startProject } from '../rig/project.js';

const sha = 'a1a1a1a1';
const token = 'letmein-7c1d';
const isRoot = process.getuid?.() === 0;

let project: Project;
let yaml = '';

beforeAll(async () => {
  project = await startProject({ configure: quick, env: { REGISTRY_TOKEN: token } });
  await project.releaseAll(sha);
  await project.startWorker();
  await mustSucceed(project, 'apply');
  await mustSucceed(project, 'deploy', 'prod', sha, '--soak', '0s');
  yaml = await readFile(file('bascule.yaml'), 'utf8');
});
afterAll(() => project.stop());

const file = (name: string) => join(project.directory, name);

async function doctor() {
  const { exitCode, document } = await project.json<unknown>('doctor');
  const diagnosis = diagnosisSchema.parse(document);
  const all = diagnosis.checks.flatMap(({ name, findings }) => findings.map((one) => ({ name, ...one })));
  for (const { remedy } of all) expect(remedy).not.toBe('');
  // Tests that root runs have everything run as root, which is a test of its own.
  const findings = all.filter(({ code }) => code !== 'runs-as-root');
  return { exitCode: isRoot && findings.length === 0 ? 0 : exitCode, diagnosis, findings };
}

test('finds nothing where all is well, and says what takes how much', async () => {
  const { exitCode, diagnosis, findings } = await doctor();
  expect({ exitCode, findings }).toEqual({ exitCode: 0, findings: [] });
  expect(diagnosis.examinedBy).toBe('worker');
  expect(diagnosis.checks.map(({ name }) => name)).toEqual([
    ...[
      'Temporal',
      'search attributes',
      'operations kept',
      'worker',
      'clocks',
      'bascule.yaml',
      'HAProxy',
      'HAProxy runs',
      'haproxy.cfg',
    ],
    ...[
      'instances',
      'users',
      'secrets',
      'certificates',
      'artifacts',
      'disk',
      'files and process agree',
      'servers are UP',
    ],
    ...['instances hold their release', 'visitors get the active color', 'nothing half-done is left'],
  ]);
  expect(diagnosis.usage.find(({ what }) => what === 'releases')?.bytes).toBeGreaterThan(0);

  const { stdout } = await project.bascule('doctor');
  expect(stdout).toMatch(/✔ HAProxy +version \d+\.\d+/);
  expect(stdout).toMatch(/^ {2}logs +[\d.]+ MB/m);
  expect(stdout).toContain(isRoot ? 'runs as root' : 'nothing is missing');
});

test('names each thing that is different, with what to type', async () => {
  const config = file('.bascule/edge/haproxy.cfg');
  const installed = await readFile(config, 'utf8');
  await appendFile(config, '\n# by hand\n');
  const changed = yaml.replace('    run: ["node"', '    env: { KEY: { env: NO_SUCH_KEY } }\n    run: ["node"');
  await writeFile(file('bascule.yaml'), changed);
  const { exitCode, findings } = await doctor();
  expect(exitCode).toBe(1);
  expect(findings.map(({ name, code }) => [name, code])).toEqual([
    ['bascule.yaml', 'config-not-applied'],
    ['secrets', 'secret-missing'],
    ['files and process agree', 'edge-drift'],
  ]);
  const { stdout } = await project.bascule('doctor');
  expect(stdout).toContain('→ See how with `bascule apply --dry-run`, then `bascule apply`.');
  expect(stdout).toContain('NO_SUCH_KEY');
  expect(stdout).toMatch(isRoot ? /\d+ findings/ : /3 findings/);
  await writeFile(config, installed);
  await writeFile(file('bascule.yaml'), yaml);
  expect((await doctor()).exitCode).toBe(0);
});

test('names each process that runs as root and need not: never a worker of HAProxy that Bascule started', async () => {
  const { diagnosis } = await doctor();
  const users = diagnosis.checks.find(({ name }) => name === 'users')?.findings ?? [];
  const named = users
    .map(({ message }) => message.replace(/ \(process \d+\).*/, '').replace(/-(?:blue|green)/, ''))
    .toSorted();
  expect(named).toEqual(isRoot ? ["Bascule's worker", 'node of demo-api', 'node of demo-web'] : []);
});

test('names what was left half-done, once it is too old to be under way', async () => {
  const left = file('.bascule/edge/state/applied.json.tmp');
  await writeFile(left, '');
  expect((await doctor()).findings).toEqual([]);
  await utimes(left, new Date(), new Date(Date.now() - 16 * 60_000));
  expect((await doctor()).findings).toMatchObject([
    { name: 'nothing half-done is left', code: 'left-over', remedy: expect.stringContaining(`rm -r ${left}`) },
  ]);
  await rm(left);
});

test('names a release, a process and a server that are not what they should be', async () => {
  const instance = 'demo-api-green';
  const folder = file(`.bascule/instances/${instance}`);
  const record = await readFile(join(folder, 'record'), 'utf8');
  const [release = ''] = await readdir(join(folder, 'releases'));
  const stray = spawn('sleep', ['60'], { cwd: join(folder, 'releases', release), stdio: 'ignore', detached: true });
  const runtime = new RuntimeApi(file('.bascule/edge/haproxy.sock'));
  await writeFile(join(folder, 'record'), record.replace(`sha=${sha}`, 'sha=b2b2b2b2'));
  await runtime.command(`set server prod_backend_api/${instance} state maint`);
  // As doctor examines it, without leaving out what is young enough to be under way.
  const { configuration, host, edge } = await openProject(project);
  const examined = { version: readVersion(), leftAfterMs: 0 };
  const reports = await examineInvariant({ configuration, host, edge }, examined);
  await runtime.command(`set server prod_backend_api/${instance} state ready`);
  await writeFile(join(folder, 'record'), record);
  stray.kill();
  await once(stray, 'exit');
  for (const [check, message] of [
    ['instances hold their release', `${instance} holds b2b2b2b2; prod has ${sha} as its active release`],
    ['visitors get the active color', `visitors of prod api get 503 from no instance instead of ${instance}`],
    ['nothing half-done is left', `process ${stray.pid} (sleep)`],
  ] as const) {
    const messages = reports.find(({ name }) => name === check)?.findings.map((finding) => finding.message);
    expect(messages).toContainEqual(expect.stringContaining(message));
  }
  await vi.waitFor(async () => expect((await doctor()).findings).toEqual([]), { timeout: 30_000 });
});

test('names an artifact server that does not take the token, and never the token', async () => {
  const server = await refusingServer();
  const { port } = server.address() as AddressInfo;
  const elsewhere = yaml
    .replace(/url: "file:[^"]*"/, `url: "http://127.0.0.1:${port}/{component}/{sha}.tar.gz"`)
    .replace(/\nartifacts:/, '\nartifacts:\n  token: { env: REGISTRY_TOKEN }');
  await writeFile(file('bascule.yaml'), elsewhere);
  const { findings, diagnosis } = await doctor();
  const found = findings.find(({ name }) => name === 'artifacts');
  expect(found).toMatchObject({ code: 'artifact-unauthorized', remedy: expect.stringContaining('REGISTRY_TOKEN') });
  expect(JSON.stringify(diagnosis)).not.toContain(token);
  await writeFile(file('bascule.yaml'), yaml);
  await new Promise((resolve) => server.close(resolve));
});

test('names a bascule.yaml that is broken, with its place', async () => {
  await writeFile(file('bascule.yaml'), yaml.replace('topology: blue-green', 'topology: green'));
  const { findings } = await doctor();
  expect(findings[0]).toMatchObject({ name: 'bascule.yaml', message: expect.stringMatching(/bascule\.yaml:\d+:\d+/) });
  await writeFile(file('bascule.yaml'), yaml);
});

test('looks at this machine itself where no worker answers, and without Temporal', async () => {
  await project.stopWorker();
  const alone = await doctor();
  expect(alone.exitCode).toBe(1);
  expect(alone.diagnosis.examinedBy).toBe('command');
  expect(alone.findings.map(({ code }) => code)).toEqual(['no-worker']);

  await project.temporal.kill();
  const { exitCode, diagnosis, findings } = await doctor();
  expect({ exitCode, codes: findings.map(({ code }) => code) }).toEqual({
    exitCode: 1,
    codes: ['temporal-unreachable'],
  });
  expect(diagnosis.checks.find(({ name }) => name === 'servers are UP')).toMatchObject({
    findings: [],
    notChecked: null,
  });
  const unasked = diagnosis.checks.filter(({ notChecked }) => notChecked !== null).map(({ name }) => name);
  expect(unasked).toEqual(['search attributes', 'worker', 'clocks']);

  // What depends on a HAProxy that does not run is no ✔.
  const { master = 0 } = (await readWorkers(join(project.directory, '.bascule/edge/haproxy-master.sock'))) ?? {};
  process.kill(master, 'SIGKILL');
  await expect
    .poll(async () => (await doctor()).findings.map(({ name }) => name), { timeout: 20_000 })
    .toContain('HAProxy runs');
  const { stdout } = await project.bascule('doctor');
  for (const name of ['files and process agree', 'servers are UP', 'visitors get the active color']) {
    expect(stdout).toMatch(new RegExp(`^- ${name}  not checked: HAProxy does not answer$`, 'm'));
  }
  expect(stdout).toMatch(/^✘ HAProxy runs: /m);
});

function refusingServer(): Promise<Server> {
  const server = createServer((_, response) => response.writeHead(401).end());
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
