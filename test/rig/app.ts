import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

export interface App {
  readonly address: string;
  readonly port: number;
  /** Requests it has had, health checks too. */
  readonly requests: readonly AppRequest[];
  /** Ends it at once, with all of its connections. */
  stop(): Promise<void>;
}

export interface AppRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/**
 * An app within this process: it says `answer` to every request, in the header X-App too, and to every WebSocket message.
 * `/drip` begins a download and never ends it, `/wait` never answers, `/fail` answers 500 and `/moved` redirects; health checks ask `/health`.
 *
 * @param port 0 for a free one
 */
export async function startApp(address: string, port: number, answer: string): Promise<App> {
  const requests: AppRequest[] = [];
  const server = createServer((request, response) => {
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    respond(request, response, answer);
  });
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => socket.on('message', () => socket.send(answer)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  return {
    address,
    port: (server.address() as AddressInfo).port,
    requests,
    stop: async () => {
      for (const socket of sockets.clients) socket.terminate();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function respond(request: IncomingMessage, response: ServerResponse, answer: string): void {
  const path = request.url ?? '';
  // Its own word about where it runs, which the edge must not pass on.
  response.setHeader('X-Bascule-Server', 'forged');
  response.setHeader('X-App', answer);
  if (path.endsWith('/wait')) return;
  if (path.endsWith('/drip')) {
    response.setHeader('Content-Length', 1_000_000);
    response.write(answer);
    return;
  }
  if (path.endsWith('/moved')) response.writeHead(302, { Location: '/elsewhere' });
  if (path.endsWith('/fail')) response.writeHead(500);
  response.end(answer);
}
