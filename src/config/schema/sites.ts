import * as z from 'zod';
import {
  certificateAuthority,
  certificateName,
  email,
  expected,
  serverAddress,
  statusExpectation,
  statuses,
} from '../values.js';
import { hosts } from './environment.js';

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

export const certificates = z.strictObject(
  {
    ca: certificateAuthority.describe(
      'Who issues them: letsencrypt, letsencrypt-staging, or the https: URL of another directory (ACME).',
    ),
    email: email.optional().describe('Whom the authority may write to. Default: nobody'),
    challenge: serverAddress
      .optional()
      .describe(
        'A server that answers HTTP-01 challenges; it is asked without the prefix of their path. Default: none',
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
