import type { Client } from '@temporalio/client';
import { expect } from 'vitest';
import { type Color, otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { reportCells, say, until } from './chaos.js';
import type { FailPoint } from './fail-point.js';

/** What prod serves before an operation, and the release on its standby. */
export interface Before {
  readonly color: Color;
  readonly sha: string;
  readonly standby: string;
}

/** A kind of operation on prod whose worker is killed in each of its activities. */
export interface Kind {
  readonly name: string;
  /** Every activity that it runs, as often as it does, in the order in which they begin. */
  readonly activities: readonly string[];
  /** Killed from this activity on, and only up to that one: another kind runs the rest too. */
  readonly killedFrom?: string;
  readonly killedUpTo?: string;
  /** Temporal has no record of the environment, as after a loss of its database. */
  readonly isFirst?: boolean;
  /** What is wrong with the release that is deployed. */
  readonly fault?: 'unhealthy' | 'sick when visited' | 'wrong on one host';
  readonly args: (before: Before, next: string) => readonly string[];
  /** The code that it fails with; it succeeds without. */
  readonly fails?: string;
  /** The release that is active afterwards; `before` stays on its color, the others are on the other one. */
  readonly serves: 'next' | 'standby' | 'before';
  /** Nothing is left of the other color. */
  readonly empties?: boolean;
}

export const edgeChange = [
  ...['requestEdgeChange', 'readEdge', 'renderConfig', 'stageConfig', 'installConfig', 'reloadEdge', 'verifyTraffic'],
  'recordColor',
];
const recreated = [
  ...['pinRelease', 'fetchArtifact', 'fetchArtifact', ...edgeChange, 'drainColor'],
  ...['recreateInstance', 'recreateInstance'],
];
const healthy = ['startInstance', 'startInstance', 'waitUntilUpOnEdge'];

export const deploy: Kind = {
  name: 'deploy',
  activities: [...recreated, 'migrate', ...healthy, ...edgeChange, 'watchSoak'],
  args: (_, next) => ['deploy', 'prod', next],
  serves: 'next',
};

export const kinds: readonly Kind[] = [
  deploy,
  {
    ...deploy,
    name: 'first deploy that Temporal knows of',
    activities: ['knownEnvironments', ...deploy.activities],
    killedUpTo: 'knownEnvironments',
    isFirst: true,
  },
  {
    name: 'switch',
    activities: ['planSwitch', ...edgeChange],
    args: ({ color }) => ['switch', 'prod', otherColor(color)],
    serves: 'standby',
  },
  {
    name: 'rollback, fast',
    activities: ['planRollback', ...edgeChange],
    args: ({ standby }) => ['rollback', 'prod', '--to', standby, '--yes'],
    serves: 'standby',
  },
  {
    name: 'rollback, full',
    activities: ['planRollback', ...recreated, ...healthy, ...edgeChange],
    args: ({ standby }) => ['rollback', 'prod', '--to', standby, '--full', '--yes'],
    serves: 'standby',
  },
  {
    name: 'cleanup',
    activities: ['planCleanup', ...edgeChange, 'drainColor', 'removeInstance', 'removeInstance'],
    args: () => ['cleanup', 'prod', '--standby'],
    serves: 'before',
    empties: true,
  },
  {
    ...deploy,
    name: 'deploy of a release that does not start',
    activities: [...recreated, 'migrate', 'startInstance', 'startInstance', 'markFailed'],
    killedFrom: 'startInstance',
    fault: 'unhealthy',
    fails: 'instance-unhealthy',
    serves: 'before',
  },
  {
    name: 'deploy that is switched back in its soak',
    activities: [...deploy.activities, 'withdrawEdgeChange', ...edgeChange, 'markFailed'],
    killedFrom: 'watchSoak',
    fault: 'sick when visited',
    args: (_, next) => ['deploy', 'prod', next, '--soak', '2m'],
    fails: 'unhealthy-in-soak',
    serves: 'before',
  },
  {
    ...deploy,
    name: 'deploy whose switch is undone',
    activities: [
      ...[...recreated, 'migrate', ...healthy, ...edgeChange.slice(0, -1)],
      ...['restoreConfig', 'reloadRestored', 'unstageConfig', 'withdrawEdgeChange', 'markFailed'],
    ],
    killedFrom: 'restoreConfig',
    fault: 'wrong on one host',
    fails: 'traffic-not-verified',
    serves: 'before',
  },
];

/** What prod serves after an operation of a kind. */
export function servedAfter({ serves }: Kind, before: Before, next: string): Pick<Before, 'color' | 'sha'> {
  if (serves === 'before') return { color: before.color, sha: before.sha };
  return { color: otherColor(before.color), sha: serves === 'next' ? next : before.standby };
}

/** The nth execution of an activity. */
export interface Row {
  readonly activity: string;
  readonly nth: number;
  readonly times: number;
}

type Killed = Pick<Kind, 'name' | 'activities' | 'killedFrom' | 'killedUpTo'>;

/** Where a kind's worker is killed: each execution of each activity that it runs. */
export function rowsOf({ activities, killedFrom, killedUpTo }: Omit<Killed, 'name'>): readonly Row[] {
  const rows = activities.map((activity, index) => ({
    activity,
    nth: activities.slice(0, index + 1).filter((one) => one === activity).length,
    times: activities.filter((one) => one === activity).length,
  }));
  const upTo = killedUpTo === undefined ? rows.length : activities.lastIndexOf(killedUpTo) + 1;
  return rows.slice(killedFrom === undefined ? 0 : activities.indexOf(killedFrom), upTo);
}

export const nameOfRow = ({ activity, nth, times }: Row): string =>
  times === 1 ? activity : `${activity}, ${nth} of ${times}`;

export const moments = ['before', 'during', 'after'] as const;

/** Where a worker is killed in an operation of one kind. */
export interface Cell<Kind> {
  readonly kind: Kind;
  readonly row: Row;
  readonly moment: FailPoint['moment'];
}

/** A project on which one kill comes after the other. */
export interface KillStage {
  /** How many it was asked for so far. */
  readonly operations: number;
  /** Checks what only shows in the end. */
  end(): Promise<void>;
  stop(): Promise<void>;
}

/** A row of the table: kills in one execution of an activity. */
export interface KillRow<Stage> {
  readonly label: readonly string[];
  readonly cells: readonly KillCell<Stage>[];
}

interface KillCell<Stage> {
  readonly name: string;
  /** Its column. */
  readonly moment: string;
  /** Kills, and throws what is wrong afterwards. */
  run(stage: Stage): Promise<void>;
}

/** A kill, or what `run` does, at each moment of these executions. */
export const rowsOfKind = <K extends Killed, Stage>(
  kind: K,
  rows: readonly Row[],
  run: (stage: Stage, cell: Cell<K>) => Promise<void>,
): readonly KillRow<Stage>[] =>
  rows.map((row) => ({
    label: [kind.name, nameOfRow(row)],
    cells: moments.map((moment) => ({
      name: `${kind.name}: ${moment} ${nameOfRow(row)}`,
      moment,
      run: (stage) => run(stage, { kind, row, moment }),
    })),
  }));

export const killRows = <K extends Killed, Stage extends { run(cell: Cell<K>): Promise<void> }>(
  kind: K,
  rows: readonly Row[],
): readonly KillRow<Stage>[] => rowsOfKind(kind, rows, (stage: Stage, cell) => stage.run(cell));

/** Executions that one test of the whole matrix kills in, three times each. */
const rowsOfATest = 5;

/** The whole matrix, as parts that one test each kills in. */
export const partsOf = <K extends Killed, Stage extends { run(cell: Cell<K>): Promise<void> }>(kinds: readonly K[]) =>
  kinds.flatMap((kind, index) => {
    const rows = killRows<K, Stage>(kind, rowsOf(kind));
    const count = Math.ceil(rows.length / rowsOfATest);
    return Array.from({ length: count }, (_, part) => ({
      name: `${kind.name} (part ${part + 1} of ${count})`,
      section: `${index + 1}${part + 1}`,
      rows: rows.slice(part * rowsOfATest, (part + 1) * rowsOfATest),
    }));
  });

/** Kills in every cell of these rows and reports them as one section; a project on which a cell failed is left. */
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
    /** Names a problem that only shows in the end. */
    readonly part: string;
    readonly start: () => Promise<Stage>;
  },
): Promise<void> {
  const problems: string[] = [];
  const told: string[][] = [];
  let [operations, faults] = [0, 0];
  const note = (problem: string) => {
    problems.push(problem);
    say(problem);
  };
  const report = () => reportCells(section, { ...table, rows: told, operations, faults, violations: problems.length });
  let stage = await start();
  const leave = async () => {
    await stage.end().catch((error: Error) => note(`${part}: ${error.message}`));
    operations += stage.operations;
    await stage.stop();
  };
  for (const { label, cells } of rows) {
    const found: Record<string, string> = {};
    for (const { name, moment, run } of cells) {
      faults += 1;
      found[moment] = 'ok';
      try {
        await run(stage);
      } catch (error) {
        note(`${name}: ${String(error)}`);
        found[moment] = '**failed**';
        await leave();
        stage = await start();
      }
    }
    told.push([...label, ...table.columns.slice(label.length).map((moment) => found[moment] ?? '')]);
    say(told.at(-1)?.join(', ') ?? '');
    // A run that is broken off has reported what it found.
    report();
  }
  await leave();
  report();
  expect(problems).toEqual([]);
}

/** The activities that an operation, its children and its changes of the edge ran, by Temporal's record. */
export async function activitiesOf(
  client: Client,
  { operation, startedAt }: Pick<OperationResult, 'operation' | 'startedAt'>,
  children: readonly string[] = [],
): Promise<readonly string[]> {
  const historyOf = async (id: string) => (await client.workflow.getHandle(id).fetchHistory()).events ?? [];
  const scheduledBy = async (id: string) =>
    (await historyOf(id)).flatMap((event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? []);
  const own = (await Promise.all([operation, ...children].map(scheduledBy))).flat();
  const requested = own.filter((name) => name === 'requestEdgeChange').length;
  const changes = await until(`Temporal lists ${requested} changes of the edge by ${operation}`, async () => {
    const found: string[] = [];
    const query = `WorkflowType = "switchEdge" AND StartTime >= "${startedAt}"`;
    for await (const { workflowId } of client.workflow.list({ query })) {
      const [begun] = await historyOf(workflowId);
      const input = begun?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
      const change = JSON.parse(Buffer.from(input ?? '').toString()) as { operation: string };
      if (change.operation === operation) found.push(workflowId);
    }
    return found.length >= requested && found;
  });
  return [...own, ...(await Promise.all(changes.map(scheduledBy))).flat()];
}
