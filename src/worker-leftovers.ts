import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LocalConfiguration } from './domain/configuration.js';
import { hasSystemCode } from './system-error.js';

/**
 * Removes what a worker that was killed left half-written: artifacts, folders in which one was being unpacked, a lease.
 * Only for whoever holds the lease: nobody else's is under way then.
 */
export async function removeLeftovers({ instances }: LocalConfiguration): Promise<void> {
  const { directory, addressBook } = instances;
  await removeFrom(dirname(addressBook), /^worker\.lease\./);
  await removeFrom(join(directory, 'artifacts'), /\.partial-/);
  for (const name of await namesIn(directory)) await removeFrom(join(directory, name, 'releases'), /^\.unpacked-/);
}

async function removeFrom(folder: string, pattern: RegExp): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (pattern.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // A file, or not there yet.
    if (hasSystemCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}
