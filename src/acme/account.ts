import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import * as z from 'zod';
import { BasculeError } from '../errors.js';
import { type Authority, nameOf } from './authority.js';
import { accountObject } from './objects.js';
import { accountFiles } from './places.js';
import { refusalOf } from './problem.js';
import { type Credentials, Session } from './session.js';

/** Who we are to an authority. */
export interface AccountWish {
  readonly email?: string;
  /** External account binding: the key as its authority shows it, in base64url. */
  readonly externalAccount?: { readonly keyId: string; readonly key: string };
  readonly signal?: AbortSignal;
}

const recordSchema = z.object({
  url: z.string(),
  /** Of the key that it was registered with. */
  thumbprint: z.string(),
  email: z.string().nullable(),
});

type AccountRecord = z.infer<typeof recordSchema>;

const register = 'register an account';

/**
 * Thumbprint of the account's key, by which challenges are answered (RFC 8555, 8.1; RFC 7638). The key is made where there
 * is none; the authority is not asked. Throws `acme-account-key-unusable`, `file-not-writable`.
 */
export async function accountThumbprint(authority: Authority): Promise<string> {
  return thumbprintOf(await accountKey(authority));
}

/**
 * Registers the account once, and answers its URL. One that the authority does not know any more is registered again.
 *
 * @throws `acme-external-account-needed`, `acme-refused`, and those of `Session`
 */
export async function registerAccount(authority: Authority, wish: AccountWish = {}): Promise<{ readonly url: string }> {
  const { email, externalAccount, signal } = wish;
  if (externalAccount && !/^[A-Za-z0-9_-]+=*$/.test(externalAccount.key)) {
    throw new BasculeError('acme-external-account-unusable', {});
  }
  const key = await accountKey(authority);
  const thumbprint = thumbprintOf(key);
  const contact = email === undefined ? [] : [`mailto:${email}`];
  const recorded = await readRecord(authority);
  if (recorded?.thumbprint === thumbprint) {
    const session = await Session.open(authority, { key, account: recorded.url }, signal);
    const isKnown = await knows(session, recorded.url, recorded.email === (email ?? null) ? null : { contact });
    if (isKnown) {
      if (recorded.email !== (email ?? null)) await remember(authority, { ...recorded, email: email ?? null });
      return { url: recorded.url };
    }
  }

  const session = await Session.open(
    authority,
    { key, account: null, ...(externalAccount && { externalAccount }) },
    signal,
  );
  const newAccount = await session.directoryUrl('newAccount');
  const { meta } = await session.directory();
  // A key that was taken over is known there: then nothing has to be proven again.
  const existing = await findAccount(session, newAccount);
  if (existing === null && meta.externalAccountRequired && !externalAccount) {
    throw new BasculeError('acme-external-account-needed', { ca: nameOf(authority) });
  }
  const url = existing ?? (await createAccount(session, newAccount, { termsOfServiceAgreed: true, contact }));
  await remember(authority, { url, thumbprint, email: email ?? null });
  return { url };
}

/** A session in which requests are signed by the account. Throws `acme-account-missing`. */
export async function openAccount(
  authority: Authority,
  signal?: AbortSignal,
): Promise<{ readonly session: Session; readonly account: string }> {
  const key = await accountKey(authority);
  const recorded = await readRecord(authority);
  if (recorded?.thumbprint !== thumbprintOf(key)) {
    throw new BasculeError('acme-account-missing', { ca: nameOf(authority), file: accountFiles(authority).record });
  }
  const credentials: Credentials = { key, account: recorded.url };
  return { session: await Session.open(authority, credentials, signal), account: recorded.url };
}

/** URL of the list of the account's orders; null where the authority keeps none. */
export async function ordersUrl(session: Session, account: string): Promise<string | null> {
  const { body } = await session.post('show the account', account, null);
  return session.read('show the account', accountObject, body).orders ?? null;
}

/** The account's key as PEM, made where there is none. */
export async function accountKey(authority: Authority): Promise<string> {
  const file = accountFiles(authority).key;
  const read = async () => await authority.host.readState(file);
  let pem = await read();
  if (pem === null) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    await authority.host.createPrivately(file, asPem(privateKey));
    pem = await read();
  }
  parseAccountKey(file, pem ?? '');
  return pem ?? '';
}

/** Throws `acme-account-key-unusable`. */
export function parseAccountKey(file: string, pem: string): KeyObject {
  const refuse = (reason: string) => new BasculeError('acme-account-key-unusable', { file, reason });
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    throw refuse('it holds no private key that can be read');
  }
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa' && modulusLength >= 2_048) return key;
  if (key.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1'].includes(namedCurve)) return key;
  throw refuse(`its key is of the kind ${[key.asymmetricKeyType, namedCurve || modulusLength || ''].join(' ').trim()}`);
}

export const asPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** RFC 7638: the members that make the key, in the order of their names. */
export function thumbprintOf(pem: string): string {
  const { crv, e, kty, n, x, y } = createPublicKey(pem).export({ format: 'jwk' });
  const members = kty === 'RSA' ? { e, kty, n } : { crv, kty, x, y };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}

/** The registered account; null where there is none. */
export async function readRecord(authority: Authority): Promise<AccountRecord | null> {
  const text = await authority.host.readState(accountFiles(authority).record);
  if (text === null) return null;
  try {
    // What is damaged is asked for again: the key is what counts.
    return recordSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

async function remember(authority: Authority, record: AccountRecord): Promise<void> {
  await authority.host.writePrivately(accountFiles(authority).record, `${JSON.stringify(record)}\n`);
}

/** Whether the authority knows the account; tells it what has changed. */
async function knows(session: Session, url: string, change: object | null): Promise<boolean> {
  try {
    await session.post('show the account', url, change);
    return true;
  } catch (error) {
    if (refusalOf(error)?.type === 'accountDoesNotExist' || refusalOf(error)?.status === 404) return false;
    throw error;
  }
}

async function findAccount(session: Session, newAccount: string): Promise<string | null> {
  try {
    const { location } = await session.post(register, newAccount, { onlyReturnExisting: true }, { asNew: true });
    return location;
  } catch (error) {
    const type = refusalOf(error)?.type;
    if (type === 'accountDoesNotExist' || type === 'externalAccountRequired') return null;
    throw error;
  }
}

async function createAccount(session: Session, newAccount: string, payload: object): Promise<string> {
  const { location } = await session.post(register, newAccount, payload, { asNew: true });
  return session.read(register, z.string({ message: 'no Location' }), location);
}
