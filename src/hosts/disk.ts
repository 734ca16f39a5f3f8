import type { Host } from './host.js';

const lookMs = 30_000;

export interface DiskSpace {
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Of the file system where a path lies, or will lie. */
export async function spaceAt(host: Host, path: string): Promise<DiskSpace> {
  const script = 'path=$1; while [ ! -e "$path" ]; do path=$(dirname "$path"); done; df -P -k "$path" | tail -n 1';
  const { stdout } = await host.run(['sh', '-c', script, 'space', path], { timeoutMs: lookMs });
  // Name, size, used, available, share, where it is mounted: names may have spaces, numbers none.
  const [, total = 0, , free = 0] = /\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%/.exec(stdout)?.map(Number) ?? [];
  return { freeBytes: free * 1_024, totalBytes: total * 1_024 };
}

/** Bytes of a file, or of all that lies in a folder; 0 where there is neither. */
export async function bytesIn(host: Host, path: string): Promise<number> {
  const { stdout } = await host.run(['sh', '-c', 'du -s -k "$1" 2>/dev/null || :', 'bytes', path], {
    timeoutMs: lookMs,
  });
  return Number.parseInt(stdout || '0', 10) * 1_024;
}
