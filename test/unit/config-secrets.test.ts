import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { readSecret } from '../../src/config/secrets.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-secret-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  vi.unstubAllEnvs();
});

test('a secret in a variable is taken as it is', async () => {
  vi.stubEnv('BASCULE_TEST_SECRET', ' s3cret\n');
  await expect(readSecret({ env: 'BASCULE_TEST_SECRET' }, 'artifacts.token')).resolves.toBe(' s3cret\n');
});

test.each([
  ['s3cret', 's3cret'],
  ['s3cret\n', 's3cret'],
  ['s3cret\r\n', 's3cret'],
  ['two\nlines\n\n', 'two\nlines\n'],
])('of a secret in a file only the final newline is cut: %j', async (content, secret) => {
  const file = join(folder, 'secret');
  await writeFile(file, content);
  await expect(readSecret({ file }, 'artifacts.token')).resolves.toBe(secret);
});

test('a variable that is not set is named', async () => {
  await expect(readSecret({ env: 'BASCULE_TEST_SECRET' }, 'artifacts.token')).rejects.toMatchObject({
    code: 'secret-missing',
    message: 'artifacts.token: the environment variable BASCULE_TEST_SECRET is not set',
    isRetryable: false,
  });
});

test('an empty variable counts as missing', async () => {
  vi.stubEnv('BASCULE_TEST_SECRET', '');
  await expect(readSecret({ env: 'BASCULE_TEST_SECRET' }, 'artifacts.token')).rejects.toThrow(
    'artifacts.token: the environment variable BASCULE_TEST_SECRET is empty',
  );
});

test('a file that is missing, empty or no file is named', async () => {
  const missing = join(folder, 'missing');
  await expect(readSecret({ file: missing }, 'env.URL')).rejects.toThrow(`env.URL: the file ${missing} does not exist`);
  const empty = join(folder, 'empty');
  await writeFile(empty, '\n');
  await expect(readSecret({ file: empty }, 'env.URL')).rejects.toThrow(`env.URL: the file ${empty} is empty`);
  await expect(readSecret({ file: folder }, 'env.URL')).rejects.toThrow(
    `env.URL: the file ${folder} cannot be read (EISDIR)`,
  );
});
