import * as z from 'zod';
import { type KeyKind, keyKinds } from '../../domain/certificates.js';
import {
  certificateAuthority,
  certificateName,
  certificateProfile,
  email,
  expected,
  externalKeyId,
  openedPath,
  serverAddress,
  statusExpectation,
  statuses,
} from '../values.js';
import { hosts } from './environment.js';
import { fileSource, variableSource } from './secrets.js';

/** A site that the edge serves and Bascule does not deploy. */
export const external = z.union(
  [
    z.strictObject(
      { hosts, server: serverAddress.describe('The server that answers: "10.0.20.105:3000".') },
      expected('{ hosts, server }'),
    ),
    z.strictObject(
      {
        hosts,
        respond: z
          .literal([...statuses], expected(statusExpectation))
          .describe('The edge itself answers, with the page of this status.'),
      },
      expected('{ hosts, respond }'),
    ),
  ],
  expected('{ hosts: […], server: "10.0.20.105:3000" } or { hosts: […], respond: 503 }'),
);

function isOneOfEach(kinds: readonly KeyKind[]): boolean {
  const elliptic = kinds.filter((kind) => kind === 'ecdsa').length;
  return elliptic <= 1 && kinds.length - elliptic <= 1;
}

export const certificates = z.strictObject(
  {
    ca: certificateAuthority.describe(
      'Who issues them: letsencrypt, letsencrypt-staging, or the https: URL of another directory (ACME).',
    ),
    caFile: openedPath
      .optional()
      .describe("PEM file of roots that the authority's own server is trusted by. Default: the system's"),
    eab: z
      .strictObject(
        {
          keyId: externalKeyId.describe("The key's id, as the authority says it."),
          key: z
            .union([variableSource, fileSource], expected('{ env: NAME } or { file: PATH }, never the key itself'))
            .describe('Where the key is, in base64url.'),
        },
        expected('{ keyId, key }'),
      )
      .optional()
      .describe('The account that the authority knows you by (external account binding). Default: none'),
    email: email.optional().describe('Whom the authority may write to. Default: nobody'),
    profile: certificateProfile
      .optional()
      .describe("One of the authority's profiles, such as shortlived. Default: the authority's"),
    keys: z
      .array(z.enum(keyKinds, expected('ecdsa, rsa2048 or rsa4096')), expected('a list such as [ecdsa, rsa2048]'))
      .min(1, 'expected at least one kind of key')
      .refine(isOneOfEach, 'expected at most two kinds of keys: ecdsa and one of RSA')
      .optional()
      .describe('Kinds of keys; with two each list of names gets two certificates. Default: [ecdsa]'),
    challenge: serverAddress
      .optional()
      .describe(
        'A server that answers HTTP-01 challenges and obtains the certificates in place of Bascule; it is asked without the prefix of their path. Default: none',
      ),
    domains: z
      .array(
        z
          .array(certificateName, expected('a list of host names such as [example.org, www.example.org]'))
          .min(1, 'expected at least one host name'),
        expected('a list of lists of host names such as [[example.org, www.example.org]]'),
      )
      .min(1, 'expected at least one certificate')
      .describe('The names of each certificate; the first one names its file. No wildcards.'),
  },
  expected('the certificates, with at least `ca` and `domains`'),
);
