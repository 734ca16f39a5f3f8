import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Whether everything is broken everywhere (`make chaos`), or a sample of it (`make test`). */
export const isWhole = process.env.CHAOS_WHOLE === '1';

/** What a chaos test did and found, as a section of docs/reliability.md. */
export interface Cells {
  readonly title: string;
  /** A sentence or two above the table. */
  readonly about: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly operations: number;
  readonly faults: number;
  readonly violations: number;
}

/**
 * Writes `<CHAOS_RESULTS>/<section>.json`, of which `script/chaos` makes the tables; nothing where that is not set.
 * What is told in parts is named `<section>.<part>`: their rows make one table.
 */
export function reportCells(section: string, cells: Cells): void {
  const folder = process.env.CHAOS_RESULTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${section}.json`), `${JSON.stringify(cells, null, 2)}\n`);
}
