import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { BasculeError } from '../errors.js';
import { programsAt } from '../hosts/listeners.js';
import { LocalHost } from '../hosts/local.js';

const listensOn = '127.0.0.1';
/** Of one connection to the next server, never passed on (RFC 9110, 7.6.1). */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'];

/** Where Temporal's own UI server has to listen: behind a front that looks who asks. */
export interface TemporalUi {
  readonly url: string;
  readonly behind: { readonly address: string; readonly port: number };
  stop(): Promise<void>;
}

/**
 * A front for Temporal's UI on a port of 127.0.0.1. The UI answers whatever name it is asked by, so a web page whose
 * name leads to 127.0.0.1 could start workflows by it. The front passes on what was meant for this very address, and the
 * UI itself listens on a loopback address and port that nobody can guess.
 *
 * @throws `address-in-use`
 */
export async function startTemporalUi(port: number): Promise<TemporalUi> {
  // 39 bits: more than a web page can try.
  const behind = {
    address: ['127', randomInt(1, 255), randomInt(256), randomInt(1, 255)].join('.'),
    port: randomInt(20_000, 60_000),
  };
  const hosts = [`${listensOn}:${port}`, `localhost:${port}`];
  const server = createServer((asked, answer) => {
    if (isOwn(asked, hosts)) return forward(asked, answer, behind);
    answer.writeHead(403, { 'content-type': 'text/plain; charset=utf-8' }).end(`Ask for http://${hosts[0]}/ itself.\n`);
  });
  const bind = { address: listensOn, port };
  try {
    await once(server.listen(port, listensOn), 'listening');
  } catch (cause) {
    const listeners = await programsAt(new LocalHost(), bind);
    throw new BasculeError('address-in-use', { host: 'localhost', ...bind, listeners }, { cause });
  }
  return {
    url: `http://${hosts[0]}/`,
    behind,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Whether a request names this server as its host, and comes from no other page. */
function isOwn({ headers: { host, origin } }: IncomingMessage, hosts: readonly string[]): boolean {
  if (host === undefined || !hosts.includes(host)) return false;
  return origin === undefined || hosts.some((one) => origin === `http://${one}`);
}

function forward(asked: IncomingMessage, answer: ServerResponse, { address, port }: TemporalUi['behind']): void {
  const headers = Object.fromEntries(
    Object.entries(asked.headers).filter(([name]) => !hopByHop.includes(name) && name !== 'origin'),
  );
  const passed = request(
    { host: address, port, method: asked.method, path: asked.url, headers: { ...headers, host: `${address}:${port}` } },
    (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    },
  );
  passed.on('error', () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
  answer.on('close', () => passed.destroy());
  asked.pipe(passed);
}
