import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { acmeFolder } from './acme/places.js';
import type { Configuration } from './domain/configuration.js';
import { hasSystemCode } from './system-error.js';

/**
 * Removes what a worker that was killed left half-written. Only for whoever holds the lease: nobody else's is under way
 * then.
 */
export async function removeLeftovers(configuration: Configuration): Promise<void> {
  for (const path of await findLeftovers(configuration)) await rm(path, { recursive: true, force: true });
}

/**
 * Paths of what a worker has half-written: artifacts, folders in which one is being unpacked, a lease, keys of certificates.
 */
export async function findLeftovers({ instances, edge }: Configuration): Promise<readonly string[]> {
  const { directory, addressBook } = instances;
  const instanceFolders = await namesIn(directory);
  const acme = edge.host.driver === 'local' ? acmeFolder(edge.files.state) : null;
  const found = await Promise.all([
    ...(acme === null ? [] : [acme, ...(await foldersBelow(acme))]).map((folder) => pathsIn(folder, /\.partial$/)),
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

async function foldersBelow(folder: string): Promise<readonly string[]> {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
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
