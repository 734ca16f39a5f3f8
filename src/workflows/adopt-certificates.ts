import type { CertificatesResult } from '../domain/issuance.js';
import { CertificatesRun } from './certificates-run.js';
import { certificates } from './proxies.js';

/** Takes over what another ACME client has left: the account's key, and the certificates that are there already. */
export async function adoptCertificates(request: { accountKey: string | null }): Promise<CertificatesResult> {
  const run = new CertificatesRun();
  return await run.run(async () => {
    const adopted = await run.saga.step('look at what is there', certificates.adoptCertificates, request);
    run.kept = adopted.certificates;
    run.warnings.push(...adopted.warnings);
    if (!adopted.answersChallenges) await run.answerChallenges();
    const account = request.accountKey === null ? '' : '; the account is the one of before';
    return {
      outcome: 'succeeded',
      code: null,
      message: `${adopted.certificates.length} certificates are kept until they are due${account}`,
      remedy: null,
    };
  });
}
