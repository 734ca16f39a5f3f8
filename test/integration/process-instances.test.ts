import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from 'tar';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LocalHost } from '../../src/hosts/local.js';
import { isProcessAlive } from '../../src/hosts/process-identity.js';
import { runAct } from '../../src/instances/act.js';
import {
  claimInstance,
  disownInstance,
  markFailed,
  type markHealthy,
  pruneReleases,
} from '../../src/instances/claims.js';
import { dataFolder } from '../../src/instances/data.js';
import { environmentDigest } from '../../src/instances/environment.js';
import { waitHealthy } from '../../src/instances/health.js';
import { InstanceKeeper } from '../../src/instances/keeper.js';
import { lastLogLines } from '../../src/instances/log.js';
import {
  deleteInstance,
  haltInstance,
  migrateRelease,
  prepareRelease,
  recreateInstance,
  startInstance,
  stopInstance,
} from '../../src/instances/process.js';
import { runInRelease } from '../../src/instances/process-exec.js';
import { checkHealth } from '../../src/instances/process-health.js';
import { type Instance, instanceFiles, readProcess } from '../../src/instances/record.js';
import { ShimmedHost } from '../rig/faulty-host.js';
import { freePort } from '../rig/ports.js';
import { isWhole } from '../rig/tier.js';

const sha = 'aaaaaaa1';
const owner = 'demo/prod/deploy/1';
const run = [process.execPath, 'server.mjs'];

/** Answers with what it was started with; `mode` in its environment makes it misbehave. */
const server = `
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
const { MODE: mode } = process.env;
console.log('begins');
console.error('warns');
if (mode === 'exit') process.exit(3);
if (mode === 'stubborn') process.on('SIGTERM', () => console.log('stays'));
if (mode === 'everywhere') {
  const { spawn } = await import('node:child_process');
  const child = "require('http').createServer((_, answer) => answer.end()).listen(+process.env.PORT, process.env.ON)";
  spawn(process.execPath, ['-e', child], { stdio: 'inherit', detached: process.env.ON === undefined });
  await new Promise(() => setInterval(() => {}, 1000));
}
if (mode === 'fork') {
  const { spawn } = await import('node:child_process');
  console.log('child ' + spawn('sleep', ['1000'], { stdio: 'ignore' }).pid);
}
const environment = readFileSync('/proc/self/environ', 'utf8').split('\\0').filter(Boolean).sort();
createServer((request, response) => {
  if (request.url === '/sick') response.statusCode = 500;
  response.end(JSON.stringify({ environment, cwd: process.cwd(), pid: process.pid }));
}).listen(Number(process.env.LISTEN ?? process.env.PORT), process.env.ON ?? process.env.HOST, () => console.log('listens'));
`;

let folder: string;
let artifact: { file: string; sha256: string };
const started: Instance[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-'));
  artifact = await pack('first', {
    'server.mjs': server,
    'migrate.sh': 'echo "migrates $BASCULE_SHA $NAME"; exit $CODE',
  });
});

afterEach(async () => {
  for (const instance of started.splice(0)) await haltInstance({ ...instance, edgeConfig: null }, { stopGraceMs: 0 });
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

describe('a release that is deployed to an instance', () => {
  test('runs, is healthy, is on record, has its log and no other file, and is one process however often it is started', async () => {
    const instance = await anInstance();
    const process = await deploy(instance);
    expect(await readProcess(instance)).toMatchObject({
      owner,
      sha,
      sha256: artifact.sha256,
      wanted: 'running',
      state: 'running',
      restarts: 0,
      process,
    });
    expect(await ask(instance)).toMatchObject({
      pid: process.pid,
      cwd: instanceFiles(instance).release(sha, artifact.sha256),
    });
    expect([...(await lastLogLines(instance, 20))].sort()).toEqual(['begins', 'listens', 'warns']);
    const { pid } = process;
    const descriptors = readdirSync(`/proc/${pid}/fd`).map((number) => readlinkSync(`/proc/${pid}/fd/${number}`));
    const { log } = instanceFiles(instance);
    expect(descriptors.filter((file) => file.startsWith(folder))).toEqual([log, log]);
    expect(await Promise.all([start(instance), start(instance), start(instance)])).toEqual([process, process, process]);
  });

  test('gets exactly the environment that it should', async () => {
    process.env.BASCULE_TEST_LEAK = 'leaked';
    const instance = await anInstance();
    const env = { QUOTES: `it's "$HOME" \`id\` \\`, LINES: 'one\ntwo\n', input: 'kept', HOST: '0.0.0.0' };
    await deploy(instance, { env });
    delete process.env.BASCULE_TEST_LEAK;
    const passedOn = ['PATH', 'HOME', 'LANG', 'TZ'].flatMap((name) =>
      process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`],
    );
    const own = [
      `HOST=${instance.address}`,
      `PORT=${instance.port}`,
      'BASCULE_ENVIRONMENT=prod',
      'BASCULE_COMPONENT=api',
      'BASCULE_COLOR=green',
      `BASCULE_SHA=${sha}`,
      `BASCULE_DATA=${dataFolder(instance)}`,
      `TMPDIR=${instanceFiles(instance).temporary}`,
      `QUOTES=${env.QUOTES}`,
      `LINES=${env.LINES}`,
      'input=kept',
    ];
    expect((await ask(instance)).environment).toEqual([...passedOn, ...own].sort());
  });

  test('has a folder of its own for data, which both colors share and no cleanup removes', async () => {
    const write = ['sh', '-c', 'echo "$BASCULE_SHA" >>"$BASCULE_DATA/written"; exec "$0" server.mjs', process.execPath];
    const instance = await anInstance();
    await deploy(instance, { run: write });
    const written = join(dataFolder(instance), 'written');
    expect(await readFile(written, 'utf8')).toBe(`${sha}\n`);
    for (const place of [join(folder, 'instances', 'data'), dataFolder(instance)]) {
      expect(await stat(place).then(({ mode, uid }) => ({ mode: mode & 0o777, uid }))).toEqual({
        ...{ mode: 0o700, uid: process.getuid?.() },
      });
    }
    const other = { ...instance, name: instance.name.replace('green', 'blue'), color: 'blue' as const };
    expect(dataFolder(other)).toBe(dataFolder(instance));
    expect(dataFolder({ ...instance, name: 'api-1', color: null })).toBe(join(folder, 'instances', 'data', 'api'));
    expect(dataFolder({ ...instance, name: 'demo-qa-api-green' })).not.toBe(dataFolder(instance));
    await stopInstance(instance, { owner, stopGraceMs: 1_000 });
    await deleteInstance(instance, owner);
    expect(await readFile(written, 'utf8')).toBe(`${sha}\n`);
  });

  test('has none of the privileges of who started it, and a folder of its own for temporary files; so have its migration and exec', async () => {
    const instance = await anInstance();
    const { temporary } = instanceFiles(instance);
    const said = 'grep -E "^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):" /proc/self/status >"$TMPDIR/privileges"';
    const none = ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'].map((set) => `${set}:\t0000000000000000\n`).join('');
    const expected = `${none}NoNewPrivs:\t1\n`;
    const privileges = async () => await readFile(join(temporary, 'privileges'), 'utf8');

    await prepare(instance);
    const program = { owner, sha, sha256: artifact.sha256, env: {} };
    await migrateRelease(instance, { ...program, run: ['sh', '-c', said], timeoutMs: 20_000 });
    expect(await privileges()).toBe(expected);

    await writeFile(join(temporary, 'left'), '');
    await deploy(instance, { run: ['sh', '-c', `${said}; exec "$0" server.mjs`, process.execPath] });
    expect(await privileges()).toBe(expected);
    expect(await readdir(temporary), 'what was left is gone').toEqual(['privileges']);
    expect((await stat(temporary)).mode & 0o777).toBe(0o700);

    await rm(join(temporary, 'privileges'));
    expect(await runInRelease(instance, program, ['sh', '-c', `${said}; exit 7`])).toBe(7);
    expect(await privileges()).toBe(expected);
    await expect(runInRelease(instance, program, ['no-such-program'])).rejects.toMatchObject({
      code: 'command-not-found',
    });
  });

  test('ignores no signal that it did not choose to', async () => {
    const instance = await anInstance();
    const command = 'grep SigIgn /proc/self/status; exec "$0" server.mjs';
    await deploy(instance, { run: ['sh', '-c', command, process.execPath] });
    const [line = ''] = await lastLogLines(instance, 20);
    const ignored = BigInt(`0x${/^SigIgn:\s+([0-9a-f]+)$/.exec(line)?.[1]}`);
    // 32 and 33 are the C library's own, which no program chooses and make leaves ignored.
    const ofTheLibrary = (1n << 31n) | (1n << 32n);
    expect(ignored & ~ofTheLibrary).toBe(0n);
  });

  test('is one process when it is started twice at once', async () => {
    const instance = await anInstance();
    await prepare(instance);
    const [one, other] = await Promise.all([start(instance), start(instance)]);
    expect(one).toEqual(other);
    expect(await sessionsIn(instance)).toBe(1);
  });

  test('survives the death of the program that started it', async () => {
    const instance = await anInstance();
    await prepare(instance);
    const { host: _, ...place } = instance;
    const input = JSON.stringify({ place, start: { owner, sha, sha256: artifact.sha256, run, env: {} } });
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', parentProgram, input], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(parent.stdout, 'data');
    const ended = once(parent, 'exit');
    process.kill(parent.pid ?? 0, 'SIGKILL');
    await ended;
    const status = await readProcess(instance);
    expect(status.isAlive).toBe(true);
    expect(JSON.parse(String(line))).toEqual(status.process);
    await becomesHealthy(instance, status.process);
    expect(await start(instance)).toEqual(status.process);
  });
});

test('a record that somebody put a symbolic link in the place of is not read', async () => {
  const instance = await anInstance();
  await prepare(instance);
  const { record } = instanceFiles(instance);
  await rename(record, `${record}.real`);
  await symlink(`${record}.real`, record);
  await expect(readProcess(instance)).rejects.toMatchObject({ code: 'state-file-is-link', args: { file: record } });
  await rename(`${record}.real`, record);
});

test('an act whose sender died while it wrote the environment starts nothing', async () => {
  const instance = await anInstance();
  await prepare(instance);
  const args = [owner, sha, artifact.sha256, new Date().toISOString(), environmentDigest({}), ...run];
  const cutOff = runAct(instance, { name: 'start', args, owner, input: "export ONE='1'\n" });
  await expect(cutOff).rejects.toMatchObject({ code: 'instance-write-failed' });
  expect(await readProcess(instance)).toMatchObject({ wanted: 'stopped', process: null });
});

describe('stopping', () => {
  test('lets a program end by SIGTERM', async () => {
    const instance = await anInstance();
    const process = await deploy(instance);
    await stopInstance(instance, { owner, stopGraceMs: 60_000 });
    expect(await isProcessAlive(process)).toBe(false);
    expect(await readProcess(instance)).toMatchObject({ state: 'stopped', wanted: 'stopped' });
  });

  test('kills a program that stays after SIGTERM', async () => {
    const instance = await anInstance();
    const process = await deploy(instance, { env: { MODE: 'stubborn' } });
    await stopInstance(instance, { owner, stopGraceMs: 300 });
    expect(await isProcessAlive(process)).toBe(false);
    expect(await lastLogLines(instance, 20)).toContain('stays');
  });

  test('kills what is in a group of its own, too, where its program stays after SIGTERM', async () => {
    const instance = await anInstance();
    const withJob = ['bash', '-c', 'set -m; sleep 1000 & echo "child $!"; exec "$0" server.mjs', process.execPath];
    await deploy(instance, { run: withJob, env: { MODE: 'stubborn' } });
    const child = await childOf(instance);
    await stopInstance(instance, { owner, stopGraceMs: 300 });
    await expect.poll(() => isRunning(child)).toBe(false);
  });

  test('also ends what a program that died left behind', async () => {
    const instance = await anInstance();
    const { pid } = await deploy(instance, { env: { MODE: 'fork' } });
    const child = await childOf(instance);
    process.kill(pid, 'SIGKILL');
    expect(existsSync(`/proc/${child}`)).toBe(true);
    await stopInstance(instance, { owner, stopGraceMs: 1_000 });
    await expect.poll(() => isRunning(child)).toBe(false);
  });

  test('never signals a process that only has the recorded pid', async () => {
    const instance = await anInstance();
    await deploy(instance);
    const stranger = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
    const { record } = instanceFiles(instance);
    const before = await readFile(record, 'utf8');
    await writeFile(record, before.replace(/^pid=.*$/m, `pid=${stranger.pid}`));
    expect(await readProcess(instance)).toMatchObject({ isAlive: false, state: 'starting' });
    await stopInstance(instance, { owner, stopGraceMs: 100 });
    expect(isRunning(stranger.pid ?? 0)).toBe(true);
    stranger.kill('SIGKILL');
    await writeFile(record, before);
  });

  test('halting leaves on record that it is wanted', async () => {
    const instance = await anInstance();
    await deploy(instance);
    await haltInstance({ ...instance, edgeConfig: null }, { stopGraceMs: 5_000 });
    expect(await readProcess(instance)).toMatchObject({ isAlive: false, wanted: 'running' });
  });
});

describe('the fence of an instance', () => {
  test('refuses every act of an owner that another one followed, and nothing is touched', async () => {
    const instance = await anInstance();
    await deploy(instance);
    const newer = 'demo/prod/deploy/2';
    await claimInstance(instance, { expected: owner, owner: newer });
    await mkdir(join(instanceFiles(instance).releases, '.unpacked-newer'));
    const before = await everythingIn(instance);
    const release = { owner, sha, sha256: artifact.sha256 };
    const acts = [
      () => claimInstance(instance, { expected: null, owner }),
      () => stopInstance(instance, { owner, stopGraceMs: 0 }),
      () => prepareRelease(instance, { ...release, artifact: artifact.file }),
      () => migrateRelease(instance, { ...release, run: ['touch', 'migrated'], env: {}, timeoutMs: 1_000 }),
      () => start(instance),
      () => pruneReleases(instance, { owner, kept: 0 }),
      () => deleteInstance(instance, owner),
    ];
    for (const act of acts) await expect(act()).rejects.toMatchObject({ code: 'instance-fenced' });
    expect(await markFailed(instance, { expected: null, owner })).toBe(false);
    expect(await everythingIn(instance)).toEqual(before);
    expect((await readProcess(instance)).isAlive).toBe(true);
  });

  test('lets the same owner claim again and changes nothing', async () => {
    const instance = await anInstance();
    const process = await deploy(instance);
    await recreateInstance(instance, { expected: null, owner, stopGraceMs: 0 });
    expect(await readProcess(instance)).toMatchObject({ wanted: 'running', isAlive: true, process });
  });

  test.each([
    { where: 'on its own host', elsewhere: false },
    { where: 'on another host', elsewhere: true },
  ])('refuses what would harm the active color of an edge $where', async ({ elsewhere }) => {
    const own = await anInstance();
    const instance = elsewhere ? { ...own, edgeConfig: '/nowhere/haproxy.cfg', edgeHost: new OtherHost() } : own;
    await deploy(instance);
    await markActive('green');
    const before = await everythingIn(instance);
    const newer = 'demo/prod/deploy/2';
    const release = { owner, sha, sha256: artifact.sha256 };
    const acts = [
      () => claimInstance(instance, { expected: owner, owner: newer }),
      () => stopInstance(instance, { owner, stopGraceMs: 0 }),
      () => migrateRelease(instance, { ...release, run: ['touch', 'migrated'], env: {}, timeoutMs: 1_000 }),
      () => markFailed(instance, { expected: null, owner }),
      () => pruneReleases(instance, { owner, kept: 0 }),
      () => deleteInstance(instance, owner),
      () => haltInstance(instance, { stopGraceMs: 0 }),
    ];
    for (const act of acts) await expect(act()).rejects.toMatchObject({ code: 'instance-active' });
    expect(await everythingIn(instance)).toEqual(before);
    expect((await readProcess(instance)).isAlive).toBe(true);

    await markActive('blue');
    await stopInstance(instance, { owner, stopGraceMs: 5_000 });
    await markActive('green');
    await expect(start(instance)).rejects.toMatchObject({ code: 'instance-active' });
  });

  test('refuses an operation that wakes after it was taken back, also where it had not claimed yet', async () => {
    const instance = await anInstance();
    await deploy(instance);
    const late = 'demo/prod/deploy/2';
    expect(await markFailed(instance, { expected: owner, owner: late })).toBe(true);
    await expect(claimInstance(instance, { expected: owner, owner: late })).rejects.toMatchObject({
      code: 'instance-fenced',
    });
    expect(await readProcess(instance)).toMatchObject({ state: 'running', isAlive: true, owner: `${late}/undo` });
  });

  test('leaves what a cleanup that was stopped had not removed, whatever of it wakes', async () => {
    const [stopped, untouched] = [await anInstance(), await anInstance('web')];
    for (const instance of [stopped, untouched]) await deploy(instance);
    const late = 'demo/prod/cleanup/2';
    const claim = { expected: owner, owner: late };
    await recreateInstance(stopped, { ...claim, stopGraceMs: 5_000 });
    for (const instance of [stopped, untouched]) expect(await disownInstance(instance, claim)).toBe(true);
    const fenced = { code: 'instance-fenced' };
    await expect(deleteInstance(stopped, late)).rejects.toMatchObject(fenced);
    await expect(claimInstance(untouched, claim)).rejects.toMatchObject(fenced);
    expect(await readProcess(stopped)).toMatchObject({ state: 'stopped', sha, owner: `${late}/undo` });
    expect(await readProcess(untouched)).toMatchObject({ state: 'running', sha, isAlive: true });
  });

  test('keeps a failed instance for a look', async () => {
    const instance = await anInstance();
    await deploy(instance);
    expect(await markFailed(instance, { expected: null, owner })).toBe(true);
    expect(await markFailed(instance, { expected: null, owner })).toBe(true);
    expect(await readProcess(instance)).toMatchObject({ state: 'failed', isAlive: true });
    await expect(start(instance)).rejects.toMatchObject({ code: 'instance-fenced' });
  });

  test('a stopped act that holds the lock makes others wait and say so', async () => {
    const instance = await anInstance();
    await deploy(instance);
    const { folder } = instanceFiles(instance);
    const holder = spawn('flock', [join(folder, 'lock'), '-c', 'echo held; exec sleep 1000'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(holder.stdout, 'data');
    const host = new ShimmedHost();
    // The real one waits for 5 s.
    await host.replace('flock', 'shift 2; exec "$real" -w 0.3 "$@"');
    await expect(stopInstance({ ...instance, host }, { owner, stopGraceMs: 0 })).rejects.toMatchObject({
      code: 'instance-busy',
      isRetryable: true,
    });
    await host.mend();
    process.kill(-(holder.pid ?? 0), 'SIGKILL');
    await stopInstance(instance, { owner, stopGraceMs: 5_000 });
  });
});

describe('what does not become healthy', () => {
  test('is named at once when it ends, with its last lines', async () => {
    const instance = await anInstance();
    await expect(deploy(instance, { env: { MODE: 'exit' }, deadlineMs: 50_000 })).rejects.toMatchObject({
      code: 'instance-exited',
      message: expect.stringContaining('warns'),
    });
  });

  test('is named after its deadline, with its last answers', async () => {
    const instance = await anInstance();
    await expect(deploy(instance, { path: '/sick', deadlineMs: 1_500 })).rejects.toMatchObject({
      code: 'instance-unhealthy',
      message: expect.stringContaining('500'),
    });
  });

  test('a program that is not there is said in the log', async () => {
    const instance = await anInstance();
    await expect(deploy(instance, { run: ['no-such-program'] })).rejects.toMatchObject({
      code: 'instance-exited',
      message: expect.stringContaining('no-such-program'),
    });
  });

  test('is not started where another process has its address, which is named, with the release that it is', async () => {
    const instance = await anInstance();
    await prepare(instance);
    const { address, port } = instance;
    const other = createServer().listen(port, address);
    await once(other, 'listening');
    const { pid } = process;
    await expect(start(instance)).rejects.toMatchObject({
      code: 'port-in-use',
      args: { listeners: [{ address, isEveryAddress: false, program: { pid }, release: null }] },
    });
    other.close();
    expect((await readProcess(instance)).process).toBe(null);
    const neighbor = { ...(await anInstance('web')), port };
    await prepare(neighbor);
    const { pid: ours } = await start(neighbor, { env: { ON: '::' } });
    await expect.poll(() => checkHealth(neighbor, { path: '/', host: 'www.test' })).toMatchObject({ isHealthy: true });
    const release = { instance: neighbor.name, sha };
    await expect(start(instance)).rejects.toMatchObject({
      code: 'port-in-use',
      args: { listeners: [{ address: '::', isEveryAddress: true, program: { pid: ours }, release }] },
    });
  });

  test.each([
    ['on 0.0.0.0', { ON: '0.0.0.0' }, '0.0.0.0'],
    ['on ::', { ON: '::' }, '[::]'],
    ['by a child, on 0.0.0.0', { MODE: 'everywhere', ON: '0.0.0.0' }, '0.0.0.0'],
    ['by a child in a session of its own, on any address', { MODE: 'everywhere' }, '[::]'],
  ])('is refused and ended where it listens %s', async (_, env, listensOn) => {
    const instance = await anInstance();
    await expect(deploy(instance, { env })).rejects.toMatchObject({
      code: 'instance-listens-everywhere',
      message: expect.stringContaining(`has ${listensOn}:${instance.port} where 127.0.0.1:${instance.port} is its own`),
    });
    expect(await readProcess(instance)).toMatchObject({ state: 'stopped', isAlive: false });
  });

  test('is named with where it listens, if that is another port', async () => {
    const instance = await anInstance();
    const port = await freePort('127.0.0.1');
    const env = { LISTEN: String(port) };
    await expect(deploy(instance, { env, deadlineMs: 1_500 })).rejects.toMatchObject({
      code: 'instance-unhealthy',
      message: expect.stringContaining(`ECONNREFUSED; it listens on 127.0.0.1:${port} instead`),
    });
  });

  test('because its address is taken is told to listen on its own alone', async () => {
    const instance = await anInstance();
    const taken = createServer().listen(await freePort('127.0.0.1'), '127.0.0.1');
    await once(taken, 'listening');
    const bound = taken.address();
    const LISTEN = String(typeof bound === 'object' ? bound?.port : '');
    const failing = deploy(instance, { env: { LISTEN } });
    await expect(failing).rejects.toMatchObject({ code: 'instance-exited', remedy: expect.stringContaining('$HOST') });
    taken.close();
  });

  test('is asked by the host that it is given, since it may allow no other', async () => {
    const allowed = createServer((socket) =>
      socket.once('data', (data) => {
        const isAllowed = /^host: www\.test\r$/im.test(data.toString());
        socket.end(`HTTP/1.1 ${isAllowed ? 200 : 400} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      }),
    ).listen(0, '127.0.0.1');
    await once(allowed, 'listening');
    const place = allowed.address();
    const instance = { ...(await anInstance()), port: typeof place === 'object' ? (place?.port ?? 0) : 0 };
    const health = (host: string) => checkHealth(instance, { path: '/', host });
    expect(await health('www.test')).toEqual({ isHealthy: true, detail: '200' });
    expect(await health('127.0.0.1')).toEqual({ isHealthy: false, detail: '400' });
    allowed.close();
  });

  test('answers why it is not healthy', async () => {
    const instance = await anInstance();
    expect(await checkHealth(instance, { path: '/', host: 'www.test' })).toEqual({
      isHealthy: false,
      detail: 'ECONNREFUSED',
    });
  });
});

describe('a migration', () => {
  const migrate = (instance: Instance, env: Record<string, string>, timeoutMs = 20_000, run = ['sh', 'migrate.sh']) =>
    migrateRelease(instance, { owner, sha, sha256: artifact.sha256, run, env, timeoutMs });

  test('runs in the release with its environment, to its end', async () => {
    const instance = await anInstance();
    await prepare(instance);
    await migrate(instance, { NAME: 'it', CODE: '0' });
    expect(await lastLogLines(instance, 1)).toEqual([`migrates ${sha} it`]);
  });

  test('that fails is told with its output', async () => {
    const instance = await anInstance();
    await prepare(instance);
    await expect(migrate(instance, { NAME: 'it', CODE: '4' })).rejects.toMatchObject({
      code: 'migration-failed',
      args: { exitCode: '4', lines: [`migrates ${sha} it`] },
    });
  });

  test('that takes too long is ended', async () => {
    const instance = await anInstance();
    await prepare(instance);
    await expect(migrate(instance, {}, 1_000, ['sh', '-c', 'echo $$; exec sleep 1000'])).rejects.toMatchObject({
      code: 'migration-timed-out',
    });
    const [pid] = await lastLogLines(instance, 1);
    expect(isRunning(Number(pid))).toBe(false);
  });

  test('waits for one that still runs, and meanwhile nobody claims the instance', async () => {
    const instance = await anInstance();
    await prepare(instance);
    const go = join(folder, 'go');
    const wait = `echo begin >>'${folder}/order'; until [ -e '${go}' ]; do sleep 0.05; done; echo end >>'${folder}/order'`;
    const both = [migrate(instance, {}, 20_000, ['sh', '-c', wait]), migrate(instance, {}, 20_000, ['sh', '-c', wait])];
    await expect.poll(() => existsSync(join(folder, 'order'))).toBe(true);
    await expect(claimInstance(instance, { expected: owner, owner: 'next' })).rejects.toMatchObject({
      code: 'migration-running',
    });
    await writeFile(go, '');
    await Promise.all(both);
    expect(await readFile(join(folder, 'order'), 'utf8')).toBe('begin\nend\nbegin\nend\n');
  });

  test('that comes late, when its own operation has started the release, is refused', async () => {
    const instance = await anInstance();
    await deploy(instance);
    await expect(migrate(instance, { NAME: 'late', CODE: '0' })).rejects.toMatchObject({
      code: 'instance-still-running',
    });
    expect((await lastLogLines(instance, 100)).join()).not.toContain('late');
  });

  test('is ended when its operation is stopped', async () => {
    const instance = await anInstance();
    await prepare(instance);
    const stop = new AbortController();
    const release = { owner, sha, sha256: artifact.sha256 };
    const run = ['sh', '-c', `echo $$; touch '${folder}/began'; exec sleep 1000`];
    const running = migrateRelease(instance, { ...release, run, env: {}, timeoutMs: 60_000, signal: stop.signal });
    await expect.poll(() => existsSync(join(folder, 'began'))).toBe(true);
    stop.abort(new Error('stopped as asked'));
    await expect(running).rejects.toThrow('stopped as asked');
    const [pid] = await lastLogLines(instance, 1);
    await expect.poll(() => isRunning(Number(pid))).toBe(false);
  });
});

describe('the keeper', () => {
  const kept = (instance: Instance) => [{ instance, run, readEnv: async () => ({}) }];

  test('starts again what ended by itself, and counts it', async () => {
    const instance = await anInstance();
    const { pid } = await deploy(instance);
    await markActive('green');
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
    expect(await new InstanceKeeper().keepRunning(kept(instance))).toEqual([{ instance: instance.name, error: null }]);
    const status = await readProcess(instance);
    expect(status).toMatchObject({ restarts: 1, isAlive: true, sha, owner });
    await becomesHealthy(instance, status.process);
  });

  test('ends what it left behind before it is started again', async () => {
    const instance = await anInstance();
    const { pid } = await deploy(instance, { env: { MODE: 'fork' } });
    const child = await childOf(instance);
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
    expect(await new InstanceKeeper().keepRunning(kept(instance))).toMatchObject([{ error: null }]);
    expect((await readProcess(instance)).isAlive).toBe(true);
    await expect.poll(() => isRunning(child)).toBe(false);
  });

  test('waits before it starts again what ends again and again', async () => {
    const instance = await anInstance();
    const { pid } = await deploy(instance);
    const keeper = new InstanceKeeper();
    const crashing = [{ instance, run, readEnv: async () => ({ MODE: 'exit' }) }];
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
    await keeper.keepRunning(crashing);
    await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
    await keeper.keepRunning(crashing);
    expect(await readProcess(instance)).toMatchObject({ restarts: 1, state: 'starting' });
    await expect
      .poll(
        async () => {
          await keeper.keepRunning(crashing);
          return (await readProcess(instance)).restarts;
        },
        { timeout: 20_000 },
      )
      .toBe(2);
  });

  test.each(isWhole ? ['stopped', 'failed', 'claimed'] : ['stopped', 'claimed'])(
    'leaves alone what is %s',
    async (how) => {
      const instance = await anInstance();
      const { pid } = await deploy(instance);
      if (how === 'failed') await markFailed(instance, { expected: null, owner });
      if (how === 'stopped') await stopInstance(instance, { owner, stopGraceMs: 5_000 });
      else process.kill(pid, 'SIGKILL');
      if (how === 'claimed') await claimInstance(instance, { expected: owner, owner: 'next' });
      await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
      expect(await new InstanceKeeper().keepRunning(kept(instance))).toEqual([]);
      expect((await readProcess(instance)).isAlive).toBe(false);
    },
  );

  test('goes on with the others where one cannot be started', async () => {
    const broken = await anInstance('api', 'blue');
    const instance = await anInstance();
    for (const one of [broken, instance]) process.kill((await deploy(one)).pid, 'SIGKILL');
    await expect.poll(async () => (await readProcess(instance)).isAlive).toBe(false);
    await rm(instanceFiles(broken).releases, { recursive: true });
    const events = await new InstanceKeeper().keepRunning([...kept(broken), ...kept(instance)]);
    expect(events).toMatchObject([
      { instance: broken.name, error: { code: 'instance-release-missing' } },
      { instance: instance.name, error: null },
    ]);
  });
});

describe('releases', () => {
  test('of the next deploy take the place, and old ones go but never the one in use', async () => {
    const instance = await anInstance();
    await deploy(instance);
    const next = await pack('second', { 'server.mjs': `${server}// next` });
    const nextOwner = 'demo/prod/deploy/2';
    await recreateInstance(instance, { expected: owner, owner: nextOwner, stopGraceMs: 5_000 });
    await prepareRelease(instance, { owner: nextOwner, sha: 'bbbbbbb2', sha256: next.sha256, artifact: next.file });
    expect(await readProcess(instance)).toMatchObject({ sha: 'bbbbbbb2', state: 'stopped' });
    // What the one before wrote is not shown as its last lines.
    expect(await lastLogLines(instance, 5)).toEqual([]);
    const { releases } = instanceFiles(instance);
    await mkdir(join(releases, '.unpacked-left'));
    await pruneReleases(instance, { owner: nextOwner, kept: 2 });
    expect((await readdir(releases)).length).toBe(2);
    await pruneReleases(instance, { owner: nextOwner, kept: 0 });
    expect(await readdir(releases)).toEqual([`bbbbbbb2-${next.sha256.slice(0, 12)}`]);
  });

  test('go with their instance, whose owner stays on record', async () => {
    const instance = await anInstance();
    await deploy(instance);
    await expect(deleteInstance(instance, owner)).rejects.toMatchObject({ code: 'instance-still-running' });
    await stopInstance(instance, { owner, stopGraceMs: 5_000 });
    await deleteInstance(instance, owner);
    expect(await readProcess(instance)).toMatchObject({ owner, sha: null, state: 'empty' });
    expect(existsSync(instanceFiles(instance).releases)).toBe(false);
    await expect(claimInstance(instance, { expected: null, owner: 'late' })).rejects.toMatchObject({
      code: 'instance-fenced',
    });
  });
});

test('a damaged record is an error, and nothing is guessed from it', async () => {
  const instance = await anInstance();
  await deploy(instance);
  const { record } = instanceFiles(instance);
  const before = await readFile(record, 'utf8');
  await writeFile(record, before.replace(/^pid=.*$/m, 'pid=-1'));
  await expect(readProcess(instance)).rejects.toMatchObject({ code: 'instance-record-damaged' });
  await writeFile(record, before);
});

const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
/** Starts an instance, prints its process and stays: the worker that is killed. */
const parentProgram = `
import { LocalHost } from ${source('hosts/local.ts')};
import { startInstance } from ${source('instances/process.ts')};
const { place, start } = JSON.parse(process.argv[1]);
console.log(JSON.stringify(await startInstance({ host: new LocalHost(), ...place }, start)));
setInterval(() => {}, 60_000);
`;

/** Has each file of /nowhere where the tests have theirs. */
class OtherHost extends LocalHost {
  override readState(path: string): Promise<string | null> {
    return super.readState(path.replace(/^\/nowhere/, folder));
  }
}

async function anInstance(component = 'api', color: 'blue' | 'green' = 'green'): Promise<Instance> {
  const address = '127.0.0.1';
  const name = `demo-${component}-${color}`;
  const place = {
    host: new LocalHost(),
    name,
    environment: 'prod',
    component,
    color,
    address,
    port: await freePort(address),
  };
  const instance = { ...place, directory: join(folder, 'instances'), edgeConfig: join(folder, 'haproxy.cfg') };
  started.push(instance);
  return instance;
}

async function prepare(instance: Instance): Promise<void> {
  await recreateInstance(instance, { expected: null, owner, stopGraceMs: 5_000 });
  await prepareRelease(instance, { owner, sha, sha256: artifact.sha256, artifact: artifact.file });
}

function start(instance: Instance, program: { run?: string[]; env?: Record<string, string> } = {}) {
  return startInstance(instance, { owner, sha, sha256: artifact.sha256, run, env: {}, ...program });
}

async function deploy(
  instance: Instance,
  options: { run?: string[]; env?: Record<string, string>; path?: string; deadlineMs?: number } = {},
) {
  const { path = '/', deadlineMs = 30_000, ...program } = options;
  await prepare(instance);
  const process = await start(instance, program);
  await waitHealthy(instance, {
    owner,
    process,
    path,
    host: 'www.test',
    intervalMs: 50,
    rise: 2,
    deadlineMs,
    stopGraceMs: 500,
  });
  return process;
}

/** Pid of what its program has started. */
async function childOf(instance: Instance): Promise<number> {
  return Number((await lastLogLines(instance, 20)).find((line) => line.startsWith('child'))?.slice(6));
}

async function becomesHealthy(instance: Instance, process: Parameters<typeof markHealthy>[2] | null): Promise<void> {
  if (!process) throw new Error('no process is on record');
  await waitHealthy(instance, {
    owner,
    process,
    path: '/',
    host: 'www.test',
    intervalMs: 50,
    rise: 1,
    deadlineMs: 30_000,
    stopGraceMs: 500,
  });
}

async function ask(instance: Instance): Promise<{ environment: string[]; cwd: string; pid: number }> {
  const answer = await fetch(`http://${instance.address}:${instance.port}/`, { headers: { connection: 'close' } });
  return (await answer.json()) as { environment: string[]; cwd: string; pid: number };
}

async function markActive(color: string): Promise<void> {
  const header = `# bascule project=demo generation=1 digest=x\n# environment name=prod color=${color} sha=${sha} standby=none\n`;
  await writeFile(join(folder, 'haproxy.cfg'), header);
}

/** Names and sizes of all files of an instance, and its record. */
async function everythingIn(instance: Instance): Promise<unknown> {
  const { folder, record } = instanceFiles(instance);
  return { names: (await readdir(folder, { recursive: true })).sort(), record: await readFile(record, 'utf8') };
}

async function sessionsIn(instance: Instance): Promise<number> {
  const { releases } = instanceFiles(instance);
  const script = `for p in /proc/[0-9]*; do case $(readlink $p/cwd 2>/dev/null) in "${releases}"/*) echo $p ;; esac; done`;
  const { stdout } = await instance.host.run(['sh', '-c', script], { timeoutMs: 10_000 });
  return stdout.split('\n').filter(Boolean).length;
}

/** A zombie, which its parent has not looked after yet, does not run. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function pack(name: string, files: Record<string, string>): Promise<{ file: string; sha256: string }> {
  const content = join(folder, name);
  await mkdir(content, { recursive: true });
  for (const [path, text] of Object.entries(files)) await writeFile(join(content, path), text);
  const file = join(folder, `${name}.tar.gz`);
  await create({ cwd: content, file, gzip: true }, ['.']);
  return {
    file,
    sha256: createHash('sha256')
      .update(await readFile(file))
      .digest('hex'),
  };
}
