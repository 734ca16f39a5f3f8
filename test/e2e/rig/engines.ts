import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { identityOf, isProcessAlive, ownIdentity, type ProcessIdentity } from '../../../src/hosts/process-identity.js';

export type EngineName = 'docker' | 'podman';

/** An engine for containers with a store of its own in one folder; it makes no bridge and no firewall rule. */
export interface Engine {
  readonly name: EngineName;
  /** Variables by which other clients find it; of Docker alone. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs the engine's own command. The result has the exit code; it does not throw. */
  command(...args: readonly string[]): ReturnType<typeof run>;
  /** Runs it and answers its stdout. Throws where it fails. */
  succeed(...args: readonly string[]): Promise<string>;
  /** Options of `build` and `run` by which all that they start is counted to this engine. */
  readonly options: { readonly build: readonly string[]; readonly run: readonly string[] };
  /** Removes its containers, images, mounts, control groups and files, and ends its daemon. */
  stop(): Promise<void>;
}

const prefix = 'bascule-engine-';
const root = fileURLToPath(new URL('../../../', import.meta.url));
const buildBase = fileURLToPath(new URL('build-base', import.meta.url));
const readyWithinMs = 60_000;
const endsWithinMs = 60_000;

/** Starts an engine that has the Dockerfile's base image. First removes what a run that was killed has left. */
export async function startEngine(name: EngineName): Promise<Engine> {
  await stopAbandonedEngines();
  const base = await baseImage();
  const directory = await mkdtemp(join(tmpdir(), `${prefix}${name}-`));
  await writeFile(join(directory, 'owner.json'), JSON.stringify(await ownIdentity()));
  const engine = engineIn(directory);
  try {
    await configure(directory);
    if (name === 'docker') await startDaemon(directory);
    await engine.succeed(
      ...['import', '--change', 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...['--change', 'CMD ["node"]', base.file, base.tag],
    );
    return engine;
  } catch (error) {
    await engine.stop();
    throw error;
  }
}

/** Removes what a run left that was killed: daemon, containers, builds, mounts, control groups and files. */
export async function stopAbandonedEngines(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter((each) => each.startsWith(prefix))) {
    const directory = join(tmpdir(), name);
    const owner = await readIdentity(join(directory, 'owner.json'));
    // One without an owner is about to get one, and has nothing to stop yet.
    if (owner !== null && !(await isProcessAlive(owner))) await stopEngine(directory);
  }
}

const run = (program: string, args: readonly string[], env: Readonly<Record<string, string>>) =>
  execa(program, args, { env, cwd: root, stdin: 'ignore', reject: false, all: true });

const nameOf = (directory: string): EngineName =>
  basename(directory).startsWith(`${prefix}docker-`) ? 'docker' : 'podman';

function engineIn(directory: string): Engine {
  const name = nameOf(directory);
  const group = ['--cgroup-parent', `/${basename(directory)}`];
  const env: Record<string, string> =
    name === 'docker'
      ? { DOCKER_HOST: `unix://${join(directory, 'socket')}`, DOCKER_CONFIG: join(directory, 'client') }
      : {
          CONTAINERS_CONF: join(directory, 'containers.conf'),
          CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf'),
        };
  const global = name === 'docker' ? [] : ['--tmpdir', join(directory, 'tmp')];
  const command = (...args: readonly string[]) => run(name, [...global, ...args], env);
  return {
    name,
    env,
    command,
    succeed: async (...args) => {
      const { exitCode, stdout, all } = await command(...args);
      if (exitCode !== 0) throw new Error(`${name} ${args.join(' ')} exited with ${exitCode}: ${all}`);
      return stdout;
    },
    // Docker has the group from its daemon: BuildKit does not take the option.
    options: { build: name === 'docker' ? [] : group, run: group },
    stop: () => stopEngine(directory),
  };
}

async function configure(directory: string): Promise<void> {
  await mkdir(join(directory, 'client'));
  const limits = await readFile('/proc/self/limits', 'utf8');
  const files = /^Max open files +\S+ +(\d+)/m.exec(limits)?.[1] ?? '1024';
  // Not what this machine has in /etc/docker.
  await writeFile(join(directory, 'daemon.json'), '{}');
  await writeFile(
    join(directory, 'containers.conf'),
    `[containers]
# Podman asks for more than root may have in a sandbox. HAProxy needs some 8,000 files.
default_ulimits = ["nofile=${files}:${files}", "nproc=4096:4096"]
[engine]
# crun refuses machines that have both versions of cgroups.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
# Else all of root's containers, whatever their store, share one table in /dev/shm.
lock_type = "file"
[network]
network_config_dir = "${join(directory, 'networks')}"
`,
  );
  await writeFile(
    join(directory, 'storage.conf'),
    `[storage]
driver = "overlay"
graphroot = "${join(directory, 'data')}"
runroot = "${join(directory, 'run')}"
`,
  );
}

/** Docker's daemon, ready. Its containers use the network of this machine, so it needs none of its own. */
async function startDaemon(directory: string): Promise<void> {
  const log = { file: join(directory, 'dockerd.log'), append: true } as const;
  const daemon = execa(
    'dockerd',
    [
      ...['--host', `unix://${join(directory, 'socket')}`, '--config-file', join(directory, 'daemon.json')],
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'run')],
      ...['--pidfile', join(directory, 'dockerd.pid'), '--cgroup-parent', `/${basename(directory)}`],
      ...['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
    ],
    { stdin: 'ignore', stdout: log, stderr: log, reject: false, forceKillAfterDelay: false },
  );
  await writeFile(join(directory, 'daemon-process.json'), JSON.stringify(await identityOf(daemon.pid ?? 0)));
  let ended = false;
  void daemon.then(() => {
    ended = true;
  });
  const { command } = engineIn(directory);
  const answers = async () => ended || (await command('version')).exitCode === 0;
  await until("Docker's daemon answers", answers, readyWithinMs);
  if (ended) throw new Error(`Docker's daemon ended: ${await readFile(log.file, 'utf8')}`);
}

export async function stopEngine(directory: string): Promise<void> {
  const { name, command } = engineIn(directory);
  const daemonOf = () => readIdentity(join(directory, 'daemon-process.json'));
  if (name === 'docker') {
    const daemon = await daemonOf();
    // Only a daemon ends what the one before has left running.
    if (daemon !== null && !(await isProcessAlive(daemon))) await startDaemon(directory).catch(() => undefined);
  }
  const { stdout: containers } = await command('ps', '--all', '--quiet');
  const ids = containers.split('\n').filter((id) => id !== '');
  if (ids.length > 0) await command('rm', '--force', '--volumes', ...ids);
  await endProcess(await daemonOf());
  await killLeft(basename(directory));
  for (const path of (await mountsBelow(directory)).reverse()) await execa('umount', ['-l', path], { reject: false });
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  await removeControlGroups(basename(directory));
  // Of Podman's own processes; Linux refuses while another store's are in it.
  if (name === 'podman') await removeControlGroups('libpod_parent');
}

async function endProcess(identity: ProcessIdentity | null): Promise<void> {
  if (identity === null || !(await isProcessAlive(identity))) return;
  process.kill(identity.pid, 'SIGTERM');
  const untilEnded = () =>
    until(`process ${identity.pid} has ended`, async () => !(await isProcessAlive(identity)), endsWithinMs);
  await untilEnded().catch(async () => {
    process.kill(identity.pid, 'SIGKILL');
    await untilEnded();
  });
}

/** Not that of vitest, so that this can also run where a run of tests was cut off. */
async function until(what: string, isSo: () => Promise<boolean>, withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs / 1_000} s: ${what}`);
    await sleep(100);
  }
}

/** Ends what goes on without its engine: a build, or what watches over a container. Each names its folder or its group. */
async function killLeft(name: string): Promise<void> {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0);
  for (const pid of pids) {
    const texts = ['cmdline', 'cgroup'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => ''));
    if (!(await Promise.all(texts)).some((text) => text.includes(name))) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

async function mountsBelow(directory: string): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  return mounts.map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${directory}/`));
}

/** The engines leave the group above those of the containers, one in each hierarchy. */
async function removeControlGroups(name: string): Promise<void> {
  const mounted = '/sys/fs/cgroup';
  const hierarchies = await readdir(mounted).catch(() => []);
  for (const group of [join(mounted, name), ...hierarchies.map((each) => join(mounted, each, name))]) {
    const below = await readdir(group, { recursive: true, withFileTypes: true }).catch(() => []);
    const folders = below.filter((each) => each.isDirectory()).map((each) => join(each.parentPath, each.name));
    for (const folder of [...folders.toSorted().reverse(), group]) await rmdir(folder).catch(() => undefined);
  }
}

async function readIdentity(file: string): Promise<ProcessIdentity | null> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}

/**
 * What stands in for the base image that the Dockerfile names, under its name: a tar, built once for each version and
 * each content of the script that builds it, with what npm is told on this machine.
 */
async function baseImage(): Promise<{ readonly file: string; readonly tag: string }> {
  const [, image, version] =
    /^FROM (node:(\d+\.\d+\.\d+)-bookworm-slim)/m.exec(await readFile(join(root, 'Dockerfile'), 'utf8')) ?? [];
  if (image === undefined || version === undefined)
    throw new Error('the Dockerfile is not built on node:…-bookworm-slim');
  const { stdout: authorities } = await execa('npm', ['config', 'get', 'cafile']);
  const { stdout: settings } = await execa('npm', ['config', 'get', 'registry', 'proxy', 'https-proxy', 'noproxy']);
  const digest = createHash('sha256')
    .update(await readFile(buildBase))
    .update(settings);
  if (existsSync(authorities)) digest.update(await readFile(authorities));
  const tools = join(root, '.tools', 'docker');
  const file = join(tools, `node-${version}-${digest.digest('hex').slice(0, 12)}.tar`);
  // Podman does not take a name without its registry for one that it has.
  const tag = `docker.io/library/${image}`;
  if (existsSync(file)) return { file, tag };
  await rm(tools, { recursive: true, force: true });
  await mkdir(tools, { recursive: true });
  console.log(`building a base image for ${image}: takes a minute or two, once`);
  await execa(buildBase, [`${file}.partial`, version], { stdio: ['ignore', 'inherit', 'inherit'] });
  await rename(`${file}.partial`, file);
  return { file, tag };
}
