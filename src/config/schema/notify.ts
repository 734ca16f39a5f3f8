import * as z from 'zod';
import { expected } from '../values.js';
import { fileSource, variableSource } from './secrets.js';

export const notify = z.strictObject(
  {
    url: z
      .union(
        [variableSource, fileSource],
        expected('{ env: NAME } or { file: PATH }: who knows the URL may post there'),
      )
      .describe('Where the http: or https: URL is that is told by POST.'),
  },
  expected('who is told, such as { url: { env: NOTIFY_URL } }'),
);
