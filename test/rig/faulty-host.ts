import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
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

/** What happens at a chosen call of one of the programs that make files durable. */
export type Fault = keyof typeof shellOf;

const programs = ['sync', 'mv', 'cp', 'rm'];

/** Shell text; `$real` is the program, `$disk` the file system that its files lie on, `$folder` where it may note things. */
const shellOf = {
  'killed before': 'kill -KILL $PPID; exit 1',
  'killed after': '"$real" "$@"; kill -KILL $PPID; exit 1',
  'program fails': 'echo "No space left on device" >&2; exit 1',
  'stopped before': 'kill -STOP $PPID; echo $PPID >"$folder/process"; exec "$real" "$@"',
  'disk full before': 'dd if=/dev/zero of="$disk/ballast" bs=1k 2>/dev/null || :; exec "$real" "$@"',
  'read-only before': 'mount --bind "$disk" "$disk" && mount -o remount,ro,bind "$disk"; exec "$real" "$@"',
  hangs: 'echo $$ >"$folder/process"; exec sleep 1000',
} as const;

/** Longer than an act takes, on a busy machine too, and less than tests of one that hangs want to wait. */
const hangsForMs = 2_000;

/**
 * A host on which the n-th call of sync, mv, cp or rm goes wrong: faults that no real disk provides on demand. `disk` is
 * a file system that may be filled or made read-only, which needs root.
 */
export class FaultyHost extends ShimmedHost {
  private isHanging = false;

  constructor(private readonly disk = '') {
    super();
  }

  /** From now on the `call`-th call, counted from 1, goes wrong. */
  async breakCall(call: number, fault: Fault): Promise<void> {
    await this.mend();
    this.isHanging = fault === 'hangs';
    const folder = await this.shims();
    const lines = [
      `folder='${folder}' disk='${this.disk}'`,
      'echo >>"$folder/calls"',
      `if [ "$(wc -l <"$folder/calls")" -eq ${call} ]; then : >"$folder/reached"; ${shellOf[fault]}; fi`,
      'exec "$real" "$@"',
    ];
    for (const name of programs) await this.replace(name, lines.join('\n'));
  }

  /** Whether there was such a call. */
  async isReached(): Promise<boolean> {
    return existsSync(join(await this.shims(), 'reached'));
  }

  /** Process id of the shell that was stopped, or of what hangs; null before it was so. */
  async stoppedProcess(): Promise<number | null> {
    const text = await readFile(join(await this.shims(), 'process'), 'utf8').catch(() => '');
    return text === '' ? null : Number(text);
  }

  override async mend(): Promise<void> {
    await super.mend();
    this.isHanging = false;
    if (this.disk === '') return;
    // What was mounted over it makes it read-only.
    const script = 'if [ "$(grep -c " $0 " /proc/self/mountinfo)" -gt 1 ]; then umount -l "$0"; fi; rm -f "$0/ballast"';
    await execa('sh', ['-c', script, this.disk]);
  }

  override async run(argv: readonly [string, ...string[]], options: RunOptions): Promise<RunResult> {
    const timeoutMs = this.isHanging ? hangsForMs : options.timeoutMs;
    return await super.run(argv, { ...options, timeoutMs });
  }
}

/** A file system of a megabyte at a folder, which may be filled or made read-only. Needs root, to mount it. */
export async function mountSmallDisk(folder: string): Promise<{ unmount(): Promise<void> }> {
  await mkdir(folder, { recursive: true });
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  return { unmount: async () => void (await execa('umount', ['-l', folder], { reject: false })) };
}
