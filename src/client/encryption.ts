import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { DataConverter, Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import { BasculeError } from '../errors.js';
import { installed } from '../installation.js';
import type { PollingWorker } from './workers.js';

const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

/** A key that payloads are encrypted with; its id stands in plain text beside what it encrypted. */
export interface EncryptionKey {
  readonly id: string;
  readonly secret: KeyObject;
}

const variable = 'BASCULE_ENCRYPTION_KEY';
const fileVariable = 'BASCULE_ENCRYPTION_KEY_FILE';
const keyBytes = 32;
// Too short for a key that was put in the place of its id.
const entryPattern = /^([A-Za-z0-9._-]{1,32}):([A-Za-z0-9+/_-]+={0,2})$/;

// As Temporal's own samples have it, so that their codec servers can read it: nonce, ciphertext, tag.
const algorithm = 'aes-256-gcm';
const encoding = 'binary/encrypted';
const keyIdField = 'encryption-key-id';
const nonceBytes = 12;
const tagBytes = 16;

/**
 * The keys of BASCULE_ENCRYPTION_KEY, or of the file that BASCULE_ENCRYPTION_KEY_FILE names: `<id>:<base64 of 32 bytes>`
 * each, with a comma or a line end between. The first encrypts, all decrypt; none where neither is set.
 *
 * @throws `encryption-key-invalid`
 */
export function readEncryptionKeys(env: NodeJS.ProcessEnv): readonly EncryptionKey[] {
  const { source, text } = readKeyText(env);
  const keys = text
    .split(/[,\s]+/)
    .filter((entry) => entry !== '')
    .map((entry, index) => parseKey(entry, index + 1, source));
  const twice = keys.find(({ id }, index) => keys.findIndex((other) => other.id === id) !== index);
  if (twice)
    throw new BasculeError('encryption-key-invalid', { source, reason: `has two keys with the id ${twice.id}` });
  return keys;
}

/**
 * What Temporal's clients and workers turn values into payloads with, and back. With keys everything is encrypted but
 * what Temporal finds things by (ids, types, search attributes); without, a payload that is encrypted is an error.
 */
export function dataConverter(keys: readonly EncryptionKey[]): DataConverter {
  const payloadCodecs = [payloadCodec(keys)];
  // Messages of failures hold lines of logs. The path is what the SDK wants, for the workflows' sandbox as well.
  return keys.length === 0 ? { payloadCodecs } : { payloadCodecs, failureConverterPath };
}

const failureConverterPath = installed('dist/encoded-failures.cjs');

/** How a key is named to others: its id, and eight digits that differ for another key of the same id. */
export function markOf({ id, secret }: EncryptionKey): string {
  return `${id}:${createHmac('sha256', secret).update('bascule key mark').digest('hex').slice(0, 8)}`;
}

/**
 * That what is about to be asked can be read where it is carried out: a worker that can't read a request tries it again
 * and again without a word. Keeps nobody waiting who has no key.
 *
 * @throws `encryption-key-not-on-worker`
 */
export async function assertWorkerCanRead(
  polling: Promise<PollingWorker | null>,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const [first] = readEncryptionKeys(env);
  if (!first) return;
  const worker = await polling;
  if (!worker || worker.keys.includes(markOf(first))) return;
  throw new BasculeError('encryption-key-not-on-worker', { keyId: first.id, worker: worker.identity });
}

function payloadCodec(keys: readonly EncryptionKey[]): PayloadCodec {
  const [first] = keys;
  return {
    encode: async (payloads) => (first ? payloads.map((payload) => encrypt(payload, first)) : payloads),
    decode: async (payloads) => payloads.map((payload) => decrypt(payload, keys)),
  };
}

function encrypt(payload: Payload, { id, secret }: EncryptionKey): Payload {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, secret, nonce);
  const plain = PayloadMessage.encode(payload).finish();
  return {
    metadata: { encoding: Buffer.from(encoding), [keyIdField]: Buffer.from(id) },
    data: Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]),
  };
}

/** What is not encrypted stays as it is: it was written before there was a key, or typed in Temporal's UI. */
function decrypt(payload: Payload, keys: readonly EncryptionKey[]): Payload {
  if (textOf(payload.metadata?.encoding) !== encoding) return payload;
  const keyId = textOf(payload.metadata?.[keyIdField]);
  const key = keys.find(({ id }) => id === keyId);
  if (!key) throw new BasculeError('encryption-key-missing', { keyId });
  const data = payload.data ?? new Uint8Array();
  try {
    const decipher = createDecipheriv(algorithm, key.secret, data.subarray(0, nonceBytes), { authTagLength: tagBytes });
    decipher.setAuthTag(data.subarray(-tagBytes));
    return PayloadMessage.decode(
      Buffer.concat([decipher.update(data.subarray(nonceBytes, -tagBytes)), decipher.final()]),
    );
  } catch (cause) {
    throw new BasculeError('encryption-key-wrong', { keyId }, { cause });
  }
}

const textOf = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString('utf8');

function readKeyText(env: NodeJS.ProcessEnv): { source: string; text: string } {
  const { [variable]: given = '', [fileVariable]: file = '' } = env;
  if (file === '') return { source: variable, text: given };
  if (given !== '') {
    throw new BasculeError('encryption-key-invalid', { source: variable, reason: `is set, and so is ${fileVariable}` });
  }
  const source = `the file ${file} (${fileVariable})`;
  try {
    return { source, text: readFileSync(file, 'utf8') };
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    throw new BasculeError('encryption-key-invalid', { source, reason: `cannot be read (${code})` }, { cause });
  }
}

function parseKey(entry: string, place: number, source: string): EncryptionKey {
  const [, id, encoded] = entryPattern.exec(entry) ?? [];
  if (id === undefined || encoded === undefined) {
    const reason = `has something else than <id>:<key> in place ${place}`;
    throw new BasculeError('encryption-key-invalid', { source, reason });
  }
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length !== keyBytes) {
    const reason = `holds a key ${id} of ${bytes.length} bytes, and ${keyBytes} in base64 are needed`;
    throw new BasculeError('encryption-key-invalid', { source, reason });
  }
  return { id, secret: createSecretKey(bytes) };
}
