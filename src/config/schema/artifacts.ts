import * as z from 'zod';
import { defaults } from '../../domain/defaults.js';
import { formatDuration, formatSize } from '../units.js';
import { expected, openedPath, positiveStepDuration, size, text } from '../values.js';
import { fileSource, variableSource } from './secrets.js';

const urlText = text(
  /^[A-Za-z0-9._~:/?@!$&'()*+,;=%{}-]{1,2048}$/,
  'a URL that begins with file:, http: or https:, with {component}, {environment} and {sha}',
);

export const artifactsExpectation = 'the artifacts, with at least `url`';

export const artifacts = z.strictObject(
  {
    url: urlText.describe('Where a release is: file:, http: or https:, with {sha}, {component} and {environment}.'),
    checksum: urlText
      .optional()
      .describe('Where its SHA-256 is, with {url} beside these. Default: the digest found at the first fetch'),
    token: z
      .union([variableSource, fileSource], expected('{ env: NAME } or { file: PATH }, never the token itself'))
      .optional()
      .describe('Where the bearer token for http: and https: is.'),
    caFile: openedPath
      .optional()
      .describe("PEM file of roots that the artifacts' servers are trusted by, besides those of Node.js."),
    maxSize: size.optional().describe(`Largest artifact. Default: ${formatSize(defaults.artifactMaxBytes)}`),
    timeout: positiveStepDuration.optional().describe(`Longest fetch. Default: ${formatDuration(defaults.artifactMs)}`),
  },
  expected(artifactsExpectation),
);
