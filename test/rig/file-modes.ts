import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** What lies below a folder and is open to other users: its path, where each name of `varying` is a `*`, and its mode. */
export async function openToOthers(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder, { recursive: true });
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const { mode } = await stat(path).catch(() => ({ mode: 0 }));
      return (mode & 0o077) === 0 ? [] : [`${relative(folder, path)} ${(mode & 0o777).toString(8)}`];
    }),
  );
  return found.flat().toSorted();
}
