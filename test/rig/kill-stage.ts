import { expect } from 'vitest';
import { otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { connectTemporal, mustSucceed, restartWhenKilled, say, startLightLoad, type Temporal } from './chaos.js';
import { clearFailPoint, setFailPoint } from './fail-point.js';
import { assertInvariant } from './invariant.js';
import { activitiesOf, type Before, type Kind, makeReleaseFor, unvisitedHost } from './kill-kinds.js';
import type { Cell, KillStage } from './kill-rows.js';
import type { Project } from './project.js';
import { replayAll } from './replay-all.js';
import type { Visitors } from './visitors.js';

/** Where a stage is, and how all of it is removed. */
export interface StagePlace {
  readonly project: Project;
  stop(): Promise<void>;
}

const shaOf = (number: number): string => `c0ffee${number.toString(16).padStart(4, '0')}`;

/** A migration, a soak that is worth the name, and a host name of prod that nobody visits. */
export function worthKilling(yaml: string): string {
  return yaml
    .replace('localhost, prod.localhost', `localhost, prod.localhost, ${unvisitedHost}`)
    .replaceAll('soak: 300ms', 'soak: 1s')
    .replace('    run: ["node"', '    migrate: ["node", "-e", "setTimeout(() => {}, 300)"]\n    run: ["node"');
}

/** A project with visitors, on which one cell is run after the other. */
export class Stage implements KillStage {
  operations = 0;
  private releases = 0;
  private before: Omit<Before, 'standby'> & { standby: string | null } = {
    color: 'green',
    sha: shaOf(0),
    standby: null,
  };

  private readonly broken = new Set<string>();

  private constructor(
    private readonly place: StagePlace,
    private readonly temporal: Temporal,
    private readonly visitors: Visitors,
  ) {}

  /** On a project whose environments serve what `open` is told. */
  static async start(open: (serving: string) => Promise<StagePlace>): Promise<Stage> {
    const place = await open(shaOf(0));
    return new Stage(place, await connectTemporal(place.project), await startLightLoad(place.project, 1_800));
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
    if (kind.empties) expect(await this.statesOf(otherColor(serves.color))).toEqual(['empty', 'empty']);
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
    await this.place.stop();
  }

  private get project(): Project {
    return this.place.project;
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

  private async statesOf(color: 'blue' | 'green'): Promise<readonly string[]> {
    const prod = (await this.project.look()).environments.find(({ name }) => name === 'prod');
    return prod?.colors?.[color].components.map(({ state }) => state) ?? [];
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
