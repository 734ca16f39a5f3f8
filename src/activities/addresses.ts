import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { AddressBook, ProcessInstances } from '../domain/configuration.js';

/** Remembers which instance has which address, before the edge sends anything there. */
export async function keepAddresses({ addressBook: file }: ProcessInstances, addresses: AddressBook): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.partial`, `${JSON.stringify(addresses, null, 2)}\n`);
  await rename(`${file}.partial`, file);
}
