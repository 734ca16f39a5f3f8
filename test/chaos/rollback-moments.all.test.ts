import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseHistory } from '../../src/domain/history.js';
import type { OperationResult, Progress } from '../../src/domain/operation.js';
import {
  connectTemporal,
  mustSucceed,
  say,
  startLightLoad,
  startServingProject,
  type Temporal,
  until,
} from '../rig/chaos.js';
import { type FailPoint, setFailPoint, untilStopped } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import type { Visitors } from '../rig/visitors.js';
import { type OpenWebSocket, openWebSocket } from '../rig/web-socket.js';

interface Moment {
  readonly moment: string;
  /** Options of the deploy that is rolled back. */
  readonly options: readonly string[];
  /** Its release never gets healthy. */
  readonly isSlowToStart?: boolean;
  /** Another deploy waits behind it. */
  readonly hasQueue?: boolean;
  /** The other color is a standby, as after any deploy that succeeded; a row before took it away. */
  readonly hasStandby?: boolean;
  /** A visitor's WebSocket keeps an old HAProxy worker from before the release that serves. */
  readonly isHeld?: boolean;
  /** A wait that lasts until somebody ends it; else the activity in which the worker stands still for the signal. */
  readonly at: Progress['waiting'] | FailPoint['activity'];
  /** Which execution of that activity. */
  readonly nth?: number;
  readonly signals?: number;
}

/** A deploy that runs, at the moment of its row. */
interface Reached {
  readonly next: string;
  readonly historyBefore: readonly string[];
  readonly deploying: Promise<{ exitCode: number; document: OperationResult }>;
  /** The worker that stands still. */
  readonly stopped: number | null;
}

const noSoak = ['--soak', '0s'];

/** Each row: `base` serves, a deploy of `next` runs, and the signal comes. All end with `base`. */
const moments: readonly Moment[] = [
  { moment: 'a deploy waits in the queue', options: ['--wait-for-approval'], hasQueue: true, at: 'approval' },
  { moment: 'artifacts are pinned', options: noSoak, at: 'pinRelease' },
  { moment: 'the other color is stood down', options: noSoak, hasStandby: true, at: 'reloadEdge' },
  { moment: 'old connections drain', options: ['--drain', '10m'], isHeld: true, at: 'drain' },
  { moment: 'instances are recreated', options: noSoak, at: 'recreateInstance' },
  { moment: 'instances start', options: noSoak, isSlowToStart: true, at: 'startInstance' },
  { moment: 'it waits for approval', options: ['--wait-for-approval'], at: 'approval' },
  { moment: 'the edge switches', options: ['--soak', '5s'], hasStandby: true, at: 'installConfig', nth: 2 },
  { moment: 'the new release is in its soak', options: ['--soak', '10m'], hasStandby: true, at: 'soak' },
  { moment: 'the new release is in its soak, twice', options: ['--soak', '10m'], at: 'soak', signals: 2 },
];

const waits: readonly string[] = ['approval', 'drain', 'soak'];

let releases = 0;

describe('a rollback, by a signal as from the UI of Temporal,', () => {
  let project: Project;
  let temporal: Temporal;
  let visitors: Visitors;
  /** What serves when a row begins. */
  let base: string;
  let webSocket: OpenWebSocket | null = null;

  beforeAll(async () => {
    base = nextSha();
    project = await startServingProject(base);
    temporal = await connectTemporal(project);
    visitors = await startLightLoad(project);
  });

  afterEach(async () => {
    await webSocket?.close();
    webSocket = null;
  });

  afterAll(async () => {
    await temporal?.close();
    await project?.stop();
  });

  async function deployBase(): Promise<void> {
    base = nextSha();
    await project.releaseAll(base);
    await mustSucceed(project, 'deploy', 'prod', base, ...noSoak);
  }

  const signalRollback = () => temporal.signal('demo/environment/prod', 'rollback');

  async function history(): Promise<string[]> {
    const text = await readFile(join(project.directory, '.bascule/edge/state/active-color-prod.history'), 'utf8');
    return (parseHistory(text) ?? []).map(({ sha }) => sha);
  }

  /** A deploy of a new release that is at the moment of the row, which lasts until the worker goes on. */
  async function reach({ at, nth = 1, isSlowToStart = false, options }: Moment): Promise<Reached> {
    const [historyBefore, next] = [await history(), nextSha()];
    await project.releaseAll(next, { unhealthy: isSlowToStart });
    const isWait = waits.includes(at ?? '');
    if (!isWait) await setFailPoint(project, { activity: at ?? '', moment: 'during', nth, how: 'stop' });
    const deploying = project.json<OperationResult>('deploy', 'prod', next, ...options);
    if (!isWait) return { historyBefore, next, deploying, stopped: await untilStopped(project) };
    await until(`a deploy waits for ${at}`, async () => (await temporal.progress('prod'))?.waiting === at);
    return { historyBefore, next, deploying, stopped: null };
  }

  test.for(moments)('while $moment leaves users with the release before', async (row) => {
    if (row.hasStandby) await deployBase();
    if (row.isHeld) {
      webSocket = await openWebSocket({ target: project.edge, host: 'localhost', path: '/' });
      await deployBase();
    }
    const { historyBefore, next, deploying, stopped: worker } = await reach(row);
    const waiting = row.hasQueue ? [project.json<OperationResult>('deploy', 'prod', base, '--again')] : [];
    if (row.hasQueue) await until('it waits', async () => (await temporal.status('prod')).queue.length === 1);
    for (let count = 0; count < (row.signals ?? 1); count += 1) await signalRollback();
    const signalledAt = Date.now();
    if (worker) process.kill(worker, 'SIGCONT');

    const { exitCode, document: stopped } = await deploying;
    const { last } = await temporal.idle('prod');
    say(`${row.moment}: ${stopped.code} and ${last?.outcome} after ${Date.now() - signalledAt} ms`);
    expect(stopped).toMatchObject({ outcome: 'failed', code: 'rolled-back', sha: next });
    expect(exitCode).toBe(1);
    for (const superseded of await Promise.all(waiting)) {
      expect(superseded).toMatchObject({ exitCode: 1, document: { outcome: 'failed', code: 'superseded' } });
    }
    expect(last).toMatchObject({ kind: 'rollback', outcome: 'succeeded', changed: false, to: { sha: base } });
    // Five lines are kept: where the release came in force, its line pushed the oldest one out.
    expect((await history()).slice(0, 4)).toEqual(historyBefore.slice(0, 4));
    expect((await assertInvariant(project)).prod.sha).toBe(base);
  });

  test('while nothing runs gives users the release before, once, however often it is signalled', async () => {
    await deployBase();
    const before = await history();
    await signalRollback();
    await signalRollback();
    const { last } = await until('the rollback has ended', async () => {
      const status = await temporal.idle('prod');
      return status.last?.kind === 'rollback' && status.last.from.sha === base ? status : null;
    });
    expect(last).toMatchObject({ outcome: 'succeeded', changed: true, to: { sha: before[1] } });

    // Within a minute of its end it is the same rollback still.
    await signalRollback();
    const { last: afterwards } = await temporal.idle('prod');
    expect(afterwards?.operation).toBe(last?.operation);
    expect(await history()).toEqual(before.slice(1));
    expect((await assertInvariant(project)).prod.sha).toBe(before[1]);
  });

  test('after a deploy that failed is dropped: to leave the release that serves, it has to be named', async () => {
    await deployBase();
    const next = nextSha();
    await project.releaseAll(next, { unhealthy: true });
    expect((await project.bascule('deploy', 'prod', next)).exitCode).toBe(1);
    const failed = (await temporal.idle('prod')).last;
    await signalRollback();
    const status = await until('the signal is heard', async () => {
      const description = await temporal.client.workflow.getHandle('demo/environment/prod').describe();
      return description.memo?.state === 'signal: rollback' ? temporal.idle('prod') : null;
    });
    expect(status.last?.operation).toBe(failed?.operation);
    expect((await assertInvariant(project)).prod.sha).toBe(base);
  });

  test('fails no request', async () => {
    const report = await visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
  });
});

function nextSha(): string {
  releases += 1;
  return `feed${releases.toString(16).padStart(6, '0')}`;
}
