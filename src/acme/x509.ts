import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { CertificateFacts, WantedCertificate } from '../domain/certificates.js';
import { BasculeError } from '../errors.js';

const certificatePattern = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** Each certificate of a PEM text, the first one's chain after it. Throws where one cannot be read. */
export const certificatesIn = (pem: string): readonly X509Certificate[] =>
  (pem.match(certificatePattern) ?? []).map((text) => new X509Certificate(text));

/** What the first certificate of a PEM text says of itself; null where there is none that can be read. */
export function factsOf(name: string, pem: string): CertificateFacts | null {
  try {
    const [first] = certificatesIn(pem);
    return first ? describe(name, first) : null;
  } catch {
    return null;
  }
}

function describe(name: string, certificate: X509Certificate): CertificateFacts {
  const { publicKey, serialNumber, issuer, validFrom, validTo } = certificate;
  const { modulusLength, namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  return {
    name,
    names: namesOf(certificate),
    key: modulusLength === undefined ? `ECDSA ${namedCurve ?? ''}`.trim() : `RSA ${modulusLength}`,
    serial: serialNumber.toLowerCase(),
    issuer:
      issuer
        .split('\n')
        .find((part) => part.startsWith('CN='))
        ?.slice(3) ?? issuer.replaceAll('\n', ', '),
    notBefore: new Date(validFrom).toISOString(),
    notAfter: new Date(validTo).toISOString(),
  };
}

const namesOf = ({ subjectAltName = '' }: X509Certificate): readonly string[] =>
  subjectAltName.split(', ').flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice(4).toLowerCase()] : []));

/** Keys that a certificate may have, by what was asked for. */
const keyNames: Readonly<Record<WantedCertificate['key'], string>> = {
  ecdsa: 'ECDSA prime256v1',
  rsa2048: 'RSA 2048',
  rsa4096: 'RSA 4096',
};

/**
 * What a certificate that was asked for says of itself. Throws `certificate-unusable` unless it is for those names, of this
 * key, and signed by the chain that came with it.
 */
export function checkCertificate(
  wanted: Pick<WantedCertificate, 'name' | 'names' | 'key'>,
  { chain, key }: { readonly chain: string; readonly key: string },
): CertificateFacts {
  const refuse = (reason: string) => new BasculeError('certificate-unusable', { name: wanted.name, reason });
  let certificates: readonly X509Certificate[];
  try {
    certificates = certificatesIn(chain);
  } catch {
    throw refuse('it cannot be read');
  }
  const [leaf, ...issuers] = certificates;
  if (!leaf) throw refuse('the authority answered none');
  const facts = describe(wanted.name, leaf);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw refuse('it is for another key than the one on this machine');
  if (facts.key !== keyNames[wanted.key]) throw refuse(`its key is ${facts.key}, not ${keyNames[wanted.key]}`);
  const [is, should] = [facts.names, wanted.names].map((names) => [...new Set(names)].toSorted().join(', '));
  if (is !== should) throw refuse(`it is for ${is || 'no name'}, not for ${should}`);
  for (const [index, issuer] of issuers.entries()) {
    const below = certificates[index];
    if (below && !(below.checkIssued(issuer) && below.verify(issuer.publicKey))) {
      throw refuse(`number ${index + 2} of its chain did not sign what stands before it`);
    }
  }
  return facts;
}

/** Throws `certificate-unusable` unless a certificate and its chain are valid at a moment. */
export function checkDates(name: string, chain: string, now: number): void {
  for (const { validFrom, validTo, subject } of certificatesIn(chain)) {
    const [from, until] = [Date.parse(validFrom), Date.parse(validTo)];
    if (now >= from && now < until) continue;
    const span = `from ${new Date(from).toISOString()} until ${new Date(until).toISOString()}`;
    const reason = `${subject || 'it'} is valid ${span}, and now is ${new Date(now).toISOString()}`;
    throw new BasculeError('certificate-unusable', { name, reason });
  }
}

/** A certificate as RFC 9773, 4.1 names it, for renewal and `replaces`; null where it does not say which key signed it. */
export function renewalId(certificate: X509Certificate): string | null {
  const issuerKey = authorityKeyIdentifier(certificate.raw);
  if (issuerKey === null) return null;
  const serial = Buffer.from(
    certificate.serialNumber.padStart(certificate.serialNumber.length + (certificate.serialNumber.length % 2), '0'),
    'hex',
  );
  // As DER has it: an integer whose first bit is set would be a negative one.
  const isNegative = (serial[0] ?? 0) >= 0x80;
  const number = isNegative ? Buffer.concat([Buffer.alloc(1), serial]) : serial;
  return `${issuerKey.toString('base64url')}.${number.toString('base64url')}`;
}

/** id-ce-authorityKeyIdentifier, 2.5.29.35. */
const identifierOid = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x23]);

/** Octet string > sequence > [0] key identifier (RFC 5280, 4.2.1.1); each shorter than 128 bytes. */
function authorityKeyIdentifier(der: Buffer): Buffer | null {
  const at = der.indexOf(identifierOid);
  if (at < 0) return null;
  const [string, , sequence, , tag, length = 0] = der.subarray(at + identifierOid.length);
  const isAsExpected = string === 0x04 && sequence === 0x30 && tag === 0x80;
  const from = at + identifierOid.length + 6;
  return isAsExpected ? der.subarray(from, from + length) : null;
}
