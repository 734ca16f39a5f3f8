import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vi } from 'vitest';

interface LeaseFile {
  readonly pid: number;
  readonly renewedAt: string;
}

/** The lease of the worker that has the project in this folder. */
export async function readLease(directory: string): Promise<LeaseFile> {
  return JSON.parse(await readFile(join(directory, '.bascule', 'worker.lease'), 'utf8')) as LeaseFile;
}

/** Waits until a process is gone. */
export async function untilGone(pid: number, withinMs: number): Promise<void> {
  await vi.waitFor(
    () => {
      if (existsSync(`/proc/${pid}`)) throw new Error(`process ${pid} is still there`);
    },
    { timeout: withinMs, interval: 50 },
  );
}
