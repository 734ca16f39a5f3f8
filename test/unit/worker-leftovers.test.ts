import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { acmeFolder } from '../../src/acme/places.js';
import { loadConfiguration } from '../../src/config/load.js';
import { findLeftovers, removeLeftovers } from '../../src/worker-leftovers.js';

test('a key that was half-written as its worker was killed is removed, and none that is whole', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'bascule-leftovers-'));
  try {
    const file = join(directory, 'bascule.yaml');
    await cp(fileURLToPath(new URL('../../examples/local.yaml', import.meta.url)), file);
    const configuration = await loadConfiguration(file);
    expect(await findLeftovers(configuration)).toEqual([]);

    const acme = acmeFolder(configuration.edge.files.state);
    const account = join(acme, 'account-1');
    const order = join(acme, 'certificates', 'shop.test', '1');
    for (const folder of [account, order]) {
      await mkdir(folder, { recursive: true });
      for (const name of ['key.pem', 'key.pem.1.partial']) await writeFile(join(folder, name), 'a key');
    }
    await removeLeftovers(configuration);
    expect([await readdir(account), await readdir(order)]).toEqual([['key.pem'], ['key.pem']]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
