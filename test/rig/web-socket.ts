import { once } from 'node:events';
import { WebSocket } from 'ws';
import { identityIn } from './visitors/answer.js';
import type { Answer, Load } from './visitors/messages.js';

const openWithinMs = 10_000;

export interface OpenWebSocket {
  /** Messages received up to now. */
  messages(): number;
  /** Who sent the last one. */
  identity(): Pick<Answer, 'environment' | 'component' | 'color' | 'sha'> | null;
  /** When and with which code it closed, or null while it is open. */
  closed(): { readonly at: number; readonly code: number } | null;
  close(): Promise<void>;
}

/**
 * A WebSocket through the edge, held open; returns with its first message.
 *
 * @param options `trusted` are the certificates to trust where it is to be over https
 */
export async function openWebSocket(options: {
  target: Load['target'];
  host: string;
  path: string;
  trusted?: readonly string[];
}): Promise<OpenWebSocket> {
  const { target, host, path, trusted } = options;
  const socket = new WebSocket(`${trusted ? 'wss' : 'ws'}://${target.address}:${target.port}${path}`, {
    headers: { host },
    handshakeTimeout: openWithinMs,
    ...(trusted && { ca: [...trusted], servername: host }),
  });
  let messages = 0;
  let last: ReturnType<OpenWebSocket['identity']> = null;
  let closed: ReturnType<OpenWebSocket['closed']> = null;
  socket.on('message', (data) => {
    messages += 1;
    last = identityIn(data.toString());
  });
  socket.on('close', (code) => {
    closed = { at: Date.now(), code };
  });
  await once(socket, 'message', { signal: AbortSignal.timeout(openWithinMs) });
  // From here on an error is told by `closed`, which always follows it.
  socket.on('error', () => undefined);
  return {
    messages: () => messages,
    identity: () => last,
    closed: () => closed,
    close: async () => {
      if (closed) return;
      const ended = once(socket, 'close');
      socket.close();
      await ended;
    },
  };
}
