import { X509Certificate } from 'node:crypto';
import type { RevocationReason } from '../domain/certificates.js';
import { BasculeError } from '../errors.js';
import { openAccount } from './account.js';
import type { Authority } from './authority.js';
import { refusalOf } from './problem.js';

/** RFC 5280, 5.3.1. */
const codes: Readonly<Record<RevocationReason, number>> = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
};

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
  const revokeCert = await session.directoryUrl('revokeCert');
  const payload = { certificate: certificate.raw.toString('base64url'), reason: codes[reason] };
  try {
    await session.post('revoke the certificate', revokeCert, payload);
  } catch (error) {
    if (refusalOf(error)?.type !== 'alreadyRevoked') throw error;
  }
}
