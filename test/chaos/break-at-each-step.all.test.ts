import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Status } from '../../src/domain/inspect.js';
import type { OperationResult } from '../../src/domain/operation.js';
import {
  connectTemporal,
  mustSucceed,
  quickUnderLoad,
  reportCells,
  say,
  startLightLoad,
  startServingProject,
} from '../rig/chaos.js';
import { clearFailPoint, killMaster, setFailPoint, untilStopped } from '../rig/fail-point.js';
import { assertInvariant, withStandbys } from '../rig/invariant.js';
import { type Kind, kinds, nameOfRow, type Row, rowsOf, servedAfter } from '../rig/kill-matrix.js';
import type { Project, RunningCommand } from '../rig/project.js';
import { isFailure } from '../rig/visitors/messages.js';
import type { Visitors } from '../rig/visitors.js';

/** What is killed while an operation is at a step. */
interface Part {
  readonly name: string;
  readonly section: string;
  readonly about: string;
  /** The worker is stopped meanwhile, in the middle of the step. Answers what to do, or to wait for, when it goes on. */
  kill(project: Project, command: RunningCommand): Promise<() => Promise<void>>;
  readonly mayEnd: readonly OperationResult['outcome'][];
  /** Exit codes of the command beside the one that says how it ended. */
  readonly mayExit: readonly number[];
  /** Whether nobody is served until it is back. */
  readonly refusesVisitors: boolean;
}

const outageMs = 1_000;

const master: Part = {
  name: "HAProxy's master",
  section: 'haproxy-master',
  about:
    'SIGKILL of the master, which takes its workers with it, in the middle of each activity. The worker brings HAProxy ' +
    'back. The operation ends as succeeded, as failed with everything as before, or as needs-operator, and a repair fixes it.',
  kill: (project) => killMaster(project),
  mayEnd: ['succeeded', 'failed', 'needs-operator'],
  mayExit: [],
  refusesVisitors: true,
};

const temporalServer: Part = {
  name: "Temporal's server",
  section: 'temporal-server',
  about: `SIGKILL in the middle of each activity; after ${outageMs / 1_000} s it is started again on its database.`,
  async kill({ temporal }) {
    await temporal.kill();
    return async () => {
      await sleep(outageMs);
      await temporal.restart();
    };
  },
  mayEnd: ['succeeded'],
  mayExit: [4],
  refusesVisitors: false,
};

const command: Part = {
  name: 'the command that waits for it',
  section: 'command',
  about: 'SIGKILL in the middle of each activity. The operation goes on.',
  async kill(_, running) {
    running.kill('SIGKILL');
    await running.ended;
    return () => Promise.resolve();
  },
  mayEnd: ['succeeded'],
  mayExit: [-1],
  refusesVisitors: false,
};

const cells = kinds
  .filter(({ isFirst, fault }) => !isFirst && fault === undefined)
  .flatMap((kind) => rowsOf(kind).map((row) => ({ kind, row, name: `${kind.name}: ${nameOfRow(row)}` })));

let releases = 0;
function nextSha(): string {
  releases += 1;
  return `5ca1e${releases.toString(16).padStart(6, '0')}`;
}

describe.each([master, temporalServer, command])('where $name is killed', (part) => {
  let project: Project;
  let visitors: Visitors;
  const outages: { from: number; to: number }[] = [];
  const rows: string[][] = [];
  let violations = 0;

  beforeAll(async () => {
    project = await startServingProject(nextSha(), configured);
    visitors = await startLightLoad(project, 3_000);
  });

  afterAll(async () => {
    await project?.stop();
    reportCells(part.section, {
      title: `${part.name} is killed in every activity`,
      about: part.about,
      columns: ['operation', 'activity', 'ended as'],
      rows,
      operations: releases,
      faults: rows.length,
      violations,
    });
  });

  test.for(cells)('in the middle of a $name, it ends as one of the three', async ({ kind, row, name }) => {
    const place = [kind.name, nameOfRow(row)];
    try {
      const ended = await breakAt(kind, row);
      say(`${part.name}, ${name}: ${ended}`);
      rows.push([...place, ended]);
    } catch (error) {
      violations += 1;
      rows.push([...place, '**failed**']);
      throw error;
    }
  });

  test(`fails no request${part.refusesVisitors ? ' but while there is no HAProxy' : ''}`, async () => {
    const { requests, wrongEnvironment, endedByLimit } = await visitors.stop();
    const failures = requests
      .filter(isFailure)
      .filter(({ at, ms }) => !outages.some(({ from, to }) => at + ms >= from && at <= to));
    say(`${requests.length} requests`);
    violations += failures.length;
    expect(failures.slice(0, 5)).toEqual([]);
    expect({ wrongEnvironment, endedByLimit }).toEqual({ wrongEnvironment: 0, endedByLimit: false });
  });

  async function breakAt(kind: Kind, row: Row): Promise<string> {
    const { prod: before } = await withStandbys(project, ['prod'], nextSha);
    const next = nextSha();
    await project.releaseAll(next);
    await setFailPoint(project, { activity: row.activity, moment: 'during', nth: row.nth, how: 'stop' });
    const running = project.start(...kind.args(before, next), '--json');
    const worker = await untilStopped(project);
    await clearFailPoint(project);
    const from = Date.now();
    const bringBack = await part.kill(project, running);
    process.kill(worker, 'SIGCONT');
    await bringBack();
    if (part.refusesVisitors) outages.push({ from, to: Date.now() });

    const { exitCode } = await running.ended;
    const temporal = await connectTemporal(project);
    const { last } = await temporal.idle('prod').finally(() => temporal.close());
    if (!last) throw new Error('the environment remembers no operation');
    expect(part.mayEnd, last.message).toContain(last.outcome);
    expect([...part.mayExit, { succeeded: 0, failed: 1, 'needs-operator': 3 }[last.outcome]]).toContain(exitCode);
    const marked = (await project.json<Status>('status')).document.edge.needsOperator;
    expect({ outcome: last.outcome, isMarked: marked !== null }).toEqual({
      outcome: last.outcome,
      isMarked: last.outcome === 'needs-operator',
    });
    if (last.outcome === 'needs-operator') await mustSucceed(project, 'apply', '--repair');
    const { prod } = await assertInvariant(project);
    const asBefore = { color: before.color, sha: before.sha };
    const { succeeded, failed } = { succeeded: servedAfter(kind, before, next), failed: asBefore };
    if (last.outcome === 'needs-operator') expect([succeeded, failed]).toContainEqual(prod);
    else expect(prod, last.message).toEqual(last.outcome === 'succeeded' ? succeeded : failed);
    return last.code === null ? last.outcome : `${last.outcome}, ${last.code}`;
  }
});

/** Quick, with a migration. */
const configured = (yaml: string): string =>
  quickUnderLoad(yaml).replace('    run: ["node"', '    migrate: ["node", "-e", ""]\n    run: ["node"');
