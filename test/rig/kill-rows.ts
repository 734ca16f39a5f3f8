import { expect } from 'vitest';
import { say } from './chaos.js';
import type { FailPoint } from './fail-point.js';
import { type Kind as EnvironmentKind, type Row, rowsOf } from './kill-kinds.js';
import { reportCells } from './reliability.js';

/** A project on which one kill comes after the other. */
export interface KillStage {
  /** What it was asked for so far. */
  readonly operations: number;
  /** Looks at what only shows in the end; throws what is not as it should be. */
  end(): Promise<void>;
  stop(): Promise<void>;
}

export interface KillRow<Stage> {
  /** The first columns of the table. */
  readonly label: readonly string[];
  readonly cells: readonly KillCell<Stage>[];
}

export interface KillCell<Stage> {
  readonly name: string;
  /** Its column. */
  readonly moment: string;
  /** Kills, and throws what is not as it should be afterwards. */
  run(stage: Stage): Promise<void>;
}

export const moments = ['before', 'during', 'after'] as const;

type KillKind = Pick<EnvironmentKind, 'name' | 'activities' | 'killedFrom' | 'killedUpTo'>;

/** Where a worker is killed in an operation of one kind. */
export interface Cell<Kind extends { readonly name: string }> {
  readonly kind: Kind;
  readonly row: Row;
  readonly moment: FailPoint['moment'];
}

export const nameOf = ({ kind, row, moment }: Cell<{ readonly name: string }>): string =>
  `${kind.name}: ${moment} ${row.activity} ${row.nth} of ${row.times}`;

/** A kill at each moment of these executions. */
export function killRows<
  Kind extends { readonly name: string },
  Stage extends { run(cell: Cell<Kind>): Promise<void> },
>(kind: Kind, rows: readonly Row[]): readonly KillRow<Stage>[] {
  return rows.map((row) => ({
    label: [kind.name, row.times === 1 ? row.activity : `${row.activity}, ${row.nth} of ${row.times}`],
    cells: moments.map((moment) => {
      const cell = { kind, row, moment };
      return { name: nameOf(cell), moment, run: (stage) => stage.run(cell) };
    }),
  }));
}

/** Executions that one test of the whole matrix kills in, three times each. */
const rowsOfATest = 5;

/** The whole matrix, as parts that one test each kills in. */
export const partsOf = <Kind extends KillKind, Stage extends { run(cell: Cell<Kind>): Promise<void> }>(
  kinds: readonly Kind[],
) =>
  kinds.flatMap((kind, index) => {
    const rows = killRows<Kind, Stage>(kind, rowsOf(kind));
    const count = Math.ceil(rows.length / rowsOfATest);
    return Array.from({ length: count }, (_, part) => ({
      name: `${kind.name} (part ${part + 1} of ${count})`,
      section: `${index + 1}${part + 1}`,
      rows: rows.slice(part * rowsOfATest, (part + 1) * rowsOfATest),
    }));
  });

/** Kills in every cell of these rows and reports them as one section; what is wrong in one is not the next one's. */
export async function killInRows<Stage extends KillStage>(
  rows: readonly KillRow<Stage>[],
  {
    section,
    table,
    part,
    start,
  }: {
    readonly section: string;
    readonly table: { readonly title: string; readonly about: string; readonly columns: readonly string[] };
    /** What is told of a problem that only shows in the end. */
    readonly part: string;
    readonly start: () => Promise<Stage>;
  },
): Promise<void> {
  const problems: string[] = [];
  const told: string[][] = [];
  let faults = 0;
  const stages: Stage[] = [];
  const begin = async () => {
    const begun = await start();
    stages.push(begun);
    return begun;
  };
  const note = (problem: string) => {
    problems.push(problem);
    say(problem);
  };
  let stage = await begin();
  const leave = async () => {
    await stage.end().catch((error: Error) => note(`${part}: ${error.message}`));
    await stage.stop();
  };
  const moments = table.columns.slice(rows[0]?.label.length);
  const report = () =>
    reportCells(section, {
      ...table,
      rows: told,
      operations: stages.reduce((sum, one) => sum + one.operations, 0),
      faults,
      violations: problems.length,
    });
  for (const { label, cells } of rows) {
    const found = new Map<string, string>();
    for (const cell of cells) {
      faults += 1;
      try {
        await cell.run(stage);
        found.set(cell.moment, 'as it should');
      } catch (error) {
        note(`${cell.name}: ${String(error)}`);
        found.set(cell.moment, '**not**');
        await leave();
        stage = await begin();
      }
    }
    const inOrder = moments.map((moment) => found.get(moment) ?? '');
    say(`${label.join(', ')}: ${inOrder.join(', ')}`);
    told.push([...label, ...inOrder]);
    // A run that is broken off has told what it found.
    report();
  }
  await leave();
  report();
  expect(problems).toEqual([]);
}
