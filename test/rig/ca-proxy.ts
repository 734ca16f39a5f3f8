import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { makeServerCertificate, type Pebble } from './pebble.js';

/** What is asked of an authority, by the paths that Pebble has for it. */
const paths = {
  directory: '/dir',
  newNonce: '/nonce-plz',
  newAccount: '/sign-me-up',
  account: '/my-account/',
  orders: '/list-orderz/',
  newOrder: '/order-plz',
  order: '/my-order/',
  authorization: '/authZ/',
  challenge: '/chalZ/',
  finalize: '/finalize-order/',
  certificate: '/certZ/',
  revokeCert: '/revoke-cert',
  renewalInfo: '/renewal-info/',
} as const;

export type Endpoint = keyof typeof paths;

export type Fault =
  /** Answered by the proxy; the authority never hears of it. */
  | { readonly answer: { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown } }
  /** The authority does it, and the answer is lost. */
  | { readonly cut: true }
  /** The authority does it, and its answer waits until this is done. */
  | { readonly meanwhile: () => Promise<void> }
  /** The answer is another one. */
  // biome-ignore lint/suspicious/noExplicitAny: an answer's body, of which each test knows the part that it changes.
  | { readonly change: (body: any) => unknown; readonly headers?: Record<string, string> };

/** An https server in front of Pebble that does to its answers what it is told. */
export interface CaProxy {
  readonly directory: string;
  readonly caFile: string;
  /** Breaks the next requests of a kind: as many as said, else all until `mend`. Faults of one kind follow one another. */
  inject(endpoint: Endpoint, fault: Fault, times?: number): void;
  /** Breaks nothing any more. */
  mend(): void;
  /** Payloads of the requests of a kind, in the order in which they came; those that were answered by the proxy as well. */
  payloads(endpoint: Endpoint): readonly unknown[];
  /** Bodies of the authority's own answers to the requests of a kind that it did not refuse, as text. */
  answers(endpoint: Endpoint): readonly string[];
  stop(): Promise<void>;
}

/** A problem document, as an authority answers it. */
export function problem(
  type: string,
  status: number,
  detail: string,
  {
    headers = {},
    ...more
  }: { readonly headers?: Record<string, string>; readonly subproblems?: readonly unknown[] } = {},
): Fault {
  return {
    answer: {
      status,
      headers: { 'content-type': 'application/problem+json', ...headers },
      body: { type: `urn:ietf:params:acme:error:${type}`, status, detail, ...more },
    },
  };
}

interface Waiting {
  readonly fault: Fault;
  left: number;
}

export async function startCaProxy(pebble: Pick<Pebble, 'address' | 'port' | 'caFile'>): Promise<CaProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-ca-proxy-'));
  const { caFile, certificate, privateKey } = await makeServerCertificate(folder);
  const trusted = await readFile(pebble.caFile, 'utf8');
  const faults = new Map<Endpoint, Waiting[]>();
  const seen = new Map<Endpoint, unknown[]>();
  const answered = new Map<Endpoint, string[]>();

  const nextFault = (endpoint: Endpoint): Fault | null => {
    const waiting = faults.get(endpoint)?.find(({ left }) => left > 0);
    if (!waiting) return null;
    waiting.left -= 1;
    return waiting.fault;
  };

  const forward = async (from: { method?: string; url?: string; headers: IncomingHttpHeaders }, body: string) =>
    await new Promise<{ status: number; headers: IncomingHttpHeaders; body: string }>((resolve, reject) => {
      // Pebble makes its URLs of the Host that it is asked by, so they lead here.
      const { address: host, port } = pebble;
      const { method, url: path, headers } = from;
      const asking = request({ host, port, method, path, headers, ca: trusted, agent: false });
      asking.on('error', reject);
      asking.on('response', (response) => {
        text(response).then(
          (answer) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer }),
          reject,
        );
      });
      asking.end(body);
    });

  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const { method = 'GET', url = '', headers } = incoming;
    const body = await text(incoming);
    const endpoint = endpointOf(url);
    seen.set(endpoint, [...(seen.get(endpoint) ?? []), payloadOf(body)]);
    const fault = nextFault(endpoint);
    const host = headers.host;
    if (fault && 'answer' in fault) {
      const nonce = await forward({ method: 'HEAD', url: paths.newNonce, headers: { host } }, '');
      const { status, headers: own, body: answer } = fault.answer;
      outgoing.writeHead(status, STATUS_CODES[status], {
        ...nonceOf(nonce.headers),
        'content-type': 'application/json',
        ...own,
      });
      outgoing.end(method === 'HEAD' ? undefined : JSON.stringify(answer ?? {}));
      return;
    }
    const answer = await forward({ method, url, headers }, body);
    if (answer.status < 300) answered.set(endpoint, [...(answered.get(endpoint) ?? []), answer.body]);
    if (fault && 'meanwhile' in fault) await fault.meanwhile();
    if (fault && 'cut' in fault) {
      incoming.socket.destroy();
      return;
    }
    const changed = fault && 'change' in fault ? JSON.stringify(fault.change(JSON.parse(answer.body))) : answer.body;
    const { 'content-length': _, 'transfer-encoding': __, ...others } = answer.headers;
    outgoing.writeHead(answer.status, { ...others, ...(fault && 'change' in fault ? fault.headers : {}) });
    outgoing.end(changed);
  };

  const [cert, key] = [await readFile(certificate), await readFile(privateKey)];
  const server = createServer({ cert, key }, (incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => incoming.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, pebble.address, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    directory: `https://${pebble.address}:${port}${paths.directory}`,
    caFile,
    inject: (endpoint, fault, times = Number.POSITIVE_INFINITY) => {
      faults.set(endpoint, [...(faults.get(endpoint) ?? []), { fault, left: times }]);
    },
    mend: () => faults.clear(),
    payloads: (endpoint) => seen.get(endpoint) ?? [],
    answers: (endpoint) => answered.get(endpoint) ?? [],
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function endpointOf(url: string): Endpoint {
  const found = Object.entries(paths).find(([, path]) => (path.endsWith('/') ? url.startsWith(path) : url === path));
  if (!found) throw new Error(`Pebble has no ${url}`);
  return found[0] as Endpoint;
}

const nonceOf = ({ 'replay-nonce': nonce }: IncomingHttpHeaders): Record<string, string> =>
  typeof nonce === 'string' ? { 'replay-nonce': nonce } : {};

/** What a signed request carries; null where there is none. */
function payloadOf(body: string): unknown {
  if (body === '') return null;
  const { payload = '' } = JSON.parse(body) as { payload?: string };
  return payload === '' ? null : JSON.parse(Buffer.from(payload, 'base64url').toString());
}
