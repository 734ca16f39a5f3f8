import { constants } from 'node:fs';
import { access, open, readdir, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { BindAddress } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';
import { hasSystemCode } from '../system-error.js';
import type { Destination, Host, HostProcess, Listener, RunOptions, RunResult } from './host.js';
import { listeningSockets, overlaps, withProcesses } from './listeners.js';
import { isFreeForHaproxy } from './low-ports.js';
import { createPrivately, writePrivately } from './private-files.js';
import { processesOf } from './processes.js';
import { writing } from './writing.js';

/** How long what was told to end has for it. */
const endsWithinMs = 1_000;
const pollMs = 20;

/** Debian keeps haproxy where only root's PATH looks. */
const systemFolders = '/usr/local/sbin:/usr/sbin:/sbin';
const programPath = (): string => `${process.env.PATH ?? ''}:${systemFolders}`;

/** The machine that this process runs on. */
export class LocalHost implements Host {
  readonly name: string = 'localhost';

  async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    const [program, ...args] = argv;
    const command = execa(program, args, {
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
      ...(options.signal ? { cancelSignal: options.signal } : {}),
      env: { PATH: programPath(), ...options.env },
      cleanup: false,
      detached: true,
      reject: false,
    });
    options.onStarted?.();
    // Its own time limit would wait for whatever holds its stdout.
    const ended = new AbortController();
    let isTooLong = false;
    const timeLimit = sleep(options.timeoutMs, undefined, { signal: ended.signal }).then(async () => {
      isTooLong = true;
      await endGroup(command.pid);
    });
    const result = await Promise.race([
      command,
      timeLimit.then(
        () => null,
        () => command,
      ),
    ]);
    ended.abort();
    if (isTooLong || !result) {
      options.signal?.throwIfAborted();
      throw new BasculeError('command-timed-out', { host: this.name, program, timeoutMs: options.timeoutMs });
    }
    if (result.isCanceled) options.signal?.throwIfAborted();
    if (result.exitCode === undefined) {
      if (result.code === 'ENOENT') throw new BasculeError('command-not-found', { host: this.name, program });
      throw new BasculeError('command-ended', {
        host: this.name,
        program,
        how: result.signal ?? result.shortMessage ?? 'for no known reason',
      });
    }
    return { exitCode: result.exitCode, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
  }

  async readText(path: string): Promise<string | null> {
    return await readWhole(path, constants.O_RDONLY);
  }

  async readState(path: string): Promise<string | null> {
    try {
      return await readWhole(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if (hasSystemCode(error, 'ELOOP')) throw new BasculeError('state-file-is-link', { host: this.name, file: path });
      throw error;
    }
  }

  async readFolder(path: string): Promise<readonly string[]> {
    try {
      return await readdir(path);
    } catch (error) {
      if (hasSystemCode(error, 'ENOENT', 'ENOTDIR')) return [];
      throw error;
    }
  }

  async writePrivately(path: string, text: string): Promise<void> {
    await writePrivately(path, text);
  }

  async createPrivately(path: string, text: string): Promise<void> {
    await createPrivately(path, text);
  }

  async remove(path: string): Promise<void> {
    await writing(path, async () => await rm(path, { recursive: true, force: true }));
  }

  async whyNotWritable(folder: string): Promise<string | null> {
    try {
      await access(folder, constants.W_OK);
      return null;
    } catch (error) {
      if (hasSystemCode(error, 'ENOENT')) return null;
      return error instanceof Error ? error.message : String(error);
    }
  }

  async isAddressFree(bind: BindAddress): Promise<boolean> {
    const server = createServer();
    return await new Promise((resolve, reject) => {
      server.once('error', (error) => {
        const unusable = () =>
          new BasculeError('address-unusable', { host: this.name, ...bind, reason: error.message });
        if (hasSystemCode(error, 'EADDRINUSE')) resolve(false);
        else if (!hasSystemCode(error, 'EACCES')) reject(unusable());
        else
          isFreeForHaproxy(bind, programPath()).then(
            (isFree) => (isFree === null ? reject(unusable()) : resolve(isFree)),
            () => reject(unusable()),
          );
      });
      server.listen({ host: bind.address === '*' ? '0.0.0.0' : bind.address, port: bind.port, exclusive: true }, () => {
        server.close(() => resolve(true));
      });
    });
  }

  async listenersAt(bind: BindAddress): Promise<readonly Listener[]> {
    return await withProcesses((await listeningSockets()).filter((one) => overlaps(one, bind)));
  }

  connect(to: Destination): Duplex {
    if ('path' in to) return connect(to.path);
    return connect({ host: to.address === '*' ? '127.0.0.1' : to.address, port: to.port });
  }

  async processesOf(directory: string): Promise<readonly HostProcess[]> {
    return await processesOf(directory);
  }
}

/** Nothing of it may act later, or hold a lock; its leader may end it well. */
async function endGroup(leader: number | undefined): Promise<void> {
  if (leader === undefined) return;
  for (const end of [() => signal(leader, 'SIGTERM'), () => signal(-leader, 'SIGKILL')]) {
    end();
    if (await hasEnded(leader)) return;
  }
}

/** Waits a while for it: the disk may keep a process from ending. */
async function hasEnded(leader: number): Promise<boolean> {
  const until = performance.now() + endsWithinMs;
  while (signal(-leader, 0)) {
    if (performance.now() >= until) return false;
    await sleep(pollMs);
  }
  return true;
}

/** Whether there is such a process, or one in the group of a negative number. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (hasSystemCode(error, 'ESRCH')) return false;
    throw error;
  }
}

async function readWhole(path: string, flags: number): Promise<string | null> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, flags);
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
