import { factsOf } from './acme/x509.js';
import type { CertificateFacts } from './domain/certificates.js';
import type { Configuration } from './domain/configuration.js';
import { type CertificateState, stateOf, wantedCertificates } from './domain/issuance.js';
import { whyFileRefused } from './haproxy/certificate-folder.js';
import { certificateFile, readCertificateFile, servedSerial } from './haproxy/certificates.js';
import type { Edge } from './haproxy/edge.js';

interface ProjectWithEdge {
  readonly configuration: Configuration;
  readonly edge: Edge;
}

/** The installed certificate of a name; null where there is none, `unreadable` where HAProxy refuses its file. */
export async function readCertificate(edge: Edge, name: string): Promise<CertificateFacts | 'unreadable' | null> {
  const pem = await readCertificateFile(edge, name);
  if (pem === null) return null;
  const isRefused = (await whyFileRefused(edge, certificateFile(edge, name))) !== null;
  return isRefused ? 'unreadable' : (factsOf(name, pem) ?? 'unreadable');
}

/** Whether there is one that can be read. */
export const isReadable = (found: CertificateFacts | 'unreadable' | null): found is CertificateFacts =>
  found !== null && found !== 'unreadable';

/** Each certificate that bascule.yaml asks for, as it is installed and as the edge serves it. */
export async function readCertificateStates({
  configuration,
  edge,
}: ProjectWithEdge): Promise<readonly CertificateState[]> {
  const { https } = configuration.edge;
  const now = Date.now();
  return await Promise.all(
    wantedCertificates(configuration.certificates).map(async ({ name, names, key }) => {
      const found = await readCertificate(edge, name);
      const certificate = isReadable(found) ? found : null;
      const served = https && names[0] !== undefined ? await servedSerial(edge.host, https, names[0], key) : null;
      const state = stateOf(found, names, now);
      const isServed = certificate === null || served === certificate.serial;
      return { name, names, state: isServed || state === 'expired' ? state : 'not served', certificate, served };
    }),
  );
}

/** Seconds until each certificate expires, in Prometheus's text format. */
export async function certificateMetrics({ configuration, edge }: ProjectWithEdge): Promise<string> {
  const lines: string[] = [];
  for (const { name } of wantedCertificates(configuration.certificates)) {
    const certificate = await readCertificate(edge, name);
    if (!isReadable(certificate)) continue;
    const seconds = Math.round((Date.parse(certificate.notAfter) - Date.now()) / 1_000);
    lines.push(`bascule_certificate_expiry_seconds{certificate="${name}"} ${seconds}`);
  }
  if (lines.length === 0) return '';
  return `# HELP bascule_certificate_expiry_seconds Time left until the installed certificate expires.
# TYPE bascule_certificate_expiry_seconds gauge
${lines.join('\n')}
`;
}
