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

/** Starts HAProxy in master-worker mode, and waits until it serves. */
export async function startHaproxy(places: HaproxyPlaces, text: string): Promise<Haproxy> {
  await writeFile(places.config, text);
  const process = execa('haproxy', ['-W', '-S', places.masterSocket, '-f', places.config], {
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

async function untilServedByAnother(worker: () => Promise<number>, before: number): Promise<void> {
  await vi.waitFor(
    async () => {
      if ([0, before].includes(await worker())) throw new Error('no new HAProxy worker answers');
    },
    { timeout: 10_000, interval: 20 },
  );
}
