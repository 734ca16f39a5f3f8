import { mkdtemp, open, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** A registry of packages that asks who wants them. */
export interface ArtifactServer {
  readonly origin: string;
  /** Where `makeRelease` puts what it serves. */
  readonly directory: string;
  stop(): Promise<void>;
}

/** Serves releases below a path to who brings a token. */
export async function startArtifactServer({
  token,
  path,
}: {
  readonly token: string;
  readonly path: string;
}): Promise<ArtifactServer> {
  const directory = await mkdtemp(join(tmpdir(), 'bascule-registry-'));
  const server = createServer(async (asked, answer) => {
    const { pathname } = new URL(asked.url ?? '', 'http://registry');
    const isAllowed = asked.headers.authorization === `Bearer ${token}`;
    const place = pathname.startsWith(`${path}/`) ? join(directory, 'artifacts', pathname.slice(path.length)) : null;
    const file = isAllowed && place !== null ? await open(place).catch(() => null) : null;
    if (file === null) answer.writeHead(isAllowed ? 404 : 401).end();
    // Who only wants to know whether it is there leaves before its end.
    else await pipeline(file.createReadStream(), answer).catch(() => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    directory,
    async stop() {
      server.close();
      server.closeAllConnections();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
