import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const answerWithinMs = 10_000;

export interface RawAnswer {
  readonly status: number;
  /** The names in lower case; of a header that came several times, all values joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** As it came over the wire; chunks are not taken apart. */
  readonly body: string;
}

export interface RawTarget {
  readonly address: string;
  readonly port: number;
  /** Given where the connection is to be TLS: the name to ask for, and the certificates to trust. */
  readonly tls?: { readonly name: string; readonly trusted: readonly string[] };
}

/** A connection of a visitor that writes what it likes. */
export function openRaw(target: RawTarget): Socket {
  const { address: host, port, tls } = target;
  return tls
    ? connectTls({ host, port, servername: tls.name, ca: [...tls.trusted], ALPNProtocols: ['http/1.1'] })
    : connect({ host, port });
}

/**
 * Sends these bytes over a connection of its own, and answers what came back until the edge closed it; null where that
 * was nothing. Throws where it is still open after 10 s.
 */
export async function askRaw(target: RawTarget, request: string | Buffer): Promise<RawAnswer | null> {
  const socket = openRaw(target);
  socket.write(request);
  return parseAnswer(await untilClosed(socket));
}

/** All that comes until the other side closes. */
export function untilClosed(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`still open after ${answerWithinMs} ms, having said: ${text}`));
    }, answerWithinMs);
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', (error) => {
      // An edge that has said what it had to say need not read the rest.
      if (text === '') reject(error);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}

export function parseAnswer(text: string): RawAnswer | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { status: Number(statusLine.split(' ')[1]), headers, body: text.slice(end + 4) };
}
