import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Version of the Bascule that the other tests run. */
export async function ownVersion(): Promise<string> {
  return (JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

/**
 * Puts this Bascule into a new folder as another version, which may write haproxy.cfg otherwise; answers the path of its
 * command.
 */
export async function installVersion(
  directory: string,
  version: string,
  changeTemplate: (text: string) => string = (text) => text,
): Promise<string> {
  await mkdir(directory);
  for (const folder of ['dist', 'templates']) {
    await cp(join(root, folder), join(directory, folder), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(directory, 'node_modules'), 'dir');
  const template = join(directory, 'templates/haproxy.cfg.njk');
  await writeFile(template, changeTemplate(await readFile(template, 'utf8')));
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as object;
  await writeFile(join(directory, 'package.json'), JSON.stringify({ ...manifest, version }));
  return join(directory, 'dist/bascule');
}
