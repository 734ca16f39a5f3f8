import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { identityOf, isProcessAlive, ownIdentity, type ProcessIdentity } from '../../../src/hosts/process-identity.js';
import { until } from '../../rig/chaos.js';

/** Incus's daemon, with everything of it in one folder, a bridge and a Debian image. */
export interface Incusd {
  readonly directory: string;
  /** Variables by which Incus's own client, and Bascule, find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Name and address of its bridge: where containers reach this machine. */
  readonly bridge: { readonly name: string; readonly address: string };
  /** Alias of the image: Debian with systemd, HAProxy and socat. */
  readonly image: string;
}

const prefix = 'bascule-incus-';
const program = '/usr/libexec/incus/incusd';
const image = 'debian';
const buildImage = fileURLToPath(new URL('build-image', import.meta.url));
const tools = fileURLToPath(new URL('../../../.tools', import.meta.url));
const endsWithinMs = 30_000;

/** Starts a daemon beside whatever else the machine has, with a bridge. Ends first what a run that was killed has left. */
export async function startIncusd(): Promise<Incusd> {
  await endAbandoned();
  const incusd = await startEmptyIncusd();
  try {
    const { env } = incusd;
    const bridge = { name: `bsc${randomBytes(4).toString('hex')}`, address: await freeSubnet() };
    await incus(env, 'storage', 'create', 'default', 'dir');
    await incus(
      env,
      ...['network', 'create', bridge.name, `ipv4.address=${bridge.address}/24`, 'ipv4.nat=false'],
      ...['ipv6.address=none', 'dns.domain=lxd'],
    );
    await incus(env, 'profile', 'device', 'add', 'default', 'root', 'disk', 'path=/', 'pool=default');
    await incus(env, 'profile', 'device', 'add', 'default', 'eth0', 'nic', `network=${bridge.name}`, 'name=eth0');
    return { ...incusd, bridge };
  } catch (error) {
    await stopIncusd(incusd.directory);
    throw error;
  }
}

/** One as the package leaves it: with neither storage nor network, and the image. */
export async function startEmptyIncusd(): Promise<Omit<Incusd, 'bridge'>> {
  if (!existsSync(program)) throw new Error('Incus is not installed: `make test-incus` installs it (Debian, root)');
  const file = await imageFile();
  const directory = await mkdtemp(join(tmpdir(), prefix));
  // Containers' root is another user here, who has to pass.
  await chmod(directory, 0o711);
  await writeFile(join(directory, 'owner.json'), JSON.stringify(await ownIdentity()));
  try {
    const env = variablesOf(directory);
    await startDaemon(directory);
    await incus(env, 'image', 'import', file, '--alias', image);
    return { directory, env, image };
  } catch (error) {
    await stopIncusd(directory);
    throw error;
  }
}

/** Runs Incus's own client and answers its stdout. */
export async function incus(env: Incusd['env'], ...args: readonly string[]): Promise<string> {
  const { stdout } = await execa('incus', args, { env, stdin: 'ignore' });
  return stdout;
}

/** Ends the daemon as a crash would; containers go on, and their addresses are still given out. */
export async function killDaemon({ directory }: Pick<Incusd, 'directory'>): Promise<void> {
  await endProcess(await readIdentity(join(directory, 'daemon.json')), 'SIGKILL');
}

/** Starts the daemon of a folder and waits until it answers. */
export async function startDaemon(directory: string): Promise<void> {
  const env = variablesOf(directory);
  await mkdir(env.INCUS_DIR, { recursive: true, mode: 0o711 });
  const daemon = spawn(program, ['--group', 'root', '--logfile', join(directory, 'incusd.log')], {
    env: { ...process.env, ...env },
    detached: true,
    stdio: 'ignore',
  });
  daemon.unref();
  const identity = await identityOf(daemon.pid ?? 0);
  await writeFile(join(directory, 'daemon.json'), JSON.stringify(identity));
  await execa('incus', ['admin', 'waitready', '--timeout', '60'], { env });
}

/** Removes all that a daemon had: containers, network, its name server, mounts and files. */
export async function stopIncusd(directory: string): Promise<void> {
  const env = variablesOf(directory);
  const daemon = await readIdentity(join(directory, 'daemon.json'));
  if (daemon !== null && !(await isProcessAlive(daemon))) await startDaemon(directory).catch(() => undefined);
  const bridges = await readdir(join(env.INCUS_DIR, 'networks')).catch(() => []);
  await removeAll(env).catch((error: unknown) => console.error('what Incus had could not be removed:', error));
  const nameServers = await nameServersOf(env.INCUS_DIR);
  await endProcess(await readIdentity(join(directory, 'daemon.json')), 'SIGTERM');
  for (const server of nameServers) await endProcess(server, 'SIGKILL');
  // Where the daemon of another test took a network card away at the same time, Incus may leave its bridge.
  for (const bridge of bridges) await execa('ip', ['link', 'delete', bridge], { reject: false });
  for (const path of (await mountsBelow(directory)).reverse()) await execa('umount', ['-l', path], { reject: false });
  await rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

const variablesOf = (directory: string) => ({
  INCUS_DIR: join(directory, 'incus'),
  INCUS_SOCKET: join(directory, 'incus', 'unix.socket'),
  INCUS_CONF: join(directory, 'client'),
});

/** With all that it has; the command would ask whether that is meant. */
export async function removeProject(env: Incusd['env'], project: string): Promise<void> {
  await incus(env, 'query', '--request', 'DELETE', `/1.0/projects/${project}?force=1`);
}

async function removeAll(env: Incusd['env']): Promise<void> {
  const projects = JSON.parse(await incus(env, 'project', 'list', '--format', 'json')) as { name: string }[];
  for (const { name: project } of projects) {
    const list = await incus(env, 'list', '--project', project, '--format', 'json');
    const names = (JSON.parse(list) as { name: string }[]).map(({ name }) => name);
    if (names.length > 0) await incus(env, 'delete', '--project', project, '--force', ...names);
    if (project !== 'default') await removeProject(env, project);
  }
  await incus(env, 'profile', 'device', 'remove', 'default', 'eth0').catch(() => undefined);
  const networks = JSON.parse(await incus(env, 'network', 'list', '--format', 'json')) as {
    name: string;
    managed: boolean;
  }[];
  for (const { name, managed } of networks) {
    if (!managed) continue;
    // Incus looks at every network card of the machine, and fails where another daemon takes one away meanwhile.
    await until(`${name} is removed`, async () => {
      const { exitCode } = await execa('incus', ['network', 'delete', name], { env, stdin: 'ignore', reject: false });
      return exitCode === 0;
    });
  }
}

async function nameServersOf(incusDirectory: string): Promise<readonly ProcessIdentity[]> {
  const folder = join(incusDirectory, 'networks');
  const names = await readdir(folder).catch(() => []);
  const found = names.map(async (name) => {
    const text = await readFile(join(folder, name, 'dnsmasq.pid'), 'utf8').catch(() => '');
    const pid = Number(/pid: (\d+)/.exec(text)?.[1] ?? 0);
    return pid === 0 ? null : await identityOf(pid);
  });
  return (await Promise.all(found)).filter((identity) => identity !== null);
}

async function endProcess(identity: ProcessIdentity | null, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (identity === null || !(await isProcessAlive(identity))) return;
  process.kill(identity.pid, signal);
  const hasEnded = async () => !(await isProcessAlive(identity));
  if (signal === 'SIGKILL') await until('it is ended', hasEnded);
  else {
    await until('it has ended', hasEnded, endsWithinMs).catch(async () => await endProcess(identity, 'SIGKILL'));
  }
}

async function mountsBelow(directory: string): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  return mounts.map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${directory}/`));
}

/** The image, built once for each content of the script that builds it. */
async function imageFile(): Promise<string> {
  const digest = createHash('sha256')
    .update(await readFile(buildImage))
    .digest('hex')
    .slice(0, 12);
  const file = join(tools, 'incus', `debian-${digest}.tar.gz`);
  if (existsSync(file)) return file;
  await rm(join(tools, 'incus'), { recursive: true, force: true });
  await mkdir(join(tools, 'incus'), { recursive: true });
  console.log('building an image of Debian for Incus: takes a minute or two, once');
  await execa(buildImage, [`${file}.partial`], { stdio: ['ignore', 'inherit', 'inherit'] });
  await rename(`${file}.partial`, file);
  return file;
}

/** Address of this machine in a /24 that it has no route to. */
export async function freeSubnet(): Promise<string> {
  const { stdout: routes } = await execa('sh', ['-c', 'cat /proc/net/fib_trie']);
  for (let tries = 0; tries < 100; tries += 1) {
    const network = `10.${randomInt(64, 224)}.${randomInt(0, 256)}`;
    if (!routes.includes(`${network}.`)) return `${network}.1`;
  }
  throw new Error('no free subnet found in 10.0.0.0/8');
}

/** What a run left that was killed. */
async function endAbandoned(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter((each) => each.startsWith(prefix))) {
    const directory = join(tmpdir(), name);
    const owner = await readIdentity(join(directory, 'owner.json'));
    // One without an owner is about to get one, and has nothing to end yet.
    if (owner !== null && !(await isProcessAlive(owner))) await stopIncusd(directory);
  }
}

async function readIdentity(file: string): Promise<ProcessIdentity | null> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ProcessIdentity;
  } catch {
    return null;
  }
}
