import { readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { BasculeError } from '../errors.js';

const proxyVariables = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'HTTP_PROXY'];

/** Each keeps connections; few of them are ever made. */
const dispatchers = new Map<string, Dispatcher>();

/**
 * How servers of artifacts are connected to: through the proxy of the worker's environment (`HTTPS_PROXY`, `HTTP_PROXY`,
 * `NO_PROXY`, in upper or lower case), and trusted by the roots of a file besides the usual ones.
 *
 * @throws `artifact-ca-file-unreadable`
 */
export async function dispatcherFor(
  caFile: string | undefined,
  { isDirect }: { readonly isDirect: boolean },
): Promise<Dispatcher> {
  const roots = caFile === undefined ? '' : await readRoots(caFile);
  const key = JSON.stringify([isDirect, roots, ...proxyVariables.map((name) => process.env[name])]);
  const known = dispatchers.get(key);
  if (known) return known;
  const made = isDirect ? new Agent({ connect: trustOf(roots) }) : proxied(trustOf(roots));
  dispatchers.set(key, made);
  return made;
}

/** By http: the proxy is asked for the URL itself, as curl does; many let nobody through to other ports than 443. */
const proxied = (tls: object): Dispatcher =>
  new EnvHttpProxyAgent({ connect: tls, requestTls: tls, proxyTls: tls, proxyTunnel: false });

/** Read once: `ca` would have all roots read again for each connection. */
const trustOf = (roots: string): object =>
  roots === '' ? {} : { secureContext: createSecureContext({ ca: [...rootCertificates, roots] }) };

async function readRoots(file: string): Promise<string> {
  try {
    const roots = await readFile(file, 'utf8');
    if (roots.includes('-----BEGIN CERTIFICATE-----')) return roots;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BasculeError('artifact-ca-file-unreadable', { file, reason }, { cause: error });
  }
  throw new BasculeError('artifact-ca-file-unreadable', { file, reason: 'it holds no certificate in PEM' });
}
