import type { RevocationReason } from '../domain/certificates.js';
import type { CertificatesResult } from '../domain/issuance.js';
import { CertificatesRun } from './certificates-run.js';
import { certificates } from './proxies.js';

/** Has the authority revoke the certificate that is installed, for a key that others may have. It stays until the next. */
export async function revokeCertificate(request: {
  name: string;
  reason: RevocationReason;
}): Promise<CertificatesResult> {
  const run = new CertificatesRun();
  return await run.run(async () => {
    const { serial } = await run.saga.step(`revoke ${request.name}`, certificates.revokeCertificate, request);
    return {
      outcome: 'succeeded',
      code: null,
      message: `${request.name}: certificate ${serial} is revoked, and still served; bascule certs issue ${request.name} --force puts another one in its place`,
      remedy: null,
    };
  });
}
