import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writing } from '../hosts/writing.js';
import type { Instance } from './record.js';

type Owner = Pick<Instance, 'directory' | 'name' | 'component' | 'color'>;

/**
 * Where a component's program keeps what outlives its releases (`BASCULE_DATA`): one folder for both colors, and for all
 * instances where they stand side by side. No command removes it.
 */
export function dataFolder({ directory, name, component, color }: Owner): string {
  // Without the color, an instance's name is the component's within its environment.
  return join(directory, dataDirectory, color === null ? component : name.slice(0, -`-${color}`.length));
}

/** In the folder of all instances, none of which may be called so. */
export const dataDirectory = 'data';

/** Makes that folder where there is none, for this user alone. Throws `file-not-writable`. */
export async function ensureDataFolder(instance: Owner): Promise<string> {
  const folder = dataFolder(instance);
  await writing(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
  return folder;
}
