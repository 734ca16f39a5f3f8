import { join } from 'node:path';
import type { CertificateFacts } from '../domain/certificates.js';
import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';
import { asPem, parseAccountKey, readRecord, thumbprintOf } from './account.js';
import { type Authority, nameOf } from './authority.js';
import { accountFiles } from './places.js';
import { factsOf } from './x509.js';

/**
 * Takes over the key of an account that somebody else has with the authority: a PEM file, or a folder of dehydrated. What
 * `registerAccount` does next finds the account by it.
 *
 * @returns the key's thumbprint, by which the edge has to answer from now on
 * @throws `acme-account-key-unusable`, `acme-account-in-use`, `file-not-writable`
 */
export async function adoptAccount(authority: Authority, from: string): Promise<{ readonly thumbprint: string }> {
  const { file, pem } = await findKey(authority, from);
  const key = asPem(parseAccountKey(file, pem));
  const thumbprint = thumbprintOf(key);
  const files = accountFiles(authority);
  const own = await authority.host.readState(files.key);
  if (own !== null && thumbprintOf(own) === thumbprint) return { thumbprint };
  // A key that was only made, and never registered, is given up for it.
  if ((await readRecord(authority)) !== null) {
    throw new BasculeError('acme-account-in-use', { ca: nameOf(authority), file: files.folder });
  }
  await authority.host.writePrivately(files.key, key);
  return { thumbprint };
}

/** What each `*.pem` of a folder says of itself; null where it holds no certificate that can be read. */
export async function readCertificates(
  host: Host,
  folder: string,
): Promise<readonly { readonly file: string; readonly facts: CertificateFacts | null }[]> {
  const names = (await host.readFolder(folder)).filter((name) => name.endsWith('.pem')).toSorted();
  return await Promise.all(
    names.map(async (name) => {
      const file = join(folder, name);
      return { file, facts: factsOf(name.slice(0, -'.pem'.length), (await host.readText(file)) ?? '') };
    }),
  );
}

async function findKey({ host, directory }: Authority, from: string): Promise<{ file: string; pem: string }> {
  // dehydrated names the folder after the URL with a newline, as base64url.
  const account = Buffer.from(`${directory}\n`).toString('base64url');
  const places = [join(from, 'accounts', account, 'account_key.pem'), join(from, 'account_key.pem')];
  for (const file of places) {
    const pem = await host.readText(file);
    if (pem !== null) return { file, pem };
  }
  return { file: from, pem: (await readFile(host, from)) ?? '' };
}

async function readFile(host: Host, file: string): Promise<string | null> {
  try {
    return await host.readText(file);
  } catch {
    // A folder, without a key in it.
    return null;
  }
}
