import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { LocalConfiguration } from './domain/configuration.js';
import { hasSystemCode } from './system-error.js';

/**
 * Removes what a worker that was killed left half-written. Only for whoever holds the lease: nobody else's is under way
 * then.
 */
export async function removeLeftovers(configuration: LocalConfiguration): Promise<void> {
  for (const path of await findLeftovers(configuration)) await rm(path, { recursive: true, force: true });
}

/** Paths of what a worker has half-written: artifacts, folders in which one is being unpacked, a lease. */
export async function findLeftovers({ instances }: LocalConfiguration): Promise<readonly string[]> {
  const { directory, addressBook } = instances;
  const instanceFolders = await namesIn(directory);
  const found = await Promise.all([
    pathsIn(dirname(addressBook), /^worker\.lease\./),
    pathsIn(join(directory, 'artifacts'), /\.partial-/),
    ...instanceFolders.map((name) => pathsIn(join(directory, name, 'releases'), /^\.unpacked-/)),
  ]);
  return found.flat();
}

/** Paths of what lies in a folder and whose name matches; none where there is no such folder. */
export async function pathsIn(folder: string, pattern: RegExp): Promise<readonly string[]> {
  return (await namesIn(folder)).filter((name) => pattern.test(name)).map((name) => join(folder, name));
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
