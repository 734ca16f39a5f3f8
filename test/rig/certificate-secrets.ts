import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommandResult } from './command.js';
import { readHistories } from './histories.js';
import type { HttpsProject } from './https-project.js';

const edgeFolder = '.bascule/edge';

/** A secret, and what it is. */
export type Secret = readonly [what: string, secret: string];

/**
 * Where any of these secrets is found outside of the folder of the edge's host: Temporal's database and histories, what
 * commands said, and every other file of the project, the worker's log among them.
 */
export async function findElsewhere(
  { project }: HttpsProject,
  secrets: readonly Secret[],
  said: readonly CommandResult[],
): Promise<readonly string[]> {
  const { address, dbFile } = project.temporal;
  const places: Record<string, string> = {
    'what commands said': said.map(({ stdout, stderr }) => `${stdout}\n${stderr}`).join('\n'),
    ...(await readHistories(address)),
  };
  const files = (await filesBelow(project.directory)).filter((file) => !file.startsWith(`${edgeFolder}/`));
  for (const file of files) places[file] = await readFile(join(project.directory, file), 'latin1');
  for (const file of [dbFile, `${dbFile}-wal`]) places[file] = await readFile(file, 'latin1');
  return Object.entries(places).flatMap(([place, text]) =>
    secrets.filter(([, secret]) => text.includes(secret)).map(([what]) => `${what}: ${place}`),
  );
}

/**
 * What is the edge host's alone: the keys of the account and of the certificates that are there now, what the authority was
 * asked to sign, and the tokens of its challenges.
 */
export async function secretsOf({ project, authority }: HttpsProject): Promise<readonly Secret[]> {
  const found: Secret[] = [];
  const folder = join(project.directory, edgeFolder);
  for (const name of await filesBelow(folder)) {
    const text = await readFile(join(folder, name), 'latin1');
    const keys = text.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+/g) ?? [];
    // However it is wrapped, its first line holds a part of the key.
    for (const key of keys) found.push([`the key in ${name}`, key.split('\n')[1] ?? '']);
  }
  for (const { csr } of authority.payloads('finalize') as readonly { readonly csr: string }[]) {
    found.push(['a request that was signed', csr.slice(0, 200)]);
  }
  for (const answer of authority.answers('authorization')) {
    for (const [, token = ''] of answer.matchAll(/"token": ?"([^"]+)"/g)) found.push(['a token', token]);
  }
  return found;
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
}
