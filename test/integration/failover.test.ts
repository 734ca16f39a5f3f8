import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import type { Color } from '../../src/domain/edge-state.js';
import type { EnvironmentView, Status } from '../../src/domain/inspect.js';
import { ask } from '../rig/ask.js';
import { environmentOf } from '../rig/environment-view.js';
import { readLease } from '../rig/fail-point.js';
import { type Project, startProject } from '../rig/project.js';
import { type Report, startVisitors } from '../rig/visitors.js';

let project: Project;
let releases = 0;
/** The release that visitors have before the test begins. */
let active: { readonly sha: string; readonly color: Color };

beforeAll(async () => {
  project = await startProject({
    configure: (yaml) =>
      yaml
        .replaceAll('interval: 1s, fall: 3, rise: 2', 'interval: 100ms, fall: 2, rise: 1')
        .replace('  manage: true', '  httpKeepAlive: 1s\n  manage: true'),
  });
  await project.startWorker();
  await must('apply');
  await must('deploy', 'prod', await newRelease(), '--soak', '0s', '--drain', '0s');
});

afterAll(async () => {
  await project.stop();
});

beforeEach(async () => {
  active = await activeOfProd();
});

it('When the active color dies while a deploy waits for approval, visitors get 503 and never the release that nobody let in', async () => {
  const waiting = await newRelease();
  await must('deploy', 'prod', waiting, '--wait-for-approval', '--soak', '0s', '--drain', '0s', '--detach');
  await untilProd(({ waiting: what }) => what === 'approval');

  const report = await visitWhileDead(active.color, '503');
  expect(shasThatAnswered(report)).toEqual([active.sha]);
  expect(statusesOf(report)).toContain(503);

  // The worker brings it back; and the release that waited is let in by approval alone.
  expect(await whoAnswers('/')).toBe(active.sha);
  await must('approve', 'prod');
  await untilProd(({ sha }) => sha === waiting);
  expect(await whoAnswers('/')).toBe(waiting);
}, 120_000);

it('When the active color dies after a rollback, visitors get 503 and never the release that was taken back', async () => {
  const takenBack = await newRelease();
  await must('deploy', 'prod', takenBack, '--soak', '0s', '--drain', '0s');
  expect(await whoAnswers('/')).toBe(takenBack);
  await must('rollback', 'prod', '--yes');
  expect(await activeOfProd()).toEqual(active);

  const report = await visitWhileDead(active.color, '503');
  expect(shasThatAnswered(report)).toEqual([active.sha]);
  expect(statusesOf(report)).toContain(503);
  expect(await whoAnswers('/')).toBe(active.sha);
}, 120_000);

it('When the active color dies and there is a standby, the standby answers', async () => {
  const standby = active;
  const next = await newRelease();
  await must('deploy', 'prod', next, '--soak', '0s', '--drain', '0s');
  const now = await activeOfProd();
  expect(now.sha).toBe(next);

  const report = await visitWhileDead(now.color, standby.sha);
  expect(shasThatAnswered(report)).toEqual([standby.sha, next].sort());
  expect(report.timeline.filter(({ host }) => host === 'localhost').map(({ sha }) => sha)).toEqual([next, standby.sha]);
  // What was on its way to a server as it died may be lost; nothing after that is.
  expect(report.failures.filter(({ at }) => at > report.settledAt)).toEqual([]);

  // Back to the active color as soon as the worker has brought it back.
  await vi.waitFor(async () => expect(await whoAnswers('/')).toBe(next), { timeout: 20_000, interval: 50 });
}, 120_000);

/**
 * Kills a color under visitors while no worker brings it back; ends when new visitors get this answer, and so many more
 * have come. Then the worker goes on.
 *
 * @param answer see `whoAnswers`
 */
async function visitWhileDead(color: Color, answer: string): Promise<Report & { readonly settledAt: number }> {
  const { pid } = await readLease(project.directory);
  const visitors = await startVisitors({
    target: project.edge,
    maxSeconds: 60,
    streams: [
      { host: 'localhost', path: '/', kind: 'new', perSecond: 40 },
      { host: 'prod.localhost', path: '/api/v1/things', kind: 'cookie', perSecond: 40 },
      { host: 'prod.localhost', path: '/', kind: 'keep-alive', perSecond: 40 },
    ],
  });
  process.kill(pid, 'SIGSTOP');
  try {
    await killColor(color);
    await vi.waitFor(
      async () => {
        const answers = await Promise.all(['/', '/api/v1/things'].map(whoAnswers));
        expect(answers).toEqual([answer, answer]);
      },
      { timeout: 20_000, interval: 20 },
    );
    const settledAt = Date.now();
    const { sent } = visitors.progress();
    await vi.waitFor(() => expect(visitors.progress().sent).toBeGreaterThan(sent + 100), { timeout: 30_000 });
    return { ...(await visitors.stop()), settledAt };
  } finally {
    process.kill(pid, 'SIGCONT');
    await vi.waitFor(async () => expect((await ask(project.edge, 'localhost', '/')).status).toBe(200), {
      timeout: 30_000,
      interval: 50,
    });
  }
}

/** SIGKILL to every instance of a color of prod, as a crash of all of them at once. */
async function killColor(color: Color): Promise<void> {
  for (const component of ['api', 'web']) {
    const record = join(project.directory, `.bascule/instances/demo-${component}-${color}/record`);
    process.kill(Number(/^pid=(\d+)$/m.exec(await readFile(record, 'utf8'))?.[1]), 'SIGKILL');
  }
}

const shasThatAnswered = (report: Report) => [...new Set(report.answered.map(({ sha }) => sha))].sort();
const statusesOf = (report: Report) => [...new Set(report.requests.map(({ status }) => status))];

/** The release that answers a new visitor, or the status where none does. */
async function whoAnswers(path: string): Promise<string> {
  const { status, body } = await ask(project.edge, 'localhost', path);
  return status === 200 ? (JSON.parse(body) as { sha: string }).sha : String(status);
}

async function newRelease(): Promise<string> {
  releases += 1;
  const sha = `a${releases.toString().padStart(6, '0')}`;
  await project.releaseAll(sha);
  return sha;
}

async function must(...args: string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await project.bascule(...args);
  if (exitCode !== 0) throw new Error(`bascule ${args.join(' ')} ended with ${exitCode}: ${stdout}\n${stderr}`);
}

async function prod(): Promise<EnvironmentView> {
  const { document } = await project.json<Status>('status', 'prod');
  return environmentOf(document, 'prod');
}

async function activeOfProd(): Promise<{ sha: string; color: Color }> {
  const { sha, active: color } = await prod();
  return { sha: sha ?? '', color };
}

async function untilProd(isSo: (view: EnvironmentView) => boolean): Promise<void> {
  await vi.waitFor(async () => expect(isSo(await prod())).toBe(true), { timeout: 30_000, interval: 100 });
}
