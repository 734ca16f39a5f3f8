import { defaults } from './defaults.js';

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

const minute = 60_000;
const day = 24 * 60 * minute;

/**
 * When a certificate is to be renewed, in ms: at a moment of the authority's window that is the same each time it is
 * asked for, else when a third of its lifetime is left. A window so late that a look could miss it counts as over earlier.
 */
export function renewalMoment(certificate: Lifetime, window: RenewalWindow | null): number {
  const [from, until] = lifeOf(certificate);
  const [start, end] = [Date.parse(window?.start ?? ''), Date.parse(window?.end ?? '')];
  const isUsable = start < end && start < until;
  if (!isUsable) return until - (until - from) / 3;
  return Math.min(start + (end - start) * fractionOf(certificate.serial), until - 2 * lookEveryMs([certificate]));
}

/**
 * How often certificates are looked at, in ms: twelve times in the shortest life among them, and once a day at least. So
 * there are four looks between the moment at which one is due and its end.
 */
export function lookEveryMs(certificates: readonly Lifetime[]): number {
  const lives = certificates.map(lifeOf).map(([from, until]) => until - from);
  return Math.min(day, Math.max(minute, Math.floor(Math.min(...lives, 12 * day) / 12_000) * 1_000));
}

/** Whether a look a day is too few for some certificate. */
export const isShortLived = (certificates: readonly Lifetime[]): boolean => lookEveryMs(certificates) < day;

/** When certificates are looked at, by themselves. */
export interface LookPlan {
  /** A day at most. */
  readonly everyMs: number;
  /** Moments besides, in ms: those at which one is due that does not live long, and those that an authority named. */
  readonly at: readonly number[];
  /** How long a look may wait for the authority: another one waits until it has ended. */
  readonly patienceMs: number;
}

/** Each installed certificate, and when its authority wants it to be renewed. */
export interface RenewableCertificate {
  readonly certificate: Lifetime;
  readonly window: RenewalWindow | null;
}

/** When to look at certificates next, and how often. Moments at which an authority wants to be asked again are RFC 3339. */
export function planLooks(
  installed: readonly RenewableCertificate[],
  retryAt: readonly string[],
  now: number,
): LookPlan {
  const everyMs = lookEveryMs(installed.map(({ certificate }) => certificate));
  const due = isShortLived(installed.map(({ certificate }) => certificate))
    ? installed.map(({ certificate, window }) => renewalMoment(certificate, window))
    : [];
  const moments = [...due, ...retryAt.map((moment) => Date.parse(moment))].map((ms) => Math.ceil(ms / 1_000) * 1_000);
  const at = [...new Set(moments)].filter((ms) => ms > now && ms <= now + farthestLookMs).toSorted((a, b) => a - b);
  return { everyMs, at, patienceMs: Math.min(defaults.renewalPatienceMs, everyMs / 2) };
}

/** What is farther away is planned by a look before. */
const farthestLookMs = 400 * day;

/**
 * From when the regular looks of a project are counted, in ms after midnight UTC: not every project asks an authority at
 * the same moment. Those of every day are between 03:17 and 04:17.
 */
export function lookOffsetMs(project: string, everyMs: number): number {
  let hash = 0x811c9dc5;
  for (const character of project) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  const fraction = hash / 2 ** 32;
  const ms = everyMs === day ? (3 * 60 + 17 + 60 * fraction) * minute : everyMs * fraction;
  return Math.floor(ms / 1_000) * 1_000;
}

/** The next look after a moment, in ms. */
export function nextLook({ everyMs, at }: LookPlan, offsetMs: number, now: number): number {
  const regular = now - ((((now - offsetMs) % everyMs) + everyMs) % everyMs) + everyMs;
  return Math.min(regular, ...at.filter((moment) => moment > now));
}

const lifeOf = ({ notBefore, notAfter }: Lifetime): readonly [from: number, until: number] => [
  Date.parse(notBefore),
  Date.parse(notAfter),
];

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
