import { X509Certificate } from 'node:crypto';
import * as z from 'zod';
import type { RenewalWindow } from '../domain/certificates.js';
import type { Host } from '../hosts/host.js';
import { accountKey } from './account.js';
import type { Authority } from './authority.js';
import { renewalInfoObject } from './objects.js';
import { certificateFiles } from './places.js';
import { Session } from './session.js';
import { renewalId } from './x509.js';

const keptSchema = z.object({
  id: z.string(),
  window: renewalInfoObject.shape.suggestedWindow.nullable(),
  askAgainAt: z.number(),
});

/** RFC 9773, 4.3.3: where it fails or says nothing it is asked again after a while. */
const askAgainMs = 6 * 60 * 60_000;
const longestAskAgainMs = 24 * 60 * 60_000;
const show = 'say when to renew';

/**
 * When the authority wants an installed certificate to be renewed; null where it does not say. Advisory: whatever fails is
 * null, or what it said last. It is not asked again before it wants to be.
 */
export async function renewalWindow(
  authority: Authority,
  { name, file, signal }: { readonly name: string; readonly file: string; readonly signal?: AbortSignal },
): Promise<RenewalWindow | null> {
  const id = await renewalIdOfFile(authority.host, file);
  if (id === null) return null;
  const place = certificateFiles(authority.state, name).renewal;
  const kept = await readKept(authority.host, place);
  const known = kept?.id === id ? kept : null;
  if (known && Date.now() < known.askAgainAt) return known.window;
  const answered = await ask(authority, id, signal);
  const window = answered?.window ?? known?.window ?? null;
  try {
    const askAgainAt = Date.now() + Math.min(answered?.retryAfterMs ?? askAgainMs, longestAskAgainMs);
    await authority.host.writePrivately(place, `${JSON.stringify({ id, window, askAgainAt })}\n`);
  } catch {
    // It is only asked too early then.
  }
  return window;
}

/** What the authority said last of an installed certificate, without asking it; null where it said nothing. */
export async function knownRenewalWindow(
  { host, state }: Authority,
  { name, file }: { readonly name: string; readonly file: string },
): Promise<RenewalWindow | null> {
  const kept = await readKept(host, certificateFiles(state, name).renewal);
  return kept !== null && kept.id === (await renewalIdOfFile(host, file)) ? kept.window : null;
}

/** The name by which authorities know the certificate in a PEM file; null where there is none. */
export async function renewalIdOfFile(host: Host, file: string): Promise<string | null> {
  try {
    const pem = await host.readText(file);
    return pem === null ? null : renewalId(new X509Certificate(pem));
  } catch {
    return null;
  }
}

async function ask(
  authority: Authority,
  id: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly window: RenewalWindow; readonly retryAfterMs: number | null } | null> {
  try {
    // Nothing is signed: a session only needs some key.
    const session = await Session.open(authority, { key: await accountKey(authority), account: null }, signal);
    const { renewalInfo } = await session.directory();
    if (!renewalInfo) return null;
    const { body, retry } = await session.get(show, `${renewalInfo.replace(/\/$/, '')}/${id}`);
    return { window: session.read(show, renewalInfoObject, body).suggestedWindow, retryAfterMs: retry.retryAfterMs };
  } catch {
    signal?.throwIfAborted();
    return null;
  }
}

async function readKept(host: Host, file: string): Promise<z.infer<typeof keptSchema> | null> {
  try {
    return keptSchema.safeParse(JSON.parse((await host.readState(file)) ?? 'null')).data ?? null;
  } catch {
    return null;
  }
}
