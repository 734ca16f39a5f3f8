import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { LocalHost, type RunOptions, type RunResult } from '../../src/hosts/local.js';

/** A host on which shell text takes the place of some programs. */
export class ShimmedHost extends LocalHost {
  private folder: string | null = null;

  /** From now on the program is this text; `$real` in it is the path of the program itself. */
  async replace(program: string, text: string): Promise<void> {
    this.folder ??= await mkdtemp(join(tmpdir(), 'bascule-shims-'));
    const file = join(this.folder, program);
    await writeFile(file, `#!/bin/sh\nreal=$(PATH=\${PATH#*:}:/usr/sbin; command -v ${program})\n${text}\n`);
    await chmod(file, 0o755);
  }

  /** Every program is itself again. */
  async mend(): Promise<void> {
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = null;
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    if (this.folder === null) return await super.run(argv, options);
    return await super.run(argv, { ...options, env: { PATH: `${this.folder}${delimiter}${process.env.PATH}` } });
  }
}
