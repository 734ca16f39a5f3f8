import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';

/** A stack trace by files and lines of src/, where what runs is a bundle with its source map beside it. */
export function originalStack(stack: string): string {
  const maps = new Map<string, SourceMap | null>();
  return stack.replace(/(\/[^():\n]+\.cjs):(\d+):(\d+)/g, (place, file: string, line: string, column: string) => {
    const map = maps.get(file) ?? readMap(file);
    maps.set(file, map);
    const found = map?.findEntry(Number(line) - 1, Number(column) - 1);
    return found && 'originalSource' in found ? `${found.originalSource}:${found.originalLine + 1}` : place;
  });
}

function readMap(file: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')) as SourceMapPayload);
  } catch {
    // An installation without it: the trace stays as it is.
    return null;
  }
}
