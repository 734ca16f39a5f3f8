import { readFile } from 'node:fs/promises';
import type { Document } from 'yaml';
import { defaults } from '../domain/defaults.js';
import { BasculeError } from '../errors.js';
import { hasSystemCode } from '../system-error.js';

/** The names in a bascule.yaml beside which a command runs. */
export interface LocalNames {
  readonly project: string;
  readonly edge: string;
  /** In multi-instance `default`. */
  readonly environments: readonly string[];
}

/**
 * Names out of bascule.yaml without checking the rest of it: a half-edited file must not keep anybody from rolling
 * back. Null where there is no file, or where it does not name its project and environments.
 */
export async function readLocalNames(file: string): Promise<LocalNames | null> {
  const text = await readWhereThereIs(file);
  if (text === null) return null;
  const { parseDocument } = await import('yaml');
  const value = readValue(parseDocument(text));
  const project = at(value, 'project');
  const environments = at(value, 'topology') === 'multi-instance' ? { default: null } : at(value, 'environments');
  const edge = at(at(value, 'edge'), 'name');
  if (typeof project !== 'string' || typeof environments !== 'object' || environments === null) return null;
  return {
    project,
    edge: typeof edge === 'string' ? edge : defaults.edgeName,
    environments: Object.keys(environments),
  };
}

/** With an error in one place the names may still be read from another. */
function readValue(document: Document): unknown {
  try {
    return document.toJS();
  } catch {
    // An alias without its anchor, for one: bascule validate says what is wrong.
    return null;
  }
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

async function readWhereThereIs(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return null;
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new BasculeError('config-unreadable', { file, reason }, { cause: error });
  }
}
