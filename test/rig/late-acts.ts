import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import type { ActName, Acts, Moment } from './acts.js';
import { connectTemporal, generousMs, mustSucceed, reportCells, say, startLightLoad, type Temporal } from './chaos.js';
import { readLease, takeOver, untilGone } from './fail-point.js';
import { assertInvariant, withStandbys } from './invariant.js';
import type { Project } from './project.js';
import { differences, type ProjectLook, timesTaken } from './project-look.js';
import { isFailure } from './visitors/messages.js';
import type { Visitors } from './visitors.js';

/** What becomes of the operations whose worker stopped: the next worker continues them, or they are aborted before. */
type Recovery = 'continued' | 'aborted';

export interface Scene {
  readonly name: string;
  readonly recoveries: readonly Recovery[];
  readonly moments: readonly Moment[];
  /** Begins operations until the worker's acts are on their way; answers how the operations end. */
  begin(stage: LateStage): Promise<readonly Promise<Ended>[]>;
  /** What else happens before the acts come. */
  settle?(stage: LateStage): Promise<void>;
  /** A worker that wakes may mark servers down again that get no requests, until they are checked. */
  readonly marksDown?: boolean;
}

export interface LateStage {
  readonly project: Project;
  readonly acts: Acts;
  /** Of an instance. */
  nameOf(environment: 'prod' | 'staging', component: 'api' | 'web', color: string): string;
  /** The next such act stops on its way. */
  hold(place: string, act: string): Promise<void>;
  /** Waits until all that is held has stopped. */
  untilHeld(): Promise<void>;
  run(...args: readonly string[]): Promise<Ended>;
  /** A release of both components. */
  release(options?: { unhealthy: boolean }): Promise<string>;
  /** The color of an environment that has its standby. */
  idleColor(environment: 'prod' | 'staging'): Promise<string>;
}

interface Ended {
  readonly exitCode: number;
  readonly document: OperationResult;
}

export const both = { recoveries: ['continued', 'aborted'], moments: ['before', 'after'] } as const;

/** An act of a switch of prod, while acts on the instances of a deploy to staging are held too. */
export const switchAndDeploy = (edge: string, api: string, web?: string): Scene => ({
  ...both,
  name: `switch: ${edge}; deploy: ${[api, web].filter(Boolean).join(', ')}`,
  async begin(stage) {
    await holdInstances(stage, api, web);
    const color = await stage.idleColor('prod');
    const deploying = stage.run('deploy', 'staging', await stage.release());
    await stage.untilHeld();
    await stage.hold('edge', edge);
    const switching = stage.run('switch', 'prod', color);
    await stage.untilHeld();
    return [deploying, switching];
  },
});

/** An act that undoes a switch, and one that undoes a deploy. */
export const undoing = (edge: string): Scene => ({
  name: `undo of a switch: ${edge}; of a deploy: mark-failed`,
  recoveries: ['continued'],
  moments: both.moments,
  async begin(stage) {
    await holdInstances(stage, 'mark-failed');
    const color = await stage.idleColor('prod');
    const deploying = stage.run('deploy', 'staging', await stage.release({ unhealthy: true }));
    await stage.untilHeld();
    await stage.acts.fail({ place: 'edge', act: 'record' });
    const switching = stage.run('switch', 'prod', color);
    await stage.acts.failed({ place: 'edge', act: 'record' });
    await stage.hold('edge', edge);
    await stage.untilHeld();
    return [deploying, switching];
  },
});

/** Acts of a cleanup. */
export const cleaningUp = (api: string, web: string): Scene => ({
  ...both,
  name: `cleanup: ${api}, ${web}`,
  async begin(stage) {
    await holdInstances(stage, api, web);
    const cleaning = stage.run('cleanup', 'staging', '--standby');
    await stage.untilHeld();
    return [cleaning];
  },
});

/** An act on an instance that is neither active any more nor another operation's when it comes. */
export const switchedAway = (act: string): Scene => ({
  name: `deploy, then a switch away from it: ${act}`,
  marksDown: true,
  recoveries: ['continued'],
  moments: ['before'],
  async begin(stage) {
    await holdInstances(stage, act);
    const deploying = stage.run('deploy', 'staging', await stage.release());
    await stage.untilHeld();
    return [deploying];
  },
  async settle({ project }) {
    const { staging } = await withStandbys(project, ['staging'], nextLateSha);
    await mustSucceed(project, 'switch', 'staging', otherColor(staging.color));
  },
});

async function holdInstances(stage: LateStage, api: string, web?: string): Promise<void> {
  const idle = await stage.idleColor('staging');
  await stage.hold(stage.nameOf('staging', 'api', idle), api);
  if (web) await stage.hold(stage.nameOf('staging', 'web', idle), web);
}

/** A project whose acts can be held, and what they may change. */
export interface LatePlace extends Pick<LateStage, 'project' | 'acts' | 'nameOf'> {
  look(): Promise<ProjectLook>;
  stop(): Promise<void>;
}

/** One scene, as one row of the table. */
export interface LateCell {
  readonly scene: Scene;
  readonly moment: Moment;
  readonly recovery: Recovery;
  readonly name: string;
}

export const cellsOf = (scenes: readonly Scene[]): readonly LateCell[] =>
  scenes.flatMap((scene) =>
    scene.moments.flatMap((moment) =>
      scene.recoveries.map((recovery) => ({ scene, moment, recovery, name: scene.name })),
    ),
  );

let releases = 0;
export function nextLateSha(): string {
  releases += 1;
  return `1a7e${releases.toString(16).padStart(6, '0')}`;
}

/** The tests of a file in which acts come late, on one project, and then that no request failed. */
export function testLateActs({
  start,
  cells,
  section,
  title,
}: {
  readonly start: () => Promise<LatePlace>;
  readonly cells: readonly LateCell[];
  readonly section: string;
  readonly title: string;
}): void {
  let place: LatePlace;
  let temporal: Temporal;
  let visitors: Visitors;
  let operations = 0;
  let violations = 0;
  const rows: string[][] = [];

  beforeAll(async () => {
    place = await start();
    temporal = await connectTemporal(place.project);
    visitors = await startLightLoad(place.project, 3_000);
  });

  afterAll(async () => {
    await temporal?.close();
    await place?.stop();
    reportCells(section, {
      title,
      about:
        'SIGSTOP while acts are on their way (before: none of it was done; after: all of it, and the worker does not ' +
        'know). Another worker takes over and ends the operations; then the acts come, then SIGCONT. Each act is ' +
        'refused by the fence, or finds it done and changes nothing: no file, no process, no server of HAProxy.',
      columns: ['acts', 'moment', 'the operations', 'what came of each late act'],
      rows,
      operations,
      faults: rows.length,
      violations,
    });
  });

  test.for(cells)('changes nothing: $name, late ($moment), where it is $recovery', async (cell) => {
    const found = await actLate(cell).catch((error: Error) => error);
    const isRight = typeof found === 'string';
    if (!isRight) violations += 1;
    rows.push([cell.scene.name, cell.moment, cell.recovery, isRight ? found : '**failed**']);
    say(rows.at(-1)?.join(', ') ?? '');
    if (!isRight) throw found;
  });

  test('fails no request meanwhile', async () => {
    const { requests, wrongEnvironment, endedByLimit } = await visitors.stop();
    const failures = requests.filter(isFailure);
    violations += failures.length;
    expect(failures.slice(0, 5)).toEqual([]);
    expect({ wrongEnvironment, endedByLimit }).toEqual({ wrongEnvironment: 0, endedByLimit: false });
  });

  /** Answers what came of the acts. */
  async function actLate({ scene, moment, recovery }: LateCell): Promise<string> {
    const { project, acts, nameOf } = place;
    await withStandbys(project, ['prod', 'staging'], nextLateSha);
    const held: ActName[] = [];
    const stage: LateStage = {
      project,
      acts,
      nameOf,
      async hold(place, act) {
        held.push({ place, act });
        await acts.hold({ place, act }, moment);
      },
      async untilHeld() {
        for (const each of held) await acts.reached(each);
      },
      run(...args) {
        operations += 1;
        return project.json<OperationResult>(...args);
      },
      async release(options) {
        const sha = nextLateSha();
        await project.releaseAll(sha, options);
        return sha;
      },
      idleColor: async (environment) =>
        otherColor((await withStandbys(project, [environment], nextLateSha))[environment].color),
    };
    const { pid: late } = await readLease(project.directory);
    try {
      const running = await scene.begin(stage);
      process.kill(late, 'SIGSTOP');
      if (recovery === 'aborted') await abortEverything();
      await takeOver(project);
      const ended = await Promise.all(running);
      // Also where the steps that were stopped had no worker.
      expect(ended.filter(({ document }) => document.code === 'timed-out')).toEqual([]);
      for (const environment of ['staging', 'prod']) await temporal.idle(environment);
      await scene.settle?.(stage);

      const before = await place.look();
      const found = [];
      for (const each of held) found.push(`${each.act}: ${nameOfCode(await acts.goOn(each), moment)}`);
      expect(differences(before, await place.look()), 'what the late acts changed').toEqual([]);
      process.kill(late, 'SIGCONT');
      await untilGone(late, generousMs);
      const changed = differences(before, await place.look());
      const counted = scene.marksDown ? changed.filter((line) => !line.startsWith(timesTaken)) : changed;
      expect(counted, 'what the worker changed that woke').toEqual([]);
      await assertInvariant(project);
      const outcomes = ended.map(({ document }) => [document.outcome, document.code].filter(Boolean).join(' '));
      return [...found, ...(outcomes.length > 0 ? [`operations: ${outcomes.join(', ')}`] : [])].join('; ');
    } catch (error) {
      // Whatever is wrong by now is not the next cell's.
      await acts.letAllGo();
      if (existsSync(`/proc/${late}`)) process.kill(late, 'SIGCONT');
      throw error;
    }
  }

  /** While no worker polls, so that the next one does this first. */
  async function abortEverything(): Promise<void> {
    for (const environment of ['staging', 'prod']) await temporal.signal(`demo/environment/${environment}`, 'abort');
    const query = 'WorkflowType = "switchEdge" AND ExecutionStatus = "Running"';
    for await (const { workflowId } of temporal.client.workflow.list({ query })) {
      await temporal.signal(workflowId, 'withdraw');
    }
  }
}

/** Exit codes of templates/edge-host.sh and templates/instance-host.sh. */
function nameOfCode(code: number, moment: Moment): string {
  if (moment === 'after') return code === 0 ? 'was done' : `had failed (${code})`;
  if (code === 0) return 'found it done';
  const names: Readonly<Record<number, string>> = {
    10: 'refused by the fence',
    12: 'refused: the color is active',
    17: 'refused: it was started since',
  };
  return names[code] ?? `refused (${code})`;
}
