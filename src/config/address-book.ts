import { readFile } from 'node:fs/promises';
import { allocateAddresses } from '../domain/addresses.js';
import type { AddressBook, AppliedConfiguration, Configuration } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';
import { hasSystemCode } from '../system-error.js';

/** What `bascule apply` would put in force: bascule.yaml, with an address for each instance. */
export async function wantedConfiguration(configuration: Configuration): Promise<AppliedConfiguration> {
  const { addresses: range, addressBook } = configuration.instances;
  const known = range === undefined ? {} : await readAddressBook(addressBook);
  const addresses = allocateAddresses(configuration, known);
  return { schemaVersion: 1, configuration, addresses };
}

/** Throws `address-book-damaged`: other addresses than those that run would take the servers from visitors. */
async function readAddressBook(file: string): Promise<AddressBook> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as AddressBook;
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return {};
    if (error instanceof SyntaxError) {
      throw new BasculeError('address-book-damaged', { file, reason: error.message }, { cause: error });
    }
    throw error;
  }
}
