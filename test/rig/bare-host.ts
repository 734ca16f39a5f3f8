import { access, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { RunOptions, RunResult } from '../../src/hosts/host.js';
import { ChangedHost } from './test-host.js';

/** A host that has these programs and, beside those of /usr/sbin, no other. */
export class BareHost extends ChangedHost {
  private folder: string | null = null;

  constructor(private readonly programs: readonly string[]) {
    super();
  }

  async dispose(): Promise<void> {
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    this.folder ??= await linkAll(this.programs);
    return await super.run(argv, { ...options, env: { PATH: this.folder } });
  }
}

async function linkAll(programs: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-bare-'));
  for (const program of programs) await symlink(await find(program), join(folder, program));
  return folder;
}

async function find(program: string): Promise<string> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder, program);
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere) return file;
  }
  throw new Error(`${program} is not on the PATH`);
}
