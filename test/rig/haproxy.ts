import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { vi } from 'vitest';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { readRunning } from '../../src/haproxy/runtime.js';

export interface HaproxyPlaces {
  readonly folder: string;
  readonly config: string;
  readonly socket: string;
  readonly masterSocket: string;
}

export interface Haproxy extends HaproxyPlaces {
  /** Of the master. */
  readonly pid: number;
  /** All that it has written to its standard output. */
  output(): string;
  /** Writes another configuration, sends HUP and waits until a new worker serves it. */
  reload(text: string): Promise<void>;
  /** Ends it with all its workers, and removes its folder. */
  stop(): Promise<void>;
}

/** The folder whose `haproxy` is 2.8, to be put first on a PATH. */
export async function newerHaproxyFolder(): Promise<string> {
  const link = fileURLToPath(new URL('../../.tools/bin/haproxy-2.8', import.meta.url));
  return dirname(await realpath(link));
}

/** Places for a HAProxy in a new folder; the path is short, as Unix sockets need it. */
export async function haproxyPlaces(): Promise<HaproxyPlaces> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-'));
  return {
    folder,
    config: join(folder, 'haproxy.cfg'),
    socket: join(folder, 'haproxy.sock'),
    masterSocket: join(folder, 'master.sock'),
  };
}

/**
 * Starts HAProxy in master-worker mode, and waits until it serves.
 *
 * @param nameServer the only one that it is to ask for names, in place of the machine's; needs root
 */
export async function startHaproxy(
  places: HaproxyPlaces,
  text: string,
  { nameServer }: { readonly nameServer?: string } = {},
): Promise<Haproxy> {
  await writeFile(places.config, text);
  const command = ['haproxy', '-W', '-S', places.masterSocket, '-f', places.config];
  const [program = '', ...args] = nameServer ? await withNameServer(places, nameServer, command) : command;
  const process = execa(program, args, {
    all: true,
    reject: false,
  });
  const { pid } = process;
  if (pid === undefined) throw new Error((await process).shortMessage);
  let output = '';
  process.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  let ended: string | null = null;
  const end = process.then((result) => {
    ended = result.all;
  });
  const worker = async () => {
    if (ended !== null) throw new Error(`HAProxy ended: ${ended}`);
    return (await readRunning(places.socket, 0))?.pid ?? 0;
  };
  await untilServedByAnother(worker, 0);
  return {
    ...places,
    pid,
    output: () => output,
    reload: async (next) => {
      const before = await worker();
      await writeFile(places.config, next);
      // A master that does not answer yet loses the signal.
      if ((await readWorkers(places.masterSocket)) === null) throw new Error('no HAProxy master answers');
      process.kill('SIGHUP');
      await untilServedByAnother(worker, before);
    },
    stop: async () => {
      process.kill('SIGTERM');
      await end;
      await rm(places.folder, { recursive: true, force: true });
    },
  };
}

/** A command that sees another /etc/resolv.conf than the rest of the machine, as the very same process. */
async function withNameServer(
  { folder }: HaproxyPlaces,
  nameServer: string,
  command: readonly string[],
): Promise<readonly string[]> {
  const file = join(folder, 'resolv.conf');
  await writeFile(file, `nameserver ${nameServer}\noptions timeout:1 attempts:1\n`);
  const script = 'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"';
  return ['unshare', '--mount', 'sh', '-c', script, file, ...command];
}

async function untilServedByAnother(worker: () => Promise<number>, before: number): Promise<void> {
  await vi.waitFor(
    async () => {
      if ([0, before].includes(await worker())) throw new Error('no new HAProxy worker answers');
    },
    { timeout: 10_000, interval: 20 },
  );
}
