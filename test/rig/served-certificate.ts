import { connect } from 'node:tls';

export interface ServedCertificate {
  /** Lower-case hexadecimal. */
  readonly serial: string;
  readonly names: readonly string[];
}

/** The certificate that a visitor gets who trusts one root alone; null where there is none, or it is not for that name. */
export async function servedCertificate(
  { address, port }: { readonly address: string; readonly port: number },
  servername: string,
  root: string,
): Promise<ServedCertificate | null> {
  return await new Promise((resolve) => {
    const socket = connect({ host: address, port, servername, ca: root, timeout: 5_000 });
    const end = (found: ServedCertificate | null) => {
      socket.destroy();
      resolve(found);
    };
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      const names = (certificate?.subjectAltName ?? '').split(', ').map((entry) => entry.replace('DNS:', ''));
      end(certificate ? { serial: certificate.serialNumber.toLowerCase(), names } : null);
    });
    socket.once('error', () => end(null));
    socket.once('timeout', () => end(null));
  });
}
