import { afterAll, describe, expect, test } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { WorkerContext } from '../../src/activities/project.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { certificateKinds } from '../rig/certificate-kinds.js';
import {
  chance,
  connectTemporal,
  mustSucceed,
  quick,
  restartWhenKilled,
  say,
  startLightLoad,
  startServingProject,
  type Temporal,
} from '../rig/chaos.js';
import { clearFailPoint, setFailPoint } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import {
  activitiesOf,
  type Before,
  type Kind,
  kinds,
  makeReleaseFor,
  notKilledHere,
  type Row,
  rowsOf,
  unvisitedHost,
} from '../rig/kill-kinds.js';
import { type Cell, killInRows, killRows, moments, nameOf } from '../rig/kill-rows.js';
import type { Project } from '../rig/project.js';
import { isWhole } from '../rig/reliability.js';
import { replayAll } from '../rig/replay-all.js';
import type { Visitors } from '../rig/visitors.js';

/** Kinds of operations that `make test` kills in, other ones each time. */
const sampledKinds = 2;
/** Executions that one test of the whole matrix kills in, three times each. */
const rowsOfATest = 5;
const random = chance();
const shaOf = (number: number): string => `c0ffee${number.toString(16).padStart(4, '0')}`;

/** As `quick`, with a migration, a soak that is worth the name, and a host name of prod that nobody visits. */
function configure(yaml: string): string {
  return quick(yaml)
    .replace('localhost, prod.localhost', `localhost, prod.localhost, ${unvisitedHost}`)
    .replaceAll('soak: 300ms', 'soak: 1s')
    .replace('    run: ["node"', '    migrate: ["node", "-e", "setTimeout(() => {}, 300)"]\n    run: ["node"');
}

/** A project with visitors, on which one cell is run after the other. */
class Stage {
  operations = 0;
  private releases = 0;
  private before: Omit<Before, 'standby'> & { standby: string | null } = {
    color: 'green',
    sha: shaOf(0),
    standby: null,
  };

  private constructor(
    private readonly project: Project,
    private readonly temporal: Temporal,
    private readonly visitors: Visitors,
    private readonly broken = new Set<string>(),
  ) {}

  static async start(): Promise<Stage> {
    const project = await startServingProject(shaOf(0), configure);
    return new Stage(project, await connectTemporal(project), await startLightLoad(project, 1_800));
  }

  /** Kills the worker in a cell's operation; throws what is not as it should be afterwards. */
  async run(cell: Cell<Kind>, meanwhile?: 'deploy' | 'failing deploy'): Promise<void> {
    const { kind, row, moment } = cell;
    const before = await this.withStandby();
    const next = await this.nextRelease(kind);
    if (kind.isFirst) await this.temporal.client.workflow.getHandle('demo/environment/prod').terminate();
    await setFailPoint(this.project, { activity: row.activity, moment, nth: row.nth, how: 'kill' });
    const beside = meanwhile ? this.deployToStaging(meanwhile === 'failing deploy') : null;
    // Of a cell that fails, what is wrong with prod is said.
    beside?.catch(() => {});
    const running = this.project.json<OperationResult>(...kind.args(before, next));
    const { isKilled, ended } = await restartWhenKilled(this.project, `${moment} ${row.activity} ${row.nth}`, running);
    await clearFailPoint(this.project);
    const { exitCode, document } = ended;
    const { outcome, code } = document;
    expect({ isKilled, exitCode, outcome, code }, document.message).toEqual({ isKilled: true, ...kind.ends });
    await beside;
    const ran = await activitiesOf(this.temporal.client, document);
    expect(ran.toSorted()).toEqual(kind.activities.filter((name) => name !== 'knownEnvironments').toSorted());
    const serves = kind.serves(before, next);
    const { prod } = await assertInvariant(this.project);
    expect(prod).toEqual(serves);
    this.before = { ...serves, standby: kind.standsBy(before) };
  }

  /** Looks at what only shows in the end: histories and visitors. */
  async end(): Promise<void> {
    const { problems } = await replayAll(this.temporal.client);
    expect(problems, 'histories that a worker with an empty cache cannot carry on').toEqual([]);
    const report = await this.visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
    expect(report.answered.filter(({ sha }) => sha !== null && this.broken.has(sha))).toEqual([]);
  }

  async stop(): Promise<void> {
    await this.temporal.close();
    await this.project.stop();
  }

  /** Every operation finds a release that stands by: so what it has to do is known. */
  private async withStandby(): Promise<Before> {
    const { color, sha, standby } = this.before;
    if (standby !== null) return { color, sha, standby };
    const next = await this.nextRelease();
    await mustSucceed(this.project, 'deploy', 'prod', next);
    const before: Before = { color: color === 'blue' ? 'green' : 'blue', sha: next, standby: sha };
    this.before = before;
    return before;
  }

  private async nextRelease(kind?: Kind): Promise<string> {
    this.operations += 1;
    this.releases += 1;
    const sha = shaOf(this.releases);
    if (kind?.fault === 'unhealthy') this.broken.add(sha);
    if (kind) await makeReleaseFor(this.project, kind, sha);
    else await this.project.releaseAll(sha);
    return sha;
  }

  private async deployToStaging(isBroken: boolean): Promise<void> {
    this.operations += 1;
    this.releases += 1;
    const sha = shaOf(this.releases);
    if (isBroken) this.broken.add(sha);
    await this.project.releaseAll(sha, { unhealthy: isBroken });
    const { exitCode, document } = await this.project.json<OperationResult>('deploy', 'staging', sha);
    expect({ exitCode, code: document.code }, `staging: ${document.message}`).toEqual(
      isBroken ? { exitCode: 1, code: 'instance-unhealthy' } : { exitCode: 0, code: null },
    );
  }
}

describe('the list of what a worker is killed in', () => {
  const every = [...kinds, ...certificateKinds];

  test('names every activity there is', () => {
    const context = {} as WorkerContext;
    const all = Object.values(createActivities(context)).flatMap((group) => Object.keys(group));
    const named = new Set([...every.flatMap(({ activities }) => activities), ...Object.keys(notKilledHere)]);
    expect([...named].toSorted()).toEqual(all.toSorted());
  });

  test('kills in each of them', () => {
    const killed = new Set(every.flatMap((kind) => rowsOf(kind).map(({ activity }) => activity)));
    const run = new Set(every.flatMap(({ activities }) => activities));
    expect([...killed].toSorted()).toEqual([...run].toSorted());
  });
});

function sampleTest(): void {
  let stage: Stage | null = null;
  afterAll(() => stage?.stop());

  test('anywhere in an operation of one kind or another leaves it to the next one, and fails no visitor', {
    timeout: 600_000,
  }, async () => {
    stage = await Stage.start();
    const dear: readonly Kind['fault'][] = ['sick when visited', 'wrong on one host'];
    const sampled = random
      .shuffled(kinds.filter(({ fault, isFirst }) => !isFirst && !dear.includes(fault)))
      .slice(0, sampledKinds);
    for (const [index, kind] of sampled.entries()) {
      const rows = rowsOf(kind);
      const row = rows[Math.floor(random.next() * rows.length)];
      const moment = moments[Math.floor(random.next() * moments.length)];
      if (!row || !moment) throw new Error('a kind has no activities');
      const cell = { kind, row, moment };
      const context = `CHAOS_SEED=${random.seed}, ${nameOf(cell)}`;
      say(context);
      await stage.run(cell, index % 2 === 0 ? 'failing deploy' : 'deploy').catch((error: Error) => {
        throw new Error(`${context}: ${error.message}`, { cause: error });
      });
    }
    await stage.end();
  });
}

const parts = kinds.flatMap((kind) => {
  const rows = rowsOf(kind);
  const count = Math.ceil(rows.length / rowsOfATest);
  return Array.from({ length: count }, (_, index) => ({
    kind,
    part: index + 1,
    count,
    rows: rows.slice(index * rowsOfATest, (index + 1) * rowsOfATest),
  }));
});

function wholeTests(): void {
  for (const { kind, rows, part, count } of parts) {
    test.concurrent(
      `leaves it to the next one in a ${kind.name} (part ${part} of ${count})`,
      {
        timeout: 1_200_000,
      },
      () => killInAll(kind, rows, part),
    );
  }
}

/** Kills in each of these rows, at each moment. */
async function killInAll(kind: Kind, rows: readonly Row[], part: number): Promise<void> {
  await killInRows<Stage>(killRows(kind, rows), {
    section: `kill-worker.${1 + kinds.indexOf(kind)}${part}`,
    table: {
      title: 'The worker is killed in every activity',
      about:
        'SIGKILL before, during and after each activity; another worker is started. The operation has to end as the ' +
        'same one does that nobody disturbs, with the exit code of the command that waits for it.',
      columns: ['operation', 'activity', ...moments],
    },
    part: `${kind.name}, part ${part}`,
    start: Stage.start,
  });
}

if (isWhole) describe('a worker that is killed before, during and after each activity', wholeTests);
else describe('a worker that is killed', sampleTest);
