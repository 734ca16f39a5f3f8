import { request } from 'node:http';
import type { PoolAnswer } from '../domain/edge-change.js';
import type { Destination, Host } from '../hosts/host.js';

export interface ProbeRequest {
  /** Of the edge. */
  readonly from: Host;
  /** The first of these that takes a connection is asked. */
  readonly to: readonly [Destination, ...Destination[]];
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
export async function probePool(request: ProbeRequest): Promise<PoolAnswer> {
  for (const to of request.to) {
    const answer = await askOne(request, to);
    if (answer) return answer;
  }
  return silence;
}

const silence: PoolAnswer = { server: null, status: 0 };

/** Null where nothing takes the connection. */
async function askOne({ from, host, path, probe }: ProbeRequest, to: Destination): Promise<PoolAnswer | null> {
  return await new Promise((resolve) => {
    const signal = AbortSignal.timeout(probeTimeoutMs);
    const probing = request(
      {
        path,
        createConnection: () => from.connect(to),
        headers: { Host: host, ...(probe === undefined ? {} : { 'X-Bascule-Probe': probe }), Connection: 'close' },
        signal,
      },
      (response) => {
        const server = response.headers['x-bascule-server'];
        resolve({ server: typeof server === 'string' ? server : null, status: response.statusCode ?? 0 });
        response.destroy();
      },
    );
    probing.on('error', () => resolve(signal.aborted ? silence : null));
    probing.end();
  });
}
