import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

export interface App {
  readonly address: string;
  readonly port: number;
  /** Requests it has had, health checks too. */
  readonly requests: readonly AppRequest[];
  /** Ends WebSockets of `/half-open`. */
  endHalfOpen(): void;
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
 * `/drip` begins a download and never ends it, `/flood` sends as much as it is let, `/wait` never answers, `/fail` answers
 * 500 and `/moved` redirects; health checks ask `/health`. A WebSocket of `/half-open` stays open on the app's side.
 *
 * @param port 0 for a free one
 */
export async function startApp(address: string, port: number, answer: string): Promise<App> {
  const requests: AppRequest[] = [];
  const server = createServer((request, response) => {
    requests.push({ method: request.method ?? '', path: request.url ?? '', headers: request.headers });
    respond(request, response, answer);
  });
  const sockets = new WebSocketServer({ noServer: true });
  const halfOpen = new Set<Duplex>();
  server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/half-open') {
      sockets.handleUpgrade(request, socket, head, (opened) => sockets.emit('connection', opened, request));
      return;
    }
    halfOpen.add(socket.on('error', () => undefined).once('close', () => halfOpen.delete(socket)));
    socket.resume().write(acceptance(request.headers['sec-websocket-key'] ?? ''));
  });
  sockets.on('connection', (socket) => socket.on('message', () => socket.send(answer)));
  const endHalfOpen = (): void => {
    for (const socket of halfOpen) socket.destroy();
  };
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, resolve);
  });
  return {
    address,
    port: (server.address() as AddressInfo).port,
    requests,
    endHalfOpen,
    stop: async () => {
      for (const socket of sockets.clients) socket.terminate();
      endHalfOpen();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The head of an answer by which a connection becomes a WebSocket (RFC 6455, 4.2.2). */
export function acceptance(key: string): string {
  const accepted = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket'];
  return `${lines.join('\r\n')}\r\nSec-WebSocket-Accept: ${accepted}\r\n\r\n`;
}

const flood = Buffer.alloc(65_536, 'a');

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
  if (path.endsWith('/flood')) {
    const pour = (): void => {
      if (!response.destroyed) response.write(flood, () => setImmediate(pour));
    };
    pour();
    return;
  }
  if (path.endsWith('/moved')) response.writeHead(302, { Location: '/elsewhere' });
  if (path.endsWith('/fail')) response.writeHead(500);
  response.end(answer);
}

const service = fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url));

/** The demo service as a process of its own; `sha` in its answers is the instance's name. */
export interface AppProcess {
  /** Dies at once, as in a crash: its kernel closes its connections. */
  kill(): Promise<void>;
  /** Does nothing any more, while its connections stay open. */
  hang(): void;
  /** Its health path answers 500 from now on; all else goes on. */
  failHealth(): Promise<void>;
}

/** @param folder one of its own */
export async function startAppProcess(
  folder: string,
  { address, port, name }: { readonly address: string; readonly port: number; readonly name: string },
  env: Readonly<Record<string, string>> = {},
): Promise<AppProcess> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await copyFile(service, join(folder, 'server.mjs'));
  const child = spawn(process.execPath, ['server.mjs'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { HOST: address, PORT: String(port), BASCULE_SHA: name, ...env },
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return {
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
    hang: () => {
      child.kill('SIGSTOP');
    },
    failHealth: async () => await writeFile(join(folder, 'unhealthy'), ''),
  };
}

/** Who is told by POST. */
export interface Listener {
  readonly url: string;
  /** The documents that it was sent, oldest first. */
  readonly heard: readonly unknown[];
  /** What it answers next, in turn, before it answers 200 again. */
  answer(...statuses: readonly number[]): void;
  stop(): void;
}

export async function startListener(): Promise<Listener> {
  const heard: unknown[] = [];
  const next: number[] = [];
  const server = createServer(async (asked, answer) => {
    const chunks: Buffer[] = [];
    for await (const chunk of asked) chunks.push(chunk);
    heard.push(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    answer.writeHead(next.shift() ?? 200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hooks/secret-of-the-hook`,
    heard,
    answer: (...statuses) => void next.push(...statuses),
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
