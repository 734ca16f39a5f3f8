import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createActivities } from '../../src/activities/index.js';
import type { WorkerContext } from '../../src/activities/project.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { mustSucceed, restartWhenKilled, until } from '../rig/chaos.js';
import {
  clearFailPoint,
  type FailPoint,
  setFailPoint,
  takeOver,
  untilGone,
  untilStopped,
  withShortLease,
} from '../rig/fail-point.js';
import { type Cell, killInRows, killRows, moments, rowsOf } from '../rig/kill-matrix.js';
import { allServing, lookAtLab, releaseLab, startLab, visitLab } from '../rig/lab.js';
import type { Project } from '../rig/project.js';
import { differences, lookAtProject } from '../rig/project-look.js';

const shaOf = (number: number): string => `1ab5${number.toString(16).padStart(4, '0')}`;

/** A kind of rolling operation, whose worker is killed in each of its activities. */
interface Kind {
  readonly name: string;
  readonly activities: readonly string[];
  readonly killedFrom?: string;
  readonly isBroken?: boolean;
  readonly args: (next: string, before: string) => readonly string[];
  readonly exitCode: number;
  readonly serves: (next: string, before: string, active: string) => string;
  /** A failover test cuts what its instance holds. */
  readonly isNoticed?: boolean;
}

const fetched = ['pinRelease', 'fetchArtifact', 'fetchArtifact'];
const replaced = ['drainInstance', 'replaceRelease', 'startInstance', 'admitInstance'];
const rolled = [...fetched, ...replaced, ...replaced, ...replaced, 'recordReleases', 'pruneInstances'];

const kinds: readonly Kind[] = [
  {
    name: 'rolling deploy',
    activities: rolled,
    args: (next) => ['deploy', next],
    exitCode: 0,
    serves: (next) => next,
  },
  {
    name: 'rolling deploy of a release that does not start',
    activities: [
      ...fetched,
      'drainInstance',
      'replaceRelease',
      'startInstance',
      'retakeInstance',
      ...replaced.slice(1),
    ],
    killedFrom: 'retakeInstance',
    isBroken: true,
    args: (next) => ['deploy', next],
    exitCode: 1,
    serves: (_, __, active) => active,
  },
  {
    name: 'rolling rollback',
    activities: ['planRollback', ...rolled],
    args: (_, before) => ['rollback', '--to', before, '--yes'],
    exitCode: 0,
    serves: (_, before) => before,
  },
  {
    name: 'failover test',
    activities: [
      ...['planFailoverTest', 'visitPool', 'stopByForce', 'waitUntilDown', 'visitPool', 'startAgain'],
      'waitUntilUpAgain',
    ],
    args: () => ['failover-test', 'backend'],
    exitCode: 0,
    serves: (_, __, active) => active,
    isNoticed: true,
  },
];

class Stage {
  operations = 0;
  private releases = 1;
  private active = shaOf(1);

  private constructor(private readonly project: Project) {}

  static async start(): Promise<Stage> {
    const project = await startLab();
    for (const sha of [shaOf(0), shaOf(1)]) {
      await releaseLab(project, sha);
      await mustSucceed(project, 'deploy', sha);
    }
    return new Stage(project);
  }

  async run({ kind, row, moment }: Cell<Kind>): Promise<void> {
    const { project } = this;
    const { sha: active, history } = await lookAtLab(project);
    // A rollback leaves no release below the active one.
    if (kind.name === 'rolling rollback' && history.length < 2) {
      await mustSucceed(project, 'deploy', await this.release());
      return this.run({ kind, row, moment });
    }
    const before = history[1] ?? '';
    const next = await this.release(kind.isBroken);
    const visitors = kind.isNoticed ? null : await visitLab(project);
    await setFailPoint(project, { activity: row.activity, moment, nth: row.nth, how: 'kill' });
    const running = project.json<OperationResult>(...kind.args(next, before));
    const { isKilled, ended } = await restartWhenKilled(project, `${moment} ${row.activity} ${row.nth}`, running);
    await clearFailPoint(project);
    this.operations += 1;
    expect({ isKilled, exitCode: ended.exitCode }, ended.document.message).toEqual({
      isKilled: true,
      exitCode: kind.exitCode,
    });
    this.active = kind.serves(next, before, active ?? '');
    const { sha, instances } = await lookAtLab(project);
    expect({ sha, instances }).toEqual({ sha: this.active, instances: allServing(this.active) });
    if (!visitors) return;
    const { failures } = await visitors.stop();
    expect(failures, JSON.stringify(failures.slice(0, 3))).toEqual([]);
  }

  async end(): Promise<void> {
    const { sha } = await lookAtLab(this.project);
    expect(sha).toBe(this.active);
  }

  stop(): Promise<void> {
    return this.project.stop();
  }

  private async release(isBroken = false): Promise<string> {
    this.releases += 1;
    const sha = shaOf(this.releases);
    await releaseLab(this.project, sha, { unhealthy: isBroken });
    return sha;
  }
}

test('the list of what a worker is killed in names every activity of a rolling operation and of a failover test', () => {
  const { rolling, failover } = createActivities({} as WorkerContext);
  const killed = new Set(kinds.flatMap(({ activities }) => activities));
  const notKilled = [...Object.keys(rolling), ...Object.keys(failover)].filter((name) => !killed.has(name));
  // The first deploy alone leaves what failed; a Schedule alone asks the environment for a test.
  expect(notKilled.toSorted()).toEqual(['leaveFailed', 'runFailoverTest']);
});

describe('a worker that is killed before, during and after each activity of a rolling operation', () => {
  test.concurrent.each(kinds)('leaves it to the next one in a $name', { timeout: 2_400_000 }, async (kind) => {
    await killInRows<Stage>(killRows(kind, rowsOf(kind)), {
      section: `kill-side-by-side.${1 + kinds.indexOf(kind)}`,
      table: {
        title: 'The worker is killed in every activity, of a rolling operation',
        about:
          'SIGKILL before, during and after each activity of a rolling deploy, its undo, a rollback and a failover ' +
          'test; another worker is started. The operation has to end as nobody had disturbed it, with every instance UP.',
        columns: ['operation', 'activity', ...moments],
      },
      part: kind.name,
      start: Stage.start,
    });
  });
});

/** Where a worker is stopped, which wakes when the deploy is done. */
const late: readonly Pick<FailPoint, 'activity' | 'moment' | 'nth'>[] = [
  { activity: 'drainInstance', moment: 'during', nth: 1 },
  { activity: 'drainInstance', moment: 'after', nth: 2 },
  { activity: 'replaceRelease', moment: 'during', nth: 1 },
  { activity: 'admitInstance', moment: 'before', nth: 1 },
  { activity: 'admitInstance', moment: 'during', nth: 2 },
  { activity: 'recordReleases', moment: 'during', nth: 1 },
];

describe('a worker of a rolling operation that was stopped and wakes after another one took over', () => {
  let project: Project;
  let releases = 100;

  beforeAll(async () => {
    project = await startLab({ env: withShortLease });
  });
  afterAll(() => project?.stop());

  test.each(late)('changes nothing: $activity, $moment, $nth', { timeout: 120_000 }, async (point) => {
    releases += 1;
    const sha = shaOf(releases);
    await releaseLab(project, sha);
    await setFailPoint(project, { ...point, how: 'stop' });
    const running = project.json<OperationResult>('deploy', sha);
    const late = await untilStopped(project);
    await takeOver(project);
    const { exitCode, document } = await running;
    expect(exitCode, document.message).toBe(0);
    const before = await lookAtProject(project);
    process.kill(late, 'SIGCONT');
    await untilGone(late);
    expect(differences(before, await lookAtProject(project))).toEqual([]);
    await until('every instance serves', async () =>
      isDeepStrictEqual((await lookAtLab(project)).instances, allServing(sha)),
    );
  });
});
