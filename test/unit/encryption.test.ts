import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Payload } from '@temporalio/common';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { dataConverter, markOf, readEncryptionKeys } from '../../src/client/encryption.js';
import { keysOfWorker, workerIdentity } from '../../src/domain/names.js';
import { BasculeError } from '../../src/errors.js';

const newKey = () => randomBytes(32).toString('base64');
const [first, second] = [newKey(), newKey()];
const payload: Payload = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('"canary"') };

afterEach(() => vi.unstubAllEnvs());

function codecOf(keys: string) {
  vi.stubEnv('BASCULE_ENCRYPTION_KEY', keys);
  const [codec] = dataConverter(readEncryptionKeys(process.env)).payloadCodecs ?? [];
  if (!codec) throw new Error('there is no codec');
  return codec;
}

const encrypted = async (keys: string): Promise<Payload[]> => codecOf(keys).encode([payload]);
const asText = ([one]: Payload[]) => Buffer.from(one?.data ?? []).toString();

/** The error's message, with its remedy. */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof BasculeError) return `${error.message} → ${error.remedy}`;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a payload', () => {
  test('cannot be read without the key, is another one each time, and comes back as it was', async () => {
    const [once, again] = [await encrypted(`k1:${first}`), await encrypted(`k1:${first}`)];
    expect(asText(once)).not.toContain('canary');
    expect(once[0]?.data).not.toEqual(again[0]?.data);
    expect(asText(await codecOf(`k2:${second},k1:${first}`).decode(once))).toBe('"canary"');
  });

  test('that was written without a key stays readable', async () => {
    expect(asText(await codecOf(`k1:${first}`).decode(await encrypted('')))).toBe('"canary"');
  });

  test.each([
    ['without the key', '', 'the key k1, which is not here'],
    ['with another key', `k2:${second}`, 'the key k1, which is not here'],
    ['with another key of the same id', `k1:${second}`, 'it is another one'],
  ])('is not decrypted %s, and the id of its key is named', async (_, keys, said) => {
    const payloads = await encrypted(`k1:${first}`);
    expect(await refusal(() => codecOf(keys).decode(payloads))).toContain(said);
  });

  test('that somebody changed is refused', async () => {
    const [one] = await encrypted(`k1:${first}`);
    const data = Buffer.from(one?.data ?? []);
    for (const place of [0, 12, data.length - 1]) {
      const changed = Buffer.from(data);
      changed.writeUInt8(changed.readUInt8(place) ^ 1, place);
      const said = await refusal(() => codecOf(`k1:${first}`).decode([{ ...one, data: changed }]));
      expect(said).toContain('does not decrypt');
    }
    expect(await refusal(() => codecOf(`k1:${first}`).decode([{ ...one, data: data.subarray(0, 20) }]))).toBeTruthy();
  });
});

describe('keys', () => {
  test.each([
    ['a key without an id', first, 'something else than <id>:<key> in place 1'],
    ['a key in the place of its id', `${first}:k1`, 'something else than <id>:<key> in place 1'],
    ['sixteen bytes', `k1:${randomBytes(16).toString('base64')}`, 'holds a key k1 of 16 bytes'],
    ['hexadecimal digits', `k1:${randomBytes(32).toString('hex')}`, 'holds a key k1 of 48 bytes'],
    ['an id twice', `k1:${first},k1:${second}`, 'has two keys with the id k1'],
  ])('that are %s are refused, and not repeated', async (_, keys, said) => {
    const refused = await refusal(() => codecOf(keys));
    expect(refused).toContain(said);
    for (const entry of keys.split(/[,:]/).filter((part) => part.length > 10)) expect(refused).not.toContain(entry);
  });

  test('may stand in a file, a line each', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bascule-keys-'));
    const file = join(folder, 'keys');
    await writeFile(file, `k2:${second}\nk1:${first}\n`);
    vi.stubEnv('BASCULE_ENCRYPTION_KEY_FILE', file);
    expect(readEncryptionKeys(process.env).map(({ id }) => id)).toEqual(['k2', 'k1']);
    expect(await refusal(() => codecOf(`k1:${first}`))).toContain('is set, and so is BASCULE_ENCRYPTION_KEY_FILE');
    vi.stubEnv('BASCULE_ENCRYPTION_KEY', '');
    await rm(folder, { recursive: true });
    expect(await refusal(() => readEncryptionKeys(process.env))).toContain(
      `${file} (BASCULE_ENCRYPTION_KEY_FILE) cannot be read (ENOENT)`,
    );
  });

  test('are told apart by their marks in a worker’s name', () => {
    const marksOf = (keys: string) => {
      vi.stubEnv('BASCULE_ENCRYPTION_KEY', keys);
      return readEncryptionKeys(process.env).map(markOf);
    };
    const keys = marksOf(`k2:${second},k1:${first}`);
    expect(keysOfWorker(workerIdentity({ version: '1.2.3', pid: 7, host: 'here', keys }))).toEqual(keys);
    expect(keysOfWorker(workerIdentity({ version: '1.2.3', pid: 7, host: 'here', keys: [] }))).toEqual([]);
    expect(marksOf(`k1:${second}`)).not.toEqual(marksOf(`k1:${first}`));
  });
});
