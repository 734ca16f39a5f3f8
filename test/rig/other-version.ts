import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Version of the Bascule that the other tests run. */
export async function ownVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

/** Puts this Bascule into a new folder as another version; answers the path of its command. */
export async function installVersion(directory: string, version: string): Promise<string> {
  await mkdir(directory);
  await cp(join(root, 'dist'), join(directory, 'dist'), { recursive: true });
  for (const folder of ['node_modules', 'templates']) await symlink(join(root, folder), join(directory, folder), 'dir');
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as object;
  await writeFile(join(directory, 'package.json'), JSON.stringify({ ...manifest, version }));
  return join(directory, 'dist/cli/main.js');
}
