import type { CertificatesResult } from '../../src/domain/issuance.js';
import type { Endpoint } from './ca-proxy.js';
import { edgeChange, type Kind } from './kill-kinds.js';

/** A kind of operation on one certificate whose worker is killed in each of its activities. */
export interface CertificateKind extends Pick<Kind, 'name' | 'activities' | 'killedFrom' | 'killedUpTo'> {
  /** Whether nothing is known of an account. */
  readonly isFirst?: boolean;
  /** Whether it is about a certificate that is served already. */
  readonly isServed: boolean;
  /** `accountKey` is a file with the key of the account that was there before. */
  readonly args: (name: string, accountKey: string) => readonly string[];
  /** Asked of the authority, and how often: the worker is also killed between what it does for that and its answer. */
  readonly asked: readonly (readonly [Endpoint, number])[];
  /** How many orders and accounts the authority has more of afterwards. */
  readonly orders: 0 | 1;
  readonly accounts: 0 | 1;
  readonly ends: Pick<CertificatesResult, 'outcome' | 'changed'>;
}

const obtained = [
  ...['checkNames', 'registerAccount', 'placeOrder', 'answerChallenges', 'finalizeOrder', 'downloadCertificate'],
  ...[...edgeChange, 'closeOrder'],
];

const issuance: CertificateKind = {
  name: 'certs issue',
  activities: ['planCertificates', ...obtained],
  isServed: false,
  args: (name) => ['certs', 'issue', name],
  asked: [
    ...[['account', 1] as const, ['newOrder', 1] as const, ['authorization', 1] as const, ['challenge', 1] as const],
    ...[['authorization', 2] as const, ['order', 2] as const, ['finalize', 1] as const, ['certificate', 1] as const],
  ],
  orders: 1,
  accounts: 0,
  ends: { outcome: 'succeeded', changed: true },
};

export const certificateKinds: readonly CertificateKind[] = [
  issuance,
  {
    ...issuance,
    name: 'certs issue, the first of an account',
    activities: ['planCertificates', ...edgeChange, ...obtained],
    killedUpTo: 'registerAccount',
    isFirst: true,
    // First whether it knows the key, then for an account.
    asked: [
      ['newAccount', 1],
      ['newAccount', 2],
    ],
    accounts: 1,
  },
  {
    ...issuance,
    name: 'certs renew',
    isServed: true,
    args: (name) => ['certs', 'renew', name],
    asked: [
      ['newOrder', 1],
      ['finalize', 1],
    ],
  },
  {
    name: 'certs revoke',
    activities: ['revokeCertificate'],
    isServed: true,
    args: (name) => ['certs', 'revoke', name],
    asked: [['revokeCert', 1]],
    orders: 0,
    accounts: 0,
    ends: { outcome: 'succeeded', changed: false },
  },
  {
    name: 'certs adopt',
    activities: ['adoptCertificates'],
    isFirst: true,
    isServed: true,
    args: (_, accountKey) => ['certs', 'adopt', '--account-key', accountKey],
    asked: [],
    orders: 0,
    accounts: 0,
    ends: { outcome: 'succeeded', changed: false },
  },
];
