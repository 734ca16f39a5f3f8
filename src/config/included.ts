import { readFileSync, statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import type { ErrorPage, ExtraLines } from '../domain/configuration.js';
import { hasSystemCode } from '../system-error.js';
import { extraLineProblems, variablesOfHaproxy } from './extra-lines.js';
import type { LenientInput } from './lenient.js';
import { type ConfigurationPath, type Problem, wrong } from './problem.js';

/** HAProxy answers with a page from one buffer, which also holds its headers. */
const longestPage = 8_000;
const longestExtra = 64_000;
const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.json': 'application/json',
};

/** What other files give to the configuration, as far as they could be read. */
export interface IncludedFiles {
  readonly errors: readonly ErrorPage[];
  readonly extra: ExtraLines;
  readonly problems: readonly Problem[];
}

/** Reads the files that `edge.errors` and `edge.extra` name; relative ones are in `folder`. */
export function readIncludedFiles({ edge }: LenientInput, folder: string): IncludedFiles {
  const problems: Problem[] = [];
  const variables = variablesOfHaproxy();
  const read = (path: ConfigurationPath, file: string, mostBytes: number): string | undefined => {
    const { text, problem } = readText(resolve(folder, file), mostBytes);
    if (problem !== undefined) problems.push(wrong(path, problem));
    return text;
  };
  const page = ([status, file]: [string, string | undefined]): ErrorPage[] => {
    if (file === undefined) return [];
    const body = read(['edge', 'errors', status], file, longestPage);
    const contentType = contentTypes[extname(file).toLowerCase()] ?? 'text/plain; charset=utf-8';
    return body === undefined ? [] : [{ status: Number(status), contentType, body }];
  };
  const lines = (keys: readonly string[], file: string | undefined): Record<string, string> => {
    const path = ['edge', 'extra', ...keys];
    const text = file && read(path, file, longestExtra)?.replaceAll('\r\n', '\n');
    if (!text) return {};
    const shown = JSON.stringify(resolve(folder, file));
    for (const { line, message } of extraLineProblems(text, variables)) {
      problems.push(wrong(path, `${shown} line ${line}: ${message}`));
    }
    return { [keys.at(-1) ?? '']: text.endsWith('\n') ? text : `${text}\n` };
  };
  const { global, defaults, frontend, backend } = edge?.extra ?? {};
  // In the order of haproxy.cfg: what one sets, those below know.
  const sections = { ...lines(['global'], global), ...lines(['defaults'], defaults), ...lines(['frontend'], frontend) };
  const backends = Object.entries(backend ?? {}).map(([component, file]) => lines(['backend', component], file));
  return {
    errors: Object.entries(edge?.errors ?? {}).flatMap(page),
    extra: {
      ...sections,
      ...(backend && { backend: Object.fromEntries(backends.flatMap((each) => Object.entries(each))) }),
    },
    problems,
  };
}

function readText(file: string, mostBytes: number): { text?: string; problem?: string } {
  const shown = JSON.stringify(file);
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return { problem: `expected a file: ${shown} is none` };
    const bytes = stats.size > mostBytes ? null : readFileSync(file);
    const size = bytes?.length ?? stats.size;
    if (!bytes || size > mostBytes) {
      return { problem: `expected a file of at most ${mostBytes} bytes: ${shown} has ${size}` };
    }
    const text = decode(bytes);
    return text === null ? { problem: `expected a file of UTF-8 without NUL, unlike ${shown}` } : { text };
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return { problem: `expected a file: ${shown} does not exist` };
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    return { problem: `expected a file: ${shown} cannot be read (${code})` };
  }
}

function decode(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
