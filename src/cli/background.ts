import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { rotateLogFile } from '../hosts/log-file.js';

const stopWithinMs = 15_000;
const shownLines = 15;
const rotation = { maxBytes: 10_000_000, files: 2 };
const rotateEveryMs = 60_000;

/** A program that runs beside this one, in a process group of its own: Ctrl-C on the terminal does not reach it. */
export interface BackgroundProcess {
  readonly log: string;
  readonly pid: number;
  /** How it ended; pending while it runs. */
  readonly ended: Promise<string>;
  /** Null while it runs. */
  readonly how: string | null;
  lastLines(): Promise<string[]>;
  /** SIGTERM, then SIGKILL after 15 s; waits until it is gone. */
  stop(): Promise<void>;
}

/** Starts a program whose output is added to `log`, which is kept below 10 MB, with one before it. */
export async function startInBackground(
  program: string,
  args: readonly string[],
  { log, env }: { readonly log: string; readonly env: NodeJS.ProcessEnv },
): Promise<BackgroundProcess> {
  await mkdir(dirname(log), { recursive: true });
  await rotateLogFile(log, rotation);
  const output = await open(log, 'a');
  const child = spawn(program, args, { env, stdio: ['ignore', output.fd, output.fd], detached: true });
  let how: string | null = null;
  const ended = once(child, 'exit').then(
    ([code, signal]) => {
      how = signal ? `by ${signal}` : `with exit code ${code}`;
      return how;
    },
    (error: unknown) => {
      how = String(error);
      return how;
    },
  );
  await output.close();
  // Where that fails, as on a full disk, the log grows until it succeeds.
  const rotate = setInterval(() => void rotateLogFile(log, rotation).catch(() => {}), rotateEveryMs).unref();
  void ended.then(() => clearInterval(rotate));
  return {
    log,
    // One that could not be started has none, and has ended.
    pid: child.pid ?? 0,
    ended,
    get how() {
      return how;
    },
    lastLines: async () => (await readFile(log, 'utf8')).trimEnd().split('\n').slice(-shownLines),
    async stop() {
      if (how !== null) return;
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), stopWithinMs);
      await ended;
      clearTimeout(force);
    },
  };
}
