import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { formatDuration, formatShare } from '../units.js';
import { expected, hostName, percentage, prefix, stepDuration, wholeNumber, yesOrNo } from '../values.js';

const soak = z.union(
  [
    stepDuration,
    z.strictObject(
      {
        for: stepDuration.optional().describe(`How long. Default: ${formatDuration(defaults.soak.forMs)}`),
        errorShare: percentage
          .optional()
          .describe(
            `How far its share of 5xx answers may be above that of the release before. Default: ${formatShare(defaults.soak.errorShare)}`,
          ),
        minRequests: wholeNumber(1, 1_000_000)
          .optional()
          .describe(`The share counts only from this many requests on. Default: ${defaults.soak.minRequests}`),
      },
      expected('{ for, errorShare, minRequests }'),
    ),
  ],
  expected('a duration such as 60s, or { for: 60s, errorShare: "1%", minRequests: 50 }'),
);

export const hosts = z
  .array(hostName, expected('a list of host names'))
  .min(1, 'expected at least one host name')
  .describe('Public host names; upper and lower case are the same.');

export const environment = z.strictObject(
  {
    prefix: prefix.optional().describe("Prefix of its instances' names. Default: <project>-<environment>-"),
    hosts,
    approval: yesOrNo.optional().describe('Whether every deploy waits for approval before its switch. Default: false'),
    soak: soak
      .optional()
      .describe(
        `How long a new release is watched after its switch, and what makes it go back. Default: ${formatDuration(defaults.soak.forMs)}`,
      ),
    drain: stepDuration
      .optional()
      .describe(
        `How long visitors of the release before may finish before its instances are replaced. Default: ${formatDuration(defaults.drainMs)}`,
      ),
  },
  expected('an environment, with at least `hosts`'),
);
