import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { ask } from './ask.js';
import { freePort } from './ports.js';

export interface PebbleOptions {
  /** Port of http at which it asks for challenges. */
  readonly httpPort: number;
  /** `<address>:<port>` of the only name server that it asks; else the machine's. */
  readonly nameServer?: string;
  /** It waits before it looks at a challenge, and refuses one of twenty good nonces, as it comes; else neither. */
  readonly asItComes?: boolean;
  /** Key by id of external accounts: then it takes only those. */
  readonly externalAccounts?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Let's Encrypt's test authority, as Debian packages it. */
export interface Pebble {
  readonly address: string;
  readonly port: number;
  /** URL of its ACME directory. */
  readonly directory: string;
  /** PEM file of the root by which its own server is trusted. */
  readonly caFile: string;
  /** PEM of the root of the certificates that it issues. */
  readonly issuingRoot: string;
  /** How many orders it was asked for and took. */
  orders(): number;
  /** `Valid` or `Revoked`, by a certificate's serial number. */
  statusOf(serial: string): Promise<string>;
  log(): string;
  stop(): Promise<void>;
}

const address = '127.0.0.1';
const startsWithinMs = 20_000;

export async function startPebble(options: PebbleOptions): Promise<Pebble> {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-pebble-'));
  const { caFile, certificate, privateKey } = await makeServerCertificate(folder);
  const [port, managementPort, tlsPort] = [await freePort(), await freePort(), await freePort()];
  const config = join(folder, 'pebble.json');
  const { externalAccounts } = options;
  await writeFile(
    config,
    JSON.stringify({
      pebble: {
        listenAddress: `${address}:${port}`,
        managementListenAddress: `${address}:${managementPort}`,
        certificate,
        privateKey,
        httpPort: options.httpPort,
        tlsPort,
        ocspResponderURL: '',
        externalAccountBindingRequired: externalAccounts !== undefined,
        ...(externalAccounts && { externalAccountMACKeys: externalAccounts }),
      },
    }),
  );
  const args = ['-config', config, ...(options.nameServer ? ['-dnsserver', options.nameServer] : [])];
  const process = execa('pebble', args, {
    reject: false,
    all: true,
    env: {
      ...(options.asItComes ? {} : { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0' }),
      ...options.environment,
    },
  });
  let log = '';
  process.all?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  let hasEnded = false;
  const end = process.then(() => {
    hasEnded = true;
  });
  const stop = async () => {
    process.kill('SIGKILL');
    await end;
    await rm(folder, { recursive: true, force: true });
  };

  const trusted = [await readFile(caFile, 'utf8')];
  const text = async (of: number, path: string): Promise<string> => {
    const { status, body } = await ask({ address, port: of, trusted }, 'localhost', path);
    if (status !== 200) throw new Error(`${status} ${body}`);
    return body;
  };
  const manage = async (path: string) => await text(managementPort, path);
  const deadline = performance.now() + startsWithinMs;
  for (;;) {
    const root = await manage('/roots/0').catch(() => null);
    const isServing = root !== null && (await text(port, '/dir').catch(() => null)) !== null;
    if (isServing) {
      return {
        address,
        port,
        directory: `https://${address}:${port}/dir`,
        caFile,
        issuingRoot: root,
        orders: () => log.split('Added order ').length - 1,
        statusOf: async (serial) => JSON.parse(await manage(`/cert-status-by-serial/${serial}`)).Status,
        log: () => log,
        stop,
      };
    }
    if (hasEnded || performance.now() > deadline) {
      await stop();
      throw new Error(`Pebble does not serve: ${log}`);
    }
    await sleep(50);
  }
}

/** A server's certificate for 127.0.0.1, signed by a root of its own: Debian's Pebble brings none. */
export async function makeServerCertificate(
  folder: string,
): Promise<{ readonly caFile: string; readonly certificate: string; readonly privateKey: string }> {
  await mkdir(folder, { recursive: true });
  const file = (name: string) => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await execa('openssl', [
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=Root of a test'],
    ...['-keyout', file('root.key'), '-out', file('root.pem')],
  ]);
  await writeFile(file('server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n');
  await execa('openssl', [
    'req',
    '-new',
    ...newKey,
    '-subj',
    '/CN=localhost',
    '-keyout',
    file('server.key'),
    '-out',
    file('server.csr'),
  ]);
  await execa('openssl', [
    ...['x509', '-req', '-in', file('server.csr'), '-days', '2', '-CA', file('root.pem'), '-CAkey', file('root.key')],
    ...['-set_serial', '1', '-extfile', file('server.ext'), '-out', file('server.pem')],
  ]);
  return { caFile: file('root.pem'), certificate: file('server.pem'), privateKey: file('server.key') };
}

/** Whether a root signed what signed a certificate: its chain, as served or installed. */
export function isIssuedBy(root: string, pem: string): boolean {
  const chain = (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []).map(
    (text) => new X509Certificate(text),
  );
  const top = chain.at(-1);
  return chain.length > 1 && top !== undefined && top.verify(new X509Certificate(root).publicKey);
}
