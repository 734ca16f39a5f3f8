import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accountThumbprint, registerAccount } from '../../src/acme/account.js';
import type { Authority, Patience } from '../../src/acme/authority.js';
import { answerChallenges } from '../../src/acme/challenges.js';
import { type DownloadedCertificate, downloadCertificate, finalizeOrder } from '../../src/acme/finalize.js';
import { beginOrder } from '../../src/acme/order.js';
import type { WantedCertificate } from '../../src/domain/certificates.js';
import { LocalHost } from '../../src/hosts/local.js';
import { type CaProxy, startCaProxy } from './ca-proxy.js';
import { type NameServer, startNameServer } from './name-server.js';
import { type Pebble, type PebbleOptions, startPebble } from './pebble.js';
import { freePort } from './ports.js';

/** A certificate authority with a fault proxy before it, and who answers its challenges in place of an edge. */
export interface AcmeUnderTest {
  readonly pebble: Pebble;
  readonly proxy: CaProxy;
  readonly nameServer: NameServer;
  /** `<address>:<port>` of the name server. */
  readonly nameServers: readonly string[];
  readonly httpPort: number;
  /** An authority with a state folder of its own: nobody's account is known there. */
  newAuthority(): Promise<Authority>;
  /** Answers challenges for names by the authority's account. */
  serve(authority: Authority, ...names: readonly string[]): Promise<void>;
  /** Answers no challenge for a name: it is not found. */
  silence(name: string): void;
  stop(): Promise<void>;
}

const address = '127.0.0.1';

export async function startAcme(options: Omit<PebbleOptions, 'httpPort' | 'nameServer'> = {}): Promise<AcmeUnderTest> {
  const [httpPort, dnsPort] = [await freePort(), await freePort()];
  const nameServer = await startNameServer(address, dnsPort);
  const thumbprints = new Map<string, string>();
  const responder = createServer((asked, answer) => {
    const [, , , token] = (asked.url ?? '').split('/');
    const thumbprint = thumbprints.get((asked.headers.host ?? '').split(':')[0] ?? '');
    if (thumbprint) answer.end(`${token}.${thumbprint}`);
    else answer.writeHead(404).end();
  });
  await new Promise<void>((resolve) => responder.listen(httpPort, address, resolve));
  const pebble = await startPebble({ ...options, httpPort, nameServer: `${address}:${dnsPort}` });
  const proxy = await startCaProxy(pebble);
  const folders: string[] = [];
  return {
    pebble,
    proxy,
    nameServer,
    nameServers: [`${address}:${dnsPort}`],
    httpPort,
    newAuthority: async () => {
      const state = await mkdtemp(join(tmpdir(), 'bascule-acme-'));
      folders.push(state);
      return { host: new LocalHost(), state, directory: proxy.directory, caFile: proxy.caFile };
    },
    serve: async (authority, ...names) => {
      const thumbprint = await accountThumbprint(authority);
      for (const name of names) {
        thumbprints.set(name, thumbprint);
        nameServer.addresses.set(name, address);
      }
    },
    silence: (name) => thumbprints.delete(name),
    stop: async () => {
      responder.closeAllConnections();
      responder.close();
      await Promise.all([pebble.stop(), proxy.stop(), nameServer.stop()]);
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The steps of a certificate, one after another; `before` is called before each of them. */
export async function issue(
  authority: Authority,
  wanted: WantedCertificate,
  { before = () => {}, ...patience }: Patience & { readonly before?: (step: string) => void } = {},
): Promise<DownloadedCertificate> {
  before('register');
  await registerAccount(authority, { email: 'ops@example.org' });
  before('begin');
  await beginOrder(authority, wanted);
  before('answer');
  await answerChallenges(authority, wanted.name, patience);
  before('finalize');
  await finalizeOrder(authority, wanted, patience);
  before('download');
  return await downloadCertificate(authority, wanted);
}
