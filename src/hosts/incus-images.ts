import * as z from 'zod';
import { inFull } from '../domain/incus-place.js';
import { BasculeError } from '../errors.js';
import { type IncusClient, refusedFor } from './incus-client.js';
import { acceptedCertificate, readRemotes } from './incus-remote.js';

/** Servers of images that Incus's own client knows without being told. */
const knownServers: Readonly<Record<string, { readonly addr: string; readonly protocol: string }>> = {
  images: { addr: 'https://images.linuxcontainers.org', protocol: 'simplestreams' },
};

const aliasSchema = z.object({ target: z.string() });
const imageSchema = z.object({ fingerprint: z.string() });

/**
 * Where Incus finds an image, by what its own client takes: an alias, a fingerprint or the beginning of one, or an alias of
 * another server, as in `images:debian/13`. Answers the `source` of its REST API.
 *
 * @throws `incus-image-missing`, and those of `IncusClient`
 */
export async function findImage(client: IncusClient, image: string) {
  const [, server, alias] = /^([^:/]+):(.+)$/.exec(image) ?? [];
  const place = inFull(client.place);
  const missing = (reason: string): BasculeError =>
    new BasculeError('incus-image-missing', { ...place, image, reason });
  if (server === undefined || alias === undefined || server === place.remote) {
    const named = alias ?? image;
    const fingerprint =
      (await fingerprintBy(client, 'aliases/', named, (found) => aliasSchema.parse(found).target)) ??
      (await fingerprintBy(client, '', named, (found) => imageSchema.parse(found).fingerprint));
    if (fingerprint === null) throw missing('there is none of that alias or fingerprint');
    return { type: 'image', fingerprint } as const;
  }
  const { remotes, folder, file } = await readRemotes();
  const known = remotes[server] ?? knownServers[server];
  if (known?.addr === undefined) throw missing(`${file} knows no server ${server}`);
  const certificate = await acceptedCertificate(folder, server);
  return {
    ...({ type: 'image', mode: 'pull', server: known.addr, alias } as const),
    protocol: known.protocol ?? 'incus',
    // One that no public authority vouches for was accepted when the server was added.
    ...(certificate !== null && { certificate }),
  };
}

async function fingerprintBy(
  client: IncusClient,
  folder: string,
  name: string,
  read: (found: unknown) => string,
): Promise<string | null> {
  try {
    return read(await client.ask(`/images/${folder}${encodeURIComponent(name)}`));
  } catch (error) {
    if (refusedFor(error, /not found/i) !== null) return null;
    throw error;
  }
}
