import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { endProcesses, removeDaemon } from './remains.js';

/** Incus's daemon, with everything of it in one folder, and a Debian image. */
export interface EmptyIncusd {
  readonly directory: string;
  /** Variables by which Incus's own client, and Bascule, find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Alias of the image: Debian with systemd, HAProxy and socat. */
  readonly image: string;
}

/** One with a bridge. */
export interface Incusd extends EmptyIncusd {
  /** Name and address of its bridge: where containers reach this machine. */
  readonly bridge: { readonly name: string; readonly address: string };
}

const program = '/usr/libexec/incus/incusd';
const image = 'debian';
const buildImage = fileURLToPath(new URL('build-image', import.meta.url));
const images = fileURLToPath(new URL('../../../.tools/incus', import.meta.url));

/** Starts a daemon beside whatever else the machine has, with storage and a bridge. */
export async function startIncusd(): Promise<Incusd> {
  const incusd = await startEmptyIncusd();
  try {
    const { env } = incusd;
    const bridge = { name: newBridge(), address: await freeSubnet() };
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
export async function startEmptyIncusd(): Promise<EmptyIncusd> {
  if (!existsSync(program))
    throw new Error('Incus is not installed: `script/setup --incus` installs it (Debian, root)');
  const file = await imageFile();
  // `test/run/clean.ts` knows it by this name.
  const directory = await mkdtemp(join(tmpdir(), 'bascule-incus-'));
  // Containers' root is another user here, who has to pass.
  await chmod(directory, 0o711);
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

/** Removes all that a daemon had: containers, networks, mounts and files. */
export const stopIncusd = removeDaemon;

/** Runs Incus's own client and answers its stdout. */
export async function incus(env: Incusd['env'], ...args: readonly string[]): Promise<string> {
  const { stdout } = await execa('incus', args, { env, stdin: 'ignore' });
  return stdout;
}

/** Ends the daemon as a crash would; containers go on, and their addresses are still given out. */
export async function killDaemon({ directory }: Pick<Incusd, 'directory'>): Promise<void> {
  await endProcesses(({ command }) => command.includes(` --logfile ${logOf(directory)}`));
}

/** Starts the daemon of a folder and waits until it answers. */
export async function startDaemon(directory: string): Promise<void> {
  const env = variablesOf(directory);
  await mkdir(env.INCUS_DIR, { recursive: true, mode: 0o711 });
  const options = { env: { ...process.env, ...env }, detached: true, stdio: 'ignore' } as const;
  spawn(program, ['--group', 'root', '--logfile', logOf(directory)], options).unref();
  await execa('incus', ['admin', 'waitready', '--timeout', '60'], { env });
}

const logOf = (directory: string): string => join(directory, 'incusd.log');

const variablesOf = (directory: string) => ({
  INCUS_DIR: join(directory, 'incus'),
  INCUS_SOCKET: join(directory, 'incus', 'unix.socket'),
  INCUS_CONF: join(directory, 'client'),
});

/** The image, built once for each content of the script that builds it. */
async function imageFile(): Promise<string> {
  const digest = createHash('sha256')
    .update(await readFile(buildImage))
    .digest('hex')
    .slice(0, 12);
  const file = join(images, `debian-${digest}.tar.gz`);
  if (existsSync(file)) return file;
  await rm(images, { recursive: true, force: true });
  await mkdir(images, { recursive: true });
  console.log('building an image of Debian for Incus: takes a minute or two, once');
  await execa(buildImage, [`${file}.partial`], { stdio: ['ignore', 'inherit', 'inherit'] });
  await rename(`${file}.partial`, file);
  return file;
}

/** A name for a bridge, which is one of all of Linux. */
export const newBridge = (): string => `bsc${randomBytes(4).toString('hex')}`;

/** Address of this machine in a /24 that it has no route to. */
export async function freeSubnet(): Promise<string> {
  const routes = await readFile('/proc/net/fib_trie', 'utf8');
  for (let tries = 0; tries < 100; tries += 1) {
    const network = `10.${randomInt(64, 224)}.${randomInt(0, 256)}`;
    if (!routes.includes(`${network}.`)) return `${network}.1`;
  }
  throw new Error('no free subnet found in 10.0.0.0/8');
}
