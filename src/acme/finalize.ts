import { createHash, createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import type { CertificateFacts, KeyKind, WantedCertificate } from '../domain/certificates.js';
import { BasculeError, type RetryAfter } from '../errors.js';
import { asPem, openAccount } from './account.js';
import { type Authority, nameOf, type Patience } from './authority.js';
import type { Order, ReadyOrder } from './objects.js';
import { lookAtOrder, orderInWords, readAnswer } from './order.js';
import { forgetOrder, type PlacedOrder, placedOrder } from './order-record.js';
import { certificateFiles } from './places.js';
import { poll } from './polling.js';
import { problemInWords, refusalOf } from './problem.js';
import { type Answer, loadClient, type Session } from './session.js';
import { checkCertificate, checkDates } from './x509.js';

const finalize = 'finalize the order';
const download = 'give the certificate';
const generate = promisify(generateKeyPair);

/**
 * Has the authority sign a key that is made here, once for each order, and never leaves this machine. Waits until it has.
 *
 * @throws `acme-order-missing`, `acme-order-pending`, `acme-refused` or `acme-file-damaged` (then the order is forgotten), and
 * those of `Session`
 */
export async function finalizeOrder(
  authority: Authority,
  wanted: WantedCertificate,
  patience: Patience = {},
): Promise<void> {
  const placed = await placedOrder(authority, wanted.name);
  const { session } = await openAccount(authority, patience.signal);
  let isAsked = false;
  const refused = await poll(authority, orderInWords(placed, { status: 'processing' }), patience, async () => {
    const looked = await lookAtOrder(session, placed.url);
    // Those that are pending are not ready yet: another look tells.
    const { order } = looked;
    const isReady = order.status === 'ready' && !isAsked;
    const seen = isReady ? await askToFinalize(authority, session, { wanted, placed, order }) : looked;
    isAsked ||= isReady && seen !== null;
    if (seen?.order.status === 'valid') return { ended: null };
    if (seen?.order.status === 'invalid') return { ended: seen.order.error ?? {} };
    return { retry: seen?.retry };
  });
  if (refused) {
    await forgetOrder(authority, wanted.name);
    throw new BasculeError('acme-refused', {
      ca: nameOf(authority),
      act: finalize,
      status: 200,
      type: refused.type ?? '',
      problem: problemInWords(refused),
    });
  }
}

/** What finalizing answered; null where the order is not ready after all (RFC 8555, 7.4). */
async function askToFinalize(
  authority: Authority,
  session: Session,
  { wanted, placed, order }: { wanted: WantedCertificate; placed: PlacedOrder; order: ReadyOrder },
): Promise<{ readonly order: Order; readonly retry: RetryAfter } | null> {
  const csr = await certificateRequest(authority, wanted, placed);
  let answer: Answer;
  try {
    answer = await session.post(finalize, order.finalize, { csr });
  } catch (error) {
    if (refusalOf(error)?.type === 'orderNotReady') return null;
    // Such as a name or a key that it does not sign: the same request would be refused each time.
    if (refusalOf(error)) await forgetOrder(authority, wanted.name);
    throw error;
  }
  return { order: readAnswer(session, finalize, answer), retry: answer.retry };
}

/** The request, of which the key is kept beside it, as base64url of DER. */
async function certificateRequest(
  authority: Authority,
  { name, key: kind }: WantedCertificate,
  { names, url }: PlacedOrder,
): Promise<string> {
  const { host, state } = authority;
  const { crypto } = await loadClient();
  const { key, request } = certificateFiles(state, name).ofOrder(url);
  if ((await host.readState(key)) === null) await host.createPrivately(key, asPem(await newKey(kind)));
  const pem = (await keyOfOrder(authority, name, key)) ?? '';
  if ((await host.readState(request)) === null) {
    const [, made] = await crypto.createCsr({ altNames: [...names] }, pem);
    await host.createPrivately(request, made.toString());
  }
  return crypto.getPemBodyAsB64u((await host.readState(request)) ?? '');
}

/** The key of an order as PEM; null where none was made. An order is worth nothing without it, so it is forgotten then. */
async function keyOfOrder(authority: Authority, name: string, file: string): Promise<string | null> {
  const pem = await authority.host.readState(file);
  if (pem === null) return null;
  try {
    return asPem(createPrivateKey(pem));
  } catch {
    await forgetOrder(authority, name);
    throw new BasculeError('acme-file-damaged', { name, file, reason: 'it holds no private key that can be read' });
  }
}

async function newKey(kind: KeyKind): Promise<KeyObject> {
  const { privateKey } =
    kind === 'ecdsa'
      ? await generate('ec', { namedCurve: 'prime256v1' })
      : await generate('rsa', { modulusLength: Number(kind.slice(3)) });
  return privateKey;
}

export interface DownloadedCertificate {
  readonly facts: CertificateFacts;
  /** On the edge's host: key, certificate and chain. */
  readonly file: string;
  /** Of that file, as hexadecimal. */
  readonly sha256: string;
}

/**
 * Fetches the certificate of an order, checks it, and puts it with its key and its chain into a file on the edge's host.
 *
 * @throws `certificate-unusable`, `acme-file-damaged`, `acme-order-missing`, `acme-order-pending`, and those of `Session`
 */
export async function downloadCertificate(
  authority: Authority,
  wanted: WantedCertificate,
  { signal }: Pick<Patience, 'signal'> = {},
): Promise<DownloadedCertificate> {
  const placed = await placedOrder(authority, wanted.name);
  const files = certificateFiles(authority.state, wanted.name).ofOrder(placed.url);
  const key = await keyOfOrder(authority, wanted.name, files.key);
  if (key === null) {
    await forgetOrder(authority, wanted.name);
    throw new BasculeError('certificate-unusable', {
      name: wanted.name,
      reason: 'its key was never made on this machine',
    });
  }
  const pem = (await authority.host.readState(files.next)) ?? key + (await fetchChain(authority, placed, signal));
  const expected = { ...wanted, names: placed.names };
  let facts: CertificateFacts;
  try {
    facts = checkCertificate(expected, { chain: pem, key });
  } catch (error) {
    // The authority would answer the same again.
    await forgetOrder(authority, wanted.name);
    throw error;
  }
  checkDates(wanted.name, pem, Date.now());
  await authority.host.createPrivately(files.next, pem);
  return { facts, file: files.next, sha256: sha256(pem) };
}

/** What is to be installed: key, certificate and chain. Throws `acme-order-missing`. */
export async function readDownloaded(
  authority: Authority,
  { name, sha256: digest }: { name: string; sha256: string },
): Promise<string> {
  const placed = await placedOrder(authority, name);
  const files = certificateFiles(authority.state, name);
  const pem = await authority.host.readState(files.ofOrder(placed.url).next);
  if (pem === null || sha256(pem) !== digest) throw new BasculeError('acme-order-missing', { name, file: files.order });
  return pem;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

async function fetchChain(authority: Authority, placed: PlacedOrder, signal: AbortSignal | undefined): Promise<string> {
  const { session } = await openAccount(authority, signal);
  const { order, retry } = await lookAtOrder(session, placed.url);
  if (order.status !== 'valid' || order.certificate === undefined) {
    throw new BasculeError('acme-order-pending', {
      ca: nameOf(authority),
      what: orderInWords(placed, order),
      ...retry,
    });
  }
  const { body } = await session.post(download, order.certificate, null);
  return typeof body === 'string' ? body : '';
}
