import type { LocalHost, RunResult } from '../hosts/local.js';

/** Runs HAProxy's program to its end, such as `-v` or `-c -f FILE`. Throws those of `LocalHost.run`. */
export function runHaproxy(host: LocalHost, args: readonly string[], timeoutMs: number): Promise<RunResult> {
  // Debian keeps haproxy where only root's PATH looks.
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin` };
  return host.run(['haproxy', ...args], { timeoutMs, env });
}
