import { readFile } from 'node:fs/promises';
import type { ComponentConfiguration, SecretSource } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';

/**
 * The secret that a variable of this process's environment or a file holds (a file's final newline is cut).
 * `purpose` says what it is for, as in "artifacts.token". Throws `secret-missing`, which never holds the secret.
 */
export async function readSecret(source: SecretSource, purpose: string): Promise<string> {
  const secret = 'env' in source ? fromVariable(source.env, purpose) : await fromFile(source.file, purpose);
  if (secret === '') throw new BasculeError('secret-missing', { purpose, source: nameOf(source), reason: 'is empty' });
  return secret;
}

/** The component's own `env`, its secrets read now. Throws what `readSecret` throws. */
export async function readEnv(component: ComponentConfiguration): Promise<Record<string, string>> {
  const entries = Object.entries(component.env).map(async ([name, value]) => [
    name,
    typeof value === 'string' ? value : await readSecret(value, `${component.name}: env.${name}`),
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

function fromVariable(variable: string, purpose: string): string {
  const value = process.env[variable];
  if (value !== undefined) return value;
  throw new BasculeError('secret-missing', { purpose, source: nameOf({ env: variable }), reason: 'is not set' });
}

async function fromFile(file: string, purpose: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`;
    throw new BasculeError('secret-missing', { purpose, source: nameOf({ file }), reason }, { cause });
  }
}

const nameOf = (source: SecretSource): string =>
  'env' in source ? `the environment variable ${source.env}` : `the file ${source.file}`;
