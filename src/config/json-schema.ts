import * as z from 'zod';
import { configurationSchema } from './schema.js';

/** The JSON schema of bascule.yaml, for editors: what `bascule schema` prints. */
export function configurationJsonSchema(): object {
  return z.toJSONSchema(configurationSchema, { io: 'input' });
}
