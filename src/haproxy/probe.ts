import { request } from 'node:http';
import type { BindAddress } from '../domain/configuration.js';
import type { PoolAnswer } from '../domain/edge-change.js';
import type { Host } from '../hosts/host.js';

export interface ProbeRequest {
  /** Of the edge. */
  readonly from: Host;
  readonly bind: BindAddress;
  readonly host: string;
  readonly path: string;
  /** The random of the generation that serves: with it the edge names its servers. */
  readonly probe?: string;
}

const probeTimeoutMs = 2_000;

/**
 * Asks a pool through the edge, from the edge's own host, over a new connection; redirects are not followed.
 * Server (`<backend>/<server>`) and status are what the edge answered: null where no server did, 0 where nothing did.
 */
export async function probePool({ from, bind, host, path, probe }: ProbeRequest): Promise<PoolAnswer> {
  return await new Promise((resolve) => {
    const probing = request(
      {
        path,
        createConnection: () => from.connect(bind),
        headers: { Host: host, ...(probe === undefined ? {} : { 'X-Bascule-Probe': probe }), Connection: 'close' },
        signal: AbortSignal.timeout(probeTimeoutMs),
      },
      (response) => {
        const server = response.headers['x-bascule-server'];
        resolve({ server: typeof server === 'string' ? server : null, status: response.statusCode ?? 0 });
        response.destroy();
      },
    );
    // Whatever it is that went wrong: nothing answered.
    probing.on('error', () => resolve({ server: null, status: 0 }));
    probing.end();
  });
}
