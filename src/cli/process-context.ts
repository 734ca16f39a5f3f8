import type { EventEmitter } from 'node:events';
import type { WriteStream } from 'node:tty';

/** A stream that a command writes to; the last three where it is a terminal. */
export type OutputStream = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows'>>;

/** What a command takes from the process that it runs in. */
export interface ProcessContext {
  /** The arguments, without the interpreter and the program. */
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Where relative paths begin. */
  readonly folder: string;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  /** Emits SIGINT, SIGTERM and SIGHUP. */
  readonly signals: EventEmitter;
  /** Ends the process, whatever still runs. */
  readonly exit: (code: number) => never;
}

/** This process's own. A stream is made when it is first asked for, which takes a while. */
export const ownProcess = (): ProcessContext => ({
  argv: process.argv.slice(2),
  env: process.env,
  folder: process.cwd(),
  get stdin() {
    return process.stdin;
  },
  get stdout() {
    return process.stdout;
  },
  get stderr() {
    return process.stderr;
  },
  signals: process,
  exit: (code) => process.exit(code),
});
