import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { RunOptions, RunResult } from '../../src/hosts/host.js';
import { ShimmedHost } from './shimmed-host.js';

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
