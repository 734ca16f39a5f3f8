import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { LocalHost, type RunOptions, type RunResult } from '../../src/hosts/local.js';

/** What happens to the shell that runs a command, at a chosen call of one of the programs that make files durable. */
type Fault = 'killed before' | 'killed after' | 'program fails' | 'stopped before';

const programs = ['sync', 'mv', 'cp', 'rm'];

const shellOf: Readonly<Record<Fault, string>> = {
  'killed before': 'kill -KILL $PPID; exit 1',
  'killed after': '"$program" "$@"; kill -KILL $PPID; exit 1',
  'program fails': 'echo "No space left on device" >&2; exit 1',
  'stopped before': 'kill -STOP $PPID; echo $PPID >"$folder/stopped"; exec "$program" "$@"',
};

/** A host on which the n-th call of sync, mv, cp or rm goes wrong: faults that no real disk provides on demand. */
export class FaultyHost extends LocalHost {
  private folder: string | null = null;

  /** From now on the `call`-th call, counted from 1, goes wrong. */
  async breakCall(call: number, fault: Fault): Promise<void> {
    await this.mend();
    this.folder = await mkdtemp(join(tmpdir(), 'bascule-fault-'));
    for (const name of programs) {
      const lines = [
        '#!/bin/sh',
        `folder='${this.folder}'`,
        `program=$(PATH=\${PATH#*:}; command -v ${name})`,
        'echo >>"$folder/calls"',
        `if [ "$(wc -l <"$folder/calls")" -eq ${call} ]; then ${shellOf[fault]}; fi`,
        'exec "$program" "$@"',
      ];
      await writeFile(join(this.folder, name), `${lines.join('\n')}\n`);
      await chmod(join(this.folder, name), 0o755);
    }
  }

  async mend(): Promise<void> {
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = null;
  }

  /** Process id of the shell that was stopped, null before it was. */
  async stoppedShell(): Promise<number | null> {
    const text = this.folder === null ? null : await readFile(join(this.folder, 'stopped'), 'utf8').catch(() => null);
    return text === null || text === '' ? null : Number(text);
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    if (this.folder === null) return await super.run(argv, options);
    return await super.run(argv, { ...options, env: { PATH: `${this.folder}${delimiter}${process.env.PATH}` } });
  }
}
