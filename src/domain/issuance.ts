import { type CertificateFacts, type KeyKind, renewalDue } from './certificates.js';
import type { CertificatesConfiguration } from './configuration.js';
import type { ObtainedCertificate, StepReport } from './edge-change.js';
import type { Outcome } from './operation.js';

/** What may be asked of the certificates; each names certificates by their first names, all where it names none. */
export interface CertificatesRequest {
  /** issue: those that are missing or of other names. renew: those that are due as well. */
  readonly kind: 'issue' | 'renew';
  readonly only?: readonly string[];
  /** Only those with names that the edge does not serve yet: for `bascule apply`. */
  readonly newOnly?: boolean;
  /** Whatever there is. */
  readonly force?: boolean;
  /** One that fails keeps no other from being begun. */
  readonly keepGoing?: boolean;
  /** How long the authority may take for one of them, in ms. */
  readonly patienceMs?: number;
}

/** One certificate that is to be obtained. */
export interface PlannedCertificate {
  /** Of its file, without `.pem`: the first of its host names; of a second kind of key with that after a `+`. */
  readonly name: string;
  readonly names: readonly string[];
  readonly key: KeyKind;
  readonly why: 'missing' | 'refused by HAProxy' | 'other names' | 'due' | 'asked for';
}

/** What planCertificates found. */
export interface CertificatesPlan {
  readonly wanted: readonly PlannedCertificate[];
  /** Those that stay as they are. */
  readonly kept: readonly CertificateFacts[];
  /** Whether there is an edge that could answer at all. */
  readonly isEdgeApplied: boolean;
  /** Whether the edge answers challenges with the account's key already. */
  readonly answersChallenges: boolean;
  readonly warnings: readonly string[];
}

/** Input of the workflow `certificate`. */
export interface CertificateInput {
  /** Id of who asks. */
  readonly operation: string;
  readonly certificate: PlannedCertificate;
  readonly patienceMs: number;
}

/** How the issuance of one certificate ended. */
export interface CertificateResult {
  readonly name: string;
  readonly names: readonly string[];
  readonly outcome: Outcome;
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
  /** When the authority wants to be asked again, RFC 3339; null where it did not say. */
  readonly retryAt: string | null;
  /** The one that is served now; null where it failed. */
  readonly certificate: CertificateFacts | null;
  readonly generation: number | null;
  readonly warnings: readonly string[];
  readonly steps: readonly StepReport[];
}

/** Answer of finalizing: what lies on the edge's host, to be installed. */
export interface DownloadedCertificate extends CertificateFacts {
  readonly obtained: ObtainedCertificate;
}

/** How `certs issue` and `certs renew` ended. Others build on this shape: fields are added, never renamed. */
export interface CertificatesResult {
  readonly schemaVersion: 1;
  readonly operation: string;
  readonly environment: null;
  readonly kind: 'certificates';
  readonly sha: null;
  readonly outcome: Outcome;
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string | null;
  readonly generation: number | null;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly changed: boolean;
  readonly warnings: readonly string[];
  /** Each that was to be obtained, and how that ended. */
  readonly certificates: readonly CertificateResult[];
  readonly kept: readonly CertificateFacts[];
  readonly steps: readonly StepReport[];
}

/** Answer of the Query `progress` of `certificates`. */
export interface CertificatesProgress {
  readonly steps: readonly StepReport[];
}

/** Others build on this shape: fields are added, never renamed. */
export interface CertificatesStatus {
  readonly schemaVersion: 1;
  readonly project: string;
  /** URL of the authority's directory; null where bascule.yaml asks for no certificates, or somebody else obtains them. */
  readonly ca: string | null;
  /** When they are looked at next, RFC 3339; null where the schedule is paused or missing. */
  readonly nextRenewal: string | null;
  readonly isPaused: boolean;
  readonly certificates: readonly CertificateState[];
  /** Files of the certificate folder that HAProxy refuses: then it loads no configuration. */
  readonly refused: readonly { readonly file: string; readonly reason: string }[];
}

export interface CertificateState {
  readonly name: string;
  /** Those that bascule.yaml asks for. */
  readonly names: readonly string[];
  readonly state: 'valid' | 'due' | 'expired' | 'missing' | 'other names' | 'unreadable' | 'not served';
  /** The installed one. */
  readonly certificate: CertificateFacts | null;
  /** Serial of the one that the edge serves for its first name, null where it serves none. */
  readonly served: string | null;
}

/** Each certificate that a configuration asks for; none where somebody else obtains them. */
export function wantedCertificates(
  certificates: CertificatesConfiguration | undefined,
): readonly Omit<PlannedCertificate, 'why'>[] {
  if (!certificates || certificates.challenge) return [];
  return certificates.domains.flatMap((names) =>
    certificates.keys.map((key, index) => ({
      name: index === 0 ? (names[0] ?? '') : `${names[0]}+${key}`,
      names,
      key,
    })),
  );
}

/** Whether a certificate is for all of these names. */
export const coversNames = (certificate: CertificateFacts, names: readonly string[]): boolean =>
  names.every((name) => certificate.names.includes(name));

/** What a certificate is worth at a moment, whatever is served; null where there is none. */
export function stateOf(
  certificate: CertificateFacts | 'unreadable' | null,
  names: readonly string[],
  now: number,
): Exclude<CertificateState['state'], 'not served'> {
  if (certificate === null) return 'missing';
  if (certificate === 'unreadable') return 'unreadable';
  if (!coversNames(certificate, names)) return 'other names';
  if (Date.parse(certificate.notAfter) <= now) return 'expired';
  return renewalDue(certificate, now) ? 'due' : 'valid';
}
