import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Authority } from './authority.js';

/** Enough to tell a few URLs apart. */
const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

/** Where all that is secret between authorities and us is kept. */
export const acmeFolder = (state: string): string => join(state, 'acme');

/** Where the account with an authority is kept. */
export function accountFiles({ state, directory }: Pick<Authority, 'state' | 'directory'>) {
  const folder = join(acmeFolder(state), `account-${shortHash(directory)}`);
  return { folder, key: join(folder, 'key.pem'), record: join(folder, 'account.json') };
}

/** Where all certificates' orders are kept. */
export const certificatesFolder = (state: string): string => join(acmeFolder(state), 'certificates');

/** Whether a name in a certificate's folder is that of an order's own. */
export const isOfOneOrder = (name: string): boolean => /^[0-9a-f]{16}$/.test(name);

/** Where what belongs to a certificate is kept. */
export function certificateFiles(state: string, name: string) {
  const folder = join(certificatesFolder(state), name);
  return {
    folder,
    order: join(folder, 'order.json'),
    renewal: join(folder, 'renewal.json'),
    /** What belongs to one order alone: a key is never used for another. */
    ofOrder: (url: string) => {
      const own = join(folder, shortHash(url));
      return {
        folder: own,
        key: join(own, 'key.pem'),
        request: join(own, 'request.pem'),
        /** Key, certificate and chain. */
        next: join(own, 'next.pem'),
      };
    },
  };
}
