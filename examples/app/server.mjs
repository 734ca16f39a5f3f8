// A small service for demos and tests, without dependencies: it says who it is on every path, over HTTP and over a
// WebSocket. A file `unhealthy` in the release makes its health path fail; a file `crash` ends it as it starts.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const longestAnswerMs = 120_000;
const webSocketIntervalMs = 500;
const release = fileURLToPath(new URL('.', import.meta.url));
const identity = JSON.stringify({
  component: process.env.BASCULE_COMPONENT ?? null,
  environment: process.env.BASCULE_ENVIRONMENT ?? null,
  color: process.env.BASCULE_COLOR ?? null,
  sha: process.env.BASCULE_SHA ?? null,
  host: hostname(),
  pid: process.pid,
});

if (existsSync(`${release}crash`)) {
  process.stderr.write('this release crashes as it starts\n');
  process.exit(1);
}

const webSockets = new Set();
const server = createServer(answer);
server.on('upgrade', openWebSocket);
// Longer than any proxy keeps an idle connection, so that it is never this side that closes one as a request comes in.
server.keepAliveTimeout = 75_000;
server.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '127.0.0.1', () => {
  process.stdout.write(`listening on ${process.env.HOST ?? '127.0.0.1'}:${process.env.PORT ?? 8080} as ${identity}\n`);
});
process.on('SIGTERM', stop);

/** `?status=503` answers that status, `?takes=2000` sends its answer over so many milliseconds. */
async function answer(request, response) {
  const url = new URL(request.url ?? '/', 'http://service');
  request.resume();
  const status = isHealthPath(url.pathname) && existsSync(`${release}unhealthy`) ? 500 : askedStatus(url);
  const body = `${identity}\n`;
  response.setHeader('content-type', 'application/json');
  response.setHeader('cache-control', 'no-store');
  if (stopping) response.setHeader('connection', 'close');
  // Else a connection that was busy when the service was told to stop stays open until its idle time is over.
  response.on('close', () => stopping && setImmediate(() => server.closeIdleConnections()));
  const takesMs = Math.min(Number(url.searchParams.get('takes') ?? 0), longestAnswerMs);
  if (!(takesMs > 0)) {
    response.writeHead(status, { 'content-length': Buffer.byteLength(body) }).end(body);
    return;
  }
  response.writeHead(status);
  const until = Date.now() + takesMs;
  while (Date.now() < until && !response.destroyed) {
    response.write(' ');
    await sleep(Math.min(100, Math.max(1, until - Date.now())));
  }
  response.end(body);
}

function isHealthPath(path) {
  return path === '/' || path.endsWith('/health');
}

function askedStatus(url) {
  const status = Number(url.searchParams.get('status') ?? 200);
  return status >= 200 && status <= 599 ? status : 200;
}

/** RFC 6455 as far as this service needs it: it sends its identity every 500 ms and answers ping and close. */
function openWebSocket(request, socket) {
  const key = request.headers['sec-websocket-key'];
  if (!key) {
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.setNoDelay(true);
  socket.write(frame(0x1, Buffer.from(identity)));
  const timer = setInterval(() => socket.write(frame(0x1, Buffer.from(identity))), webSocketIntervalMs);
  webSockets.add(socket);
  let received = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    received = readFrames(Buffer.concat([received, chunk]), socket);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    clearInterval(timer);
    webSockets.delete(socket);
  });
}

/** An unmasked frame of at most 125 bytes, or up to 65,535 with the 16-bit length. */
function frame(opcode, payload) {
  const head =
    payload.length < 126
      ? [0x80 | opcode, payload.length]
      : [0x80 | opcode, 126, payload.length >> 8, payload.length & 0xff];
  return Buffer.concat([Buffer.from(head), payload]);
}

/** Acts on every whole frame in `bytes` and answers the rest. A client's frames are always masked. */
function readFrames(bytes, socket) {
  let rest = bytes;
  while (rest.length >= 6) {
    const short = rest[1] & 0x7f;
    if (short === 127) {
      socket.destroy();
      return Buffer.alloc(0);
    }
    const headLength = short === 126 ? 8 : 6;
    if (rest.length < headLength) return rest;
    const length = short === 126 ? rest.readUInt16BE(2) : short;
    if (rest.length < headLength + length) return rest;
    const mask = rest.subarray(headLength - 4, headLength);
    const payload = rest.subarray(headLength, headLength + length).map((byte, index) => byte ^ mask[index % 4]);
    const opcode = rest[0] & 0x0f;
    if (opcode === 0x8) socket.end(frame(0x8, payload.subarray(0, 2)));
    if (opcode === 0x9) socket.write(frame(0xa, payload));
    rest = rest.subarray(headLength + length);
  }
  return rest;
}

let stopping = false;

/** Takes no new connection, lets requests end and tells every WebSocket that it goes away (1001). */
function stop() {
  if (stopping) return;
  stopping = true;
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  for (const socket of webSockets) socket.end(frame(0x8, Buffer.from([0x03, 0xe9])));
}
