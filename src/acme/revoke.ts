import { X509Certificate } from 'node:crypto';
import { BasculeError } from '../errors.js';
import { openAccount } from './account.js';
import type { Authority } from './authority.js';
import { refusalOf } from './problem.js';

/** Reasons of RFC 5280, 5.3.1 that its owner may give. */
export const revocationReasons = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
} as const;

export type RevocationReason = keyof typeof revocationReasons;

/**
 * Has the authority revoke the certificate in a PEM file. One that is revoked already is fine.
 *
 * @throws `certificate-unusable` where the file holds none, `acme-refused`, `acme-account-missing`, and those of `Session`
 */
export async function revokeCertificate(
  authority: Authority,
  { name, file, reason, signal }: { name: string; file: string; reason: RevocationReason; signal?: AbortSignal },
): Promise<void> {
  const pem = await authority.host.readText(file);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem ?? '');
  } catch {
    throw new BasculeError('certificate-unusable', { name, reason: `${file} holds no certificate` });
  }
  const { session } = await openAccount(authority, signal);
  const { revokeCert } = await session.directory();
  const payload = { certificate: certificate.raw.toString('base64url'), reason: revocationReasons[reason] };
  try {
    await session.post('revoke the certificate', revokeCert, payload);
  } catch (error) {
    if (refusalOf(error)?.type !== 'alreadyRevoked') throw error;
  }
}
