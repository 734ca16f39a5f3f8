import { EventEmitter } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { Invocation } from '../../src/cli/invocation.js';
import { runCommandLine } from '../../src/cli/run.js';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line within this process, with streams and an environment of its own. */
export async function runCommand(
  argv: readonly string[],
  { folder, env }: { readonly folder: string; readonly env: NodeJS.ProcessEnv },
): Promise<CommandResult> {
  const stdout = new Recorder();
  const stderr = new Recorder();
  const invocation = new Invocation({
    argv,
    env,
    folder,
    stdin: Readable.from([]),
    stdout,
    stderr,
    signals: new EventEmitter(),
    exit: (code) => {
      throw new Error(`bascule ${argv.join(' ')} would end the process with ${code}`);
    },
  });
  const exitCode = await runCommandLine(invocation);
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

class Recorder extends Writable {
  readonly #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  /** As execa has it: without the final newline. */
  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8').replace(/\n$/, '');
  }
}
