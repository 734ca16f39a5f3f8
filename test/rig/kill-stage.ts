import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Client } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { expect } from 'vitest';
import { otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { connectTemporal, mustSucceed, restartWhenKilled, say, startLightLoad, type Temporal } from './chaos.js';
import { clearFailPoint, isFailPointHit, setFailPoint, takeOver, untilGone, untilStopped } from './fail-point.js';
import { assertInvariant } from './invariant.js';
import { activitiesOf, type Before, type Cell, type KillStage, type Kind, servedAfter } from './kill-matrix.js';
import type { Project } from './project.js';
import { differences, lookAtProject, type ProjectLook, timesTaken } from './project-look.js';
import { withoutNotifications } from './temporal.js';
import type { Visitors } from './visitors.js';

/** Where a stage is, and how all of it is removed. */
export interface StagePlace {
  readonly project: Project;
  /** What acts of a worker that comes late must not change. */
  look?(): Promise<ProjectLook>;
  stop(): Promise<void>;
}

export const placeOf = (project: Project): StagePlace => ({
  project,
  look: () => lookAtProject(project),
  stop: () => project.stop(),
});

const shaOf = (number: number): string => `c0ffee${number.toString(16).padStart(4, '0')}`;

/** Of prod, and visited by nobody but the proof of a switch. */
const unvisitedHost = 'unvisited.localhost';

/** A migration, a soak that is worth the name, and a host name of prod that nobody visits. */
export function worthKilling(yaml: string): string {
  return yaml
    .replace('localhost, prod.localhost', `localhost, prod.localhost, ${unvisitedHost}`)
    .replaceAll('soak: 300ms', 'soak: 1s')
    .replace('    run: ["node"', '    migrate: ["node", "-e", "setTimeout(() => {}, 300)"]\n    run: ["node"');
}

/** A project under load, on which one cell is run after the other. */
export class Stage implements KillStage {
  operations = 0;
  private before: Omit<Before, 'standby'> & { standby: string | null } = {
    color: 'green',
    sha: shaOf(0),
    standby: null,
  };
  /** Releases that never get healthy. */
  private readonly unhealthy = new Set<string>();

  private constructor(
    private readonly place: StagePlace,
    private readonly temporal: Temporal,
    private readonly visitors: Visitors,
  ) {}

  /** On a project whose environments serve the release that `open` is given. */
  static async start(open: (serving: string) => Promise<StagePlace>): Promise<Stage> {
    const place = await open(shaOf(0));
    return new Stage(place, await connectTemporal(place.project), await startLightLoad(place.project, 1_800));
  }

  /**
   * Kills the worker in a cell's operation, or stops it until another one has ended the operation; throws what is wrong
   * afterwards.
   */
  async run(
    { kind, row, moment }: Cell<Kind>,
    { how = 'kill', beside }: { how?: 'kill' | 'stop'; beside?: 'failing deploy' } = {},
  ): Promise<void> {
    const before = await this.withStandby();
    const next = await this.release(kind.fault);
    if (kind.isFirst) await this.temporal.client.workflow.getHandle('demo/environment/prod').terminate();
    await setFailPoint(this.project, { activity: row.activity, moment, nth: row.nth, how });
    const staging = beside ? this.failToDeploy('staging') : null;
    // What is wrong with prod is reported first.
    staging?.catch(() => {});
    const running = this.project.json<OperationResult>(...kind.args(before, next));
    const late = how === 'stop' ? await untilStopped(this.project) : null;
    if (late) await takeOver(this.project);
    else await restartWhenKilled(this.project, `${moment} ${row.activity} ${row.nth}`, running);
    await clearFailPoint(this.project);
    const { exitCode, document } = await running;
    const { outcome, code } = document;
    expect({ exitCode, outcome, code }, document.message).toEqual(
      kind.fails ? failsWith(kind.fails) : { exitCode: 0, outcome: 'succeeded', code: null },
    );
    // Where it is not hit, another operation would be.
    expect(isFailPointHit(this.project)).toBe(true);
    await staging;
    const ran = await activitiesOf(this.temporal.client, document);
    expect(ran.toSorted()).toEqual(kind.activities.filter((name) => name !== 'knownEnvironments').toSorted());
    if (late) expect(await this.changesOf(late, kind)).toEqual([]);
    const serves = servedAfter(kind, before, next);
    expect((await assertInvariant(this.project)).prod).toEqual(serves);
    if (kind.empties) expect(await this.statesOf(otherColor(serves.color))).toEqual(['empty', 'empty']);
    this.before = { ...serves, standby: kind.serves === 'next' ? before.sha : null };
  }

  /** Checks what only shows in the end: histories, and what was answered. */
  async end(): Promise<void> {
    expect(await replayProblems(this.temporal.client)).toEqual([]);
    const report = await this.visitors.stop();
    say(`${report.sent} requests, ${report.failed} failed`);
    expect(report.failures).toEqual([]);
    expect(report).toMatchObject({ failed: 0, wrongEnvironment: 0, endedByLimit: false });
    expect(report.answered.filter(({ sha }) => sha !== null && this.unhealthy.has(sha))).toEqual([]);
  }

  async stop(): Promise<void> {
    await this.temporal.close();
    await this.place.stop();
  }

  /** What a worker changes that wakes late; it may mark servers down again that get no requests, until they are checked. */
  private async changesOf(late: number, { serves }: Kind): Promise<readonly string[]> {
    const look = async () => (await this.place.look?.()) ?? {};
    const before = await look();
    process.kill(late, 'SIGCONT');
    await untilGone(late);
    return differences(before, await look()).filter((line) => serves === 'next' || !line.startsWith(timesTaken));
  }

  private get project(): Project {
    return this.place.project;
  }

  /** Every operation finds a standby, and so has the same activities each time. */
  private async withStandby(): Promise<Before> {
    const { color, sha, standby } = this.before;
    if (standby !== null) return { color, sha, standby };
    const next = await this.release();
    await mustSucceed(this.project, 'deploy', 'prod', next);
    return { color: otherColor(color), sha: next, standby: sha };
  }

  private async statesOf(color: Before['color']): Promise<readonly string[]> {
    const prod = (await this.project.look()).environments.find(({ name }) => name === 'prod');
    return prod?.colors?.[color].components.map(({ state }) => state) ?? [];
  }

  private async release(fault?: Kind['fault']): Promise<string> {
    this.operations += 1;
    const sha = shaOf(this.operations);
    if (fault === 'unhealthy') this.unhealthy.add(sha);
    const files = fault && fault !== 'unhealthy' ? await faultyService(faults[fault]) : undefined;
    await this.project.releaseAll(sha, { unhealthy: fault === 'unhealthy', ...(files && { files }) });
    return sha;
  }

  private async failToDeploy(environment: string): Promise<void> {
    const sha = await this.release('unhealthy');
    const { exitCode, document } = await this.project.json<OperationResult>('deploy', environment, sha);
    const { outcome, code } = document;
    expect({ exitCode, outcome, code }, `${environment}: ${document.message}`).toEqual(failsWith('instance-unhealthy'));
  }
}

const failsWith = (code: string) => ({ exitCode: 1, outcome: 'failed', code });

/** When a service answers 500. */
const faults = {
  // Its health fails two seconds after its first request through the edge.
  'sick when visited': `
    if (request.headers['x-forwarded-for']) visitedAt ??= Date.now();
    else return visitedAt !== null && Date.now() > visitedAt + 2_000;`,
  'wrong on one host': `return request.headers.host === '${unvisitedHost}';`,
};

/** Files of the demo service that answers 500 to the requests of which this says so. */
async function faultyService(isWrong: string): Promise<Readonly<Record<string, string>>> {
  const service = await readFile(fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url)), 'utf8');
  const server = `import { Server } from 'node:http';
const { emit } = Server.prototype;
let visitedAt = null;
function isWrong(request) {
  ${isWrong}
  return false;
}
Server.prototype.emit = function (event, request, response) {
  if (event === 'request' && isWrong(request)) return void response.writeHead(500).end();
  return emit.apply(this, arguments);
};
await import('./service.mjs');
`;
  return { 'server.mjs': server, 'service.mjs': service };
}

// Once in a process: two may replay at the same time.
Runtime.install({ logger: new DefaultLogger('ERROR') });

/** Replays every workflow's history, as a worker with an empty cache does; answers which can't be replayed, and why. */
export async function replayProblems(client: Client): Promise<readonly string[]> {
  const codePath = fileURLToPath(new URL('../../dist/workflow-bundle.js', import.meta.url));
  const histories = client.workflow.list({ query: 'WorkflowType != "inspect"' }).intoHistories({ concurrency: 5 });
  const options = { workflowBundle: { codePath }, sinks: withoutNotifications };
  const problems: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories(options, histories)) {
    if (error) problems.push(`${workflowId}: ${error.message.slice(0, 500)}`);
  }
  return problems;
}
