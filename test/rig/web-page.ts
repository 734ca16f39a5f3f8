import { readdir, readFile, readlink } from 'node:fs/promises';
import { request } from 'node:http';
import { processesOf } from '../../src/hosts/processes.js';
import { scaled } from './tier.js';

export interface ListeningPort {
  readonly pid: number;
  readonly address: string;
  readonly port: number;
}

/** Where these processes listen by TCP over IPv4. */
export async function listeningPorts(pids: readonly number[]): Promise<readonly ListeningPort[]> {
  const listening = await listeningSockets();
  const found = await Promise.all(
    pids.map(async (pid) => {
      const folder = `/proc/${pid}/fd`;
      const names = await readdir(folder).catch(() => []);
      const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
      return [...new Set(links)].flatMap((link) => {
        const place = listening.get(link);
        return place ? [{ pid, ...place }] : [];
      });
    }),
  );
  return found.flat();
}

/** By what a file descriptor is linked to. */
async function listeningSockets(): Promise<ReadonlyMap<string, { address: string; port: number }>> {
  const lines = (await readFile('/proc/net/tcp', 'utf8')).trim().split('\n').slice(1);
  return new Map(
    lines.flatMap((line) => {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      const [address = '', port = ''] = local.split(':');
      // Bytes of the address are written in the order of the machine, which is little-endian.
      const bytes = Buffer.from(address, 'hex').toReversed();
      return state === '0A'
        ? [[`socket:[${inode}]`, { address: bytes.join('.'), port: Number.parseInt(port, 16) }]]
        : [];
    }),
  );
}

const start = JSON.stringify({ workflowType: { name: 'foreign' }, taskQueue: { name: 'foreign' } });
const paths = ['/', '/api/v1/namespaces', '/api/v1/namespaces/default/workflows/foreign', '/metrics', '/debug/pprof/'];

/** What a page can have a browser send: with its own name, when it leads to this machine, or by the address itself. */
const ways = (port: number) => [
  { way: 'GET, rebound', method: 'GET', headers: { host: `foreign.example:${port}` } },
  {
    way: 'POST text/plain, rebound',
    method: 'POST',
    headers: {
      host: `foreign.example:${port}`,
      origin: `http://foreign.example:${port}`,
      'content-type': 'text/plain',
    },
  },
  {
    way: 'POST text/plain',
    method: 'POST',
    headers: { host: `127.0.0.1:${port}`, origin: 'http://foreign.example', 'content-type': 'text/plain' },
  },
  {
    way: 'POST form',
    method: 'POST',
    headers: {
      ...{ host: `localhost:${port}`, origin: 'null' },
      'content-type': 'application/x-www-form-urlencoded',
    },
  },
  {
    way: 'WebSocket',
    method: 'GET',
    headers: {
      ...{ host: `127.0.0.1:${port}`, origin: 'http://foreign.example', connection: 'Upgrade', upgrade: 'websocket' },
      ...{ 'sec-websocket-version': '13', 'sec-websocket-key': 'Zm9yZWlnbi1mb3JlaWdu' },
    },
  },
];

/** Sends what a web page of another origin can send to a port, and answers what was taken: `<way> <path> <status>`. */
export async function askAsWebPage({ address, port }: { address: string; port: number }): Promise<readonly string[]> {
  const asked = ways(port).flatMap(({ way, method, headers }) =>
    paths.map(async (path) => {
      const status = await statusOf({ host: address, port, path, method, headers });
      return status !== null && status < 400 ? [`${way} ${path} ${status}`] : [];
    }),
  );
  return (await Promise.all(asked)).flat();
}

/**
 * What the programs of a folder take of a web page at ports of 127.0.0.1, by name and path; sites answer for themselves.
 */
export async function takenFromWebPages(folder: string, sites: readonly number[]): Promise<readonly string[]> {
  const processes = await processesOf(folder);
  const ports = await listeningPorts(processes.map(({ pid }) => pid));
  const own = ports.filter(({ address, port }) => address === '127.0.0.1' && !sites.includes(port));
  const taken = await Promise.all(
    own.map(async ({ pid, ...place }) => {
      const name = processes.find((one) => one.pid === pid)?.name;
      return (await askAsWebPage(place)).map((one) => `${name}: ${/\/\S*/.exec(one.replace('text/plain', ''))}`);
    }),
  );
  return [...new Set(taken.flat())].toSorted();
}

/** Null where no HTTP came back. */
function statusOf(options: {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly method: string;
  readonly headers: Record<string, string>;
}): Promise<number | null> {
  return new Promise((resolve) => {
    const asked = request({ ...options, timeout: scaled(5_000), agent: false }, (answer) => {
      resolve(answer.statusCode ?? null);
      asked.destroy();
    });
    asked.on('upgrade', () => resolve(101));
    asked.on('error', () => resolve(null)).on('timeout', () => asked.destroy());
    asked.end(options.method === 'POST' ? start : undefined);
  });
}
