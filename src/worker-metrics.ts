import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, isIP } from 'node:net';
import { request } from 'undici';
import { BasculeError } from './errors.js';
import { programsAt } from './hosts/listeners.js';
import { LocalHost } from './hosts/local.js';
import { isLoopback } from './listening.js';

export interface MetricsServer {
  stop(): Promise<void>;
}

/** A free port of 127.0.0.1 for the SDK's own exporter, which serves metrics and nothing else. */
export async function freeMetricsPort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Serves `/healthz` (200 while the worker polls, else 503) and `/metrics` (Prometheus's text format, as Temporal's SDK
 * exports it on `exporterPort`, then those of `ownMetrics`) on `address`, such as `127.0.0.1:9464`.
 *
 * @throws `usage` where it is no address, `address-in-use` where another program has it
 */
export async function serveMetrics(
  address: string,
  exporterPort: number,
  isHealthy: () => boolean,
  ownMetrics: () => Promise<string>,
): Promise<MetricsServer> {
  const match = /^([^:]+):(\d{1,5})$/.exec(address);
  if (!match?.[1]) {
    throw new BasculeError('usage', { problem: `${address} is no address`, help: 'Write it as 127.0.0.1:9464.' });
  }
  const place = { host: match[1], port: Number(match[2]) };
  const isLocal = isLoopback(place);
  const server = createServer((incoming, outgoing) => {
    const answer = async (): Promise<void> => {
      if (incoming.method !== 'GET' || incoming.headers.origin || (isLocal && !isNumericHost(incoming.headers.host))) {
        outgoing
          .writeHead(403, { 'content-type': 'text/plain' })
          .end(`GET http://${address}/metrics, from no web page\n`);
      } else if (incoming.url === '/healthz') {
        const healthy = isHealthy();
        outgoing
          .writeHead(healthy ? 200 : 503, { 'content-type': 'text/plain' })
          .end(healthy ? 'ok\n' : 'not polling\n');
      } else if (incoming.url === '/metrics') {
        const { body } = await request(`http://127.0.0.1:${exporterPort}/metrics`);
        const text = `${await body.text()}${await ownMetrics()}`;
        outgoing.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text);
      } else {
        outgoing.writeHead(404).end();
      }
    };
    answer().catch(() => outgoing.writeHead(502).end());
  });
  try {
    await once(server.listen(place), 'listening');
  } catch (cause) {
    const bind = { address: place.host, port: place.port };
    const listeners = await programsAt(new LocalHost(), bind);
    throw new BasculeError('address-in-use', { host: 'localhost', ...bind, listeners }, { cause });
  }
  return {
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Whether a request names its server by number, or as this machine. By another name a web page may lead here, which then
 * reads what no other page may.
 */
function isNumericHost(host = ''): boolean {
  const name = host.replace(/:\d+$/, '');
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}
