import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { RunOptions, RunResult } from '../../src/hosts/host.js';
import { ChangedHost } from './test-host.js';

/** A host on which shell text takes the place of some programs. */
export class ShimmedHost extends ChangedHost {
  private folder: string | null = null;

  /** From now on the program is this text; `$real` in it is the path of the program itself. */
  async replace(program: string, text: string): Promise<void> {
    const file = join(await this.shims(), program);
    await writeFile(file, `#!/bin/sh\nreal=$(PATH=\${PATH#*:}:/usr/sbin; command -v ${program})\n${text}\n`);
    await chmod(file, 0o755);
  }

  /** The folder that stands first in PATH. */
  protected async shims(): Promise<string> {
    this.folder ??= await mkdtemp(join(tmpdir(), 'bascule-shims-'));
    return this.folder;
  }

  /** Every program is itself again. */
  async mend(): Promise<void> {
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
    this.folder = null;
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    if (this.folder === null) return await super.run(argv, options);
    const path = `${this.folder}${delimiter}${process.env.PATH}`;
    // An act on an instance gets an empty environment, and its PATH by `env -i`.
    const [program, ...args] = argv;
    const shimmed = args.map((word, index) => (program === 'env' && index === 1 ? `PATH=${path}` : word));
    return await super.run([program, ...shimmed], { ...options, env: { PATH: path } });
  }
}
