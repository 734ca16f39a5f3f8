import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Document, LineCounter, parseDocument, visit } from 'yaml';
import type { Configuration } from '../domain/configuration.js';
import { BasculeError } from '../errors.js';
import { crossFieldProblems } from './checks.js';
import { toConfiguration } from './convert.js';
import { readIncludedFiles } from './included.js';
import { problemsOf, withoutInvalid } from './issues.js';
import type { LenientInput } from './lenient.js';
import { offsetOf } from './places.js';
import { formatPath } from './problem.js';
import { configurationSchema } from './schema.js';

/**
 * Reads and checks bascule.yaml; defaults are filled in, and relative paths are those of the file's folder.
 * Throws `config-not-found`, `config-unreadable`, or `config-invalid` with every error and its place.
 */
export async function loadConfiguration(file: string): Promise<Configuration> {
  return parseConfiguration(await readConfiguration(file), file);
}

/** The configuration in a text that stands, or would stand, in `file`. Throws `config-invalid`. */
export function parseConfiguration(text: string, file: string): Configuration {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const faults = [...yamlFaults(document), ...aliasFaults(document)];
  const isReadable = faults.every(({ isRepeatedKey }) => isRepeatedKey);
  const checked = isReadable ? check(document, dirname(resolve(file))) : { faults: [] };
  faults.push(...checked.faults);
  if (checked.configuration && faults.length === 0) return checked.configuration;
  throw new BasculeError('config-invalid', {
    file,
    problems: faults
      .toSorted((a, b) => a.offset - b.offset)
      .map(({ offset, text: fault }) => {
        const { line, col } = lineCounter.linePos(offset);
        return `${file}:${line}:${col} ${fault}`;
      }),
  });
}

async function readConfiguration(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new BasculeError('config-not-found', { file }, { cause });
    throw new BasculeError('config-unreadable', { file, reason: code }, { cause });
  }
}

interface Fault {
  readonly offset: number;
  readonly text: string;
  readonly isRepeatedKey?: boolean;
}

function* yamlFaults(document: Document.Parsed): Generator<Fault> {
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    const isRepeatedKey = code === 'DUPLICATE_KEY';
    yield { offset: pos[0], isRepeatedKey, text: isRepeatedKey ? 'this key stands twice' : `YAML: ${message}` };
  }
}

function aliasFaults(document: Document.Parsed): Fault[] {
  const faults: Fault[] = [];
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document)) return;
      faults.push({ offset: alias.range?.[0] ?? 0, text: 'YAML: no anchor of this name stands above' });
    },
  });
  return faults;
}

function check(document: Document.Parsed, folder: string): { faults: Fault[]; configuration?: Configuration } {
  // An alias is one object however often it stands in the text, so many of them cost nothing.
  const value: unknown = document.toJS({ maxAliasCount: -1 });
  const result = configurationSchema.safeParse(value);
  const issues = result.error?.issues ?? [];
  // Each value that the schema found wrong is undefined in it, all others have their type.
  const valid = withoutInvalid(value, issues) as LenientInput | null;
  const included = readIncludedFiles(valid ?? {}, folder);
  const problems = [
    ...problemsOf(issues),
    ...(valid === null ? [] : crossFieldProblems(valid, folder)),
    ...included.problems,
  ];
  const faults = problems.map((problem) => ({
    offset: offsetOf(document, problem),
    text: [formatPath(problem.path), problem.message].filter(Boolean).join(': '),
  }));
  if (!result.success || faults.length > 0) return { faults };
  return { faults, configuration: toConfiguration(result.data, folder, included) };
}
