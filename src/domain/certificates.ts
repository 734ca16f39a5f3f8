/** Directories of the authorities that bascule.yaml may name by a word. */
export const authorities: Readonly<Record<string, string>> = {
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  'letsencrypt-staging': 'https://acme-staging-v02.api.letsencrypt.org/directory',
};

/** ECDSA is on the curve P-256. */
export const keyKinds = ['ecdsa', 'rsa2048', 'rsa4096'] as const;
export type KeyKind = (typeof keyKinds)[number];

/** A certificate that is to be obtained. */
export interface WantedCertificate {
  /** Of its files; a second one for the same names, of another kind of key, has another. */
  readonly name: string;
  readonly names: readonly string[];
  readonly key: KeyKind;
  /** One of the authority's profiles, such as `shortlived`. */
  readonly profile?: string;
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** Of its file, without `.pem`. */
  readonly name: string;
  readonly names: readonly string[];
  /** Such as `ECDSA prime256v1` or `RSA 2048`. */
  readonly key: string;
  /** Lower-case hexadecimal. */
  readonly serial: string;
  readonly issuer: string;
  /** RFC 3339. */
  readonly notBefore: string;
  readonly notAfter: string;
}

/** What may be known of an order outside the edge's host. */
export interface CertificateOrder {
  readonly url: string;
  readonly names: readonly string[];
  readonly status: 'pending' | 'ready' | 'processing' | 'valid';
  /** RFC 3339; null where the authority does not say. */
  readonly expires: string | null;
  /** It was begun earlier, and is gone on with. */
  readonly isResumed: boolean;
}

/** When the authority wants a certificate to be renewed (RFC 9773). RFC 3339. */
export interface RenewalWindow {
  readonly start: string;
  readonly end: string;
}

type Lifetime = Pick<CertificateFacts, 'serial' | 'notBefore' | 'notAfter'>;

/**
 * When a certificate is to be renewed, in ms: at a moment of the authority's window that is the same each time it is
 * asked for, else when a third of its lifetime is left.
 */
export function renewalMoment({ serial, notBefore, notAfter }: Lifetime, window: RenewalWindow | null): number {
  const [from, until] = [Date.parse(notBefore), Date.parse(notAfter)];
  const [start, end] = [Date.parse(window?.start ?? ''), Date.parse(window?.end ?? '')];
  const isUsable = start < end && start < until;
  return isUsable ? start + (end - start) * fractionOf(serial) : until - (until - from) / 3;
}

/** Whether a certificate is to be renewed now. */
export const renewalDue = (certificate: Lifetime, now: number, window: RenewalWindow | null = null): boolean =>
  now >= renewalMoment(certificate, window);

/** From 0 up to 1. Serial numbers are random, so that renewals are spread without anything to remember. */
const fractionOf = (serial: string): number => Number.parseInt(serial.slice(-8), 16) / 2 ** 32 || 0;

/** Why its owner may want a certificate revoked (RFC 5280, 5.3.1). */
export const revocationReasons = [
  'unspecified',
  'keyCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
] as const;
export type RevocationReason = (typeof revocationReasons)[number];
