import { once } from 'node:events';
import { request as ask, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ActName, Moment } from '../../rig/acts.js';
import { until } from '../../rig/chaos.js';

/** What is asked of Incus itself for an instance. */
export const requestActs = ['make', 'power on', 'remove'] as const;

/** Between a worker and Incus: single requests can be stopped on their way, each once. */
export interface HeldRequests {
  /** Where it listens, in place of Incus's own socket. */
  readonly socket: string;
  /** The next such request waits; later ones do not. */
  hold(name: ActName, moment: Moment): void;
  reached(name: ActName): Promise<void>;
  /** Lets it go on, and answers 0 when Incus has done it, else the status of its refusal. */
  goOn(name: ActName): Promise<number>;
  letAllGo(): void;
  stop(): Promise<void>;
}

interface Held {
  readonly moment: Moment;
  isReached: boolean;
  code: number | null;
  readonly going: AbortController;
}

const keyOf = ({ place, act }: ActName): string => `${place} ${act}`;

export async function holdRequests(directory: string, incusSocket: string): Promise<HeldRequests> {
  const socket = join(directory, 'held.socket');
  const held = new Map<string, Held>();
  const sockets = new Set<Socket>();

  const forward = async (request: IncomingMessage, response: ServerResponse) => {
    const body = isChange(request) ? await text(request) : null;
    const name = body === null ? null : nameOf(request, body);
    const found = name === null ? undefined : held.get(keyOf(name));
    const waits = found && !found.isReached ? found : null;
    if (waits?.moment === 'before') await wait(waits);
    const answering = ask({
      socketPath: incusSocket,
      method: request.method,
      path: request.url,
      headers: request.headers,
    });
    if (body === null) request.pipe(answering);
    else answering.end(body);
    const [answer] = (await once(answering, 'response')) as [IncomingMessage];
    if (!waits) {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      return;
    }
    const said = await text(answer);
    const code = await outcomeOf(incusSocket, answer.statusCode ?? 502, said);
    if (waits.moment === 'after') await wait(waits);
    waits.code = code;
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.end(said);
  };

  const server = createServer((request, response) => {
    // Whoever asks may be gone by the answer.
    forward(request, response).catch(() => response.destroy());
  });
  server.on('connection', (one: Socket) => {
    sockets.add(one);
    one.on('error', () => undefined).on('close', () => sockets.delete(one));
  });
  server.on('upgrade', (request: IncomingMessage, one: Socket, first: Buffer) => {
    const other = connect(incusSocket);
    sockets.add(other);
    other.on('error', () => one.destroy()).on('close', () => one.destroy());
    one.on('close', () => other.destroy());
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let index = 0; index < request.rawHeaders.length; index += 2) {
      lines.push(`${request.rawHeaders[index]}: ${request.rawHeaders[index + 1]}`);
    }
    other.write(`${lines.join('\r\n')}\r\n\r\n`);
    other.write(first);
    one.pipe(other).pipe(one);
  });
  server.requestTimeout = 0;
  server.listen(socket);
  await once(server, 'listening');

  return {
    socket,
    hold(name, moment) {
      held.set(keyOf(name), { moment, isReached: false, code: null, going: new AbortController() });
    },
    reached: (name) => until(`${keyOf(name)} is held`, async () => held.get(keyOf(name))?.isReached).then(() => {}),
    async goOn(name) {
      const one = held.get(keyOf(name));
      one?.going.abort();
      return await until(`${keyOf(name)} is answered`, async () =>
        one?.code === null ? null : { code: one?.code },
      ).then(({ code }) => code ?? -1);
    },
    letAllGo() {
      for (const one of held.values()) one.going.abort();
      held.clear();
    },
    async stop() {
      for (const one of held.values()) one.going.abort();
      for (const one of sockets) one.destroy();
      server.close();
    },
  };
}

async function wait(held: Held): Promise<void> {
  held.isReached = true;
  if (!held.going.signal.aborted) await once(held.going.signal, 'abort');
}

const isChange = ({ method, url = '' }: IncomingMessage): boolean =>
  (method === 'POST' && /^\/1\.0\/instances\?/.test(url)) ||
  (method === 'PUT' && /^\/1\.0\/instances\/[^/?]+\/state\?/.test(url)) ||
  (method === 'DELETE' && /^\/1\.0\/instances\/[^/?]+\?/.test(url));

function nameOf({ method, url = '' }: IncomingMessage, body: string): ActName | null {
  const place = /^\/1\.0\/instances\/([^/?]+)/.exec(url)?.[1] ?? '';
  if (method === 'DELETE') return { place, act: 'remove' };
  const { name = '', action = '' } = JSON.parse(body) as { name?: string; action?: string };
  if (method === 'POST') return { place: name, act: 'make' };
  return action === 'start' ? { place, act: 'power on' } : null;
}

/** What became of what Incus does in its own time. */
async function outcomeOf(socketPath: string, status: number, said: string): Promise<number> {
  if (status >= 400) return status;
  const { operation } = JSON.parse(said) as { operation?: string };
  if (!operation) return 0;
  const waiting = ask({ socketPath, path: `${operation}/wait?timeout=-1` }).end();
  const [answer] = (await once(waiting, 'response')) as [IncomingMessage];
  const { metadata } = JSON.parse(await text(answer)) as { metadata?: { status_code: number } };
  const code = metadata?.status_code ?? 502;
  return code === 200 ? 0 : code;
}
