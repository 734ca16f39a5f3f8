import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { otherColor } from '../../src/domain/edge-state.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { parseRecord } from '../../src/instances/record.js';
import { type ActName, type Acts, holdActs, type Moment } from '../rig/acts.js';
import {
  connectTemporal,
  generousMs,
  mustSucceed,
  quick,
  say,
  startLightLoad,
  startServingProject,
  type Temporal,
  until,
} from '../rig/chaos.js';
import { clearFailPoint, isFailPointHit, setFailPoint } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import type { Project } from '../rig/project.js';
import { differences, lookAtProject } from '../rig/project-look.js';
import { isWhole, reportCells } from '../rig/reliability.js';
import { withStandbys } from '../rig/standbys.js';
import { isFailure } from '../rig/visitors/messages.js';
import type { Visitors } from '../rig/visitors.js';
import { readLease, untilGone } from '../rig/worker-process.js';

/** A lease that was not renewed for so long is nobody's. */
const leaseMs = 3_000;

/** What becomes of the operations whose worker stopped: the next worker goes on with them, or they are aborted before. */
type Fate = 'went on' | 'was taken back';

interface Scene {
  readonly name: string;
  readonly fates: readonly Fate[];
  readonly moments: readonly Moment[];
  /** Begins operations until the worker's acts are on their way; answers how the operations end. */
  begin(stage: Stage): Promise<readonly Promise<Ended>[]>;
  /** What an operator does, and a keeper, before the acts come. */
  settle?(stage: Stage): Promise<void>;
  readonly refusesVisitors?: boolean;
}

interface Stage {
  readonly project: Project;
  readonly acts: Acts;
  /** The next such act stops on its way. */
  hold(place: string, act: string): Promise<void>;
  /** Waits until all that is held has stopped. */
  untilHeld(): Promise<void>;
  run(...args: readonly string[]): Promise<Ended>;
  /** A release of both components. */
  release(options?: { unhealthy: boolean }): Promise<string>;
  /** The color of an environment that visitors are not given; a release stands by there. */
  idleColor(environment: 'prod' | 'staging'): Promise<string>;
}

interface Ended {
  readonly exitCode: number;
  readonly document: OperationResult;
}

const both = { fates: ['went on', 'was taken back'], moments: ['before', 'after'] } as const;
const staging = (component: string, color: string) => `demo-staging-${component}-${color}`;

/** An act of a switch of prod, while acts on the instances of a deploy to staging are held too. */
const switchAndDeploy = (edge: string, api: string, web?: string): Scene => ({
  ...both,
  name: `switch: ${edge}; deploy: ${[api, web].filter(Boolean).join(', ')}`,
  async begin(stage) {
    const idle = await stage.idleColor('staging');
    await stage.hold(staging('api', idle), api);
    if (web) await stage.hold(staging('web', idle), web);
    const color = await stage.idleColor('prod');
    const deploying = stage.run('deploy', 'staging', await stage.release());
    await stage.untilHeld();
    await stage.hold('edge', edge);
    const switching = stage.run('switch', 'prod', color);
    await stage.untilHeld();
    return [deploying, switching];
  },
});

/** An act that takes a switch back, and one that takes a deploy back. */
const takingBack = (edge: string): Scene => ({
  name: `take-back of a switch: ${edge}; of a deploy: mark-failed`,
  fates: ['went on'],
  moments: both.moments,
  async begin(stage) {
    await stage.hold(staging('api', await stage.idleColor('staging')), 'mark-failed');
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

const scenes: readonly Scene[] = [
  switchAndDeploy('claim', 'claim', 'signal-TERM'),
  switchAndDeploy('stage', 'signal-KILL', 'adopt'),
  switchAndDeploy('install', 'migrate'),
  switchAndDeploy('reload', 'start', 'mark-healthy'),
  switchAndDeploy('record', 'adopt', 'claim'),
  takingBack('claim-undo'),
  takingBack('restore'),
  takingBack('reload'),
  takingBack('unstage'),
  {
    ...both,
    name: 'cleanup: signal-KILL, delete',
    async begin(stage) {
      const idle = await stage.idleColor('staging');
      await stage.hold(staging('api', idle), 'signal-KILL');
      await stage.hold(staging('web', idle), 'delete');
      const cleaning = stage.run('cleanup', 'staging', '--standby');
      await stage.untilHeld();
      return [cleaning];
    },
  },
  {
    ...both,
    name: 'apply: stage-applied',
    async begin(stage) {
      const file = join(stage.project.directory, 'bascule.yaml');
      const yaml = await readFile(file, 'utf8');
      await writeFile(
        file,
        yaml.replace(/hosts: \[(?:h\d+\.localhost, )?localhost/, `hosts: [h${Date.now()}.localhost, localhost`),
      );
      await stage.hold('edge', 'stage-applied');
      const applying = stage.run('apply');
      await stage.untilHeld();
      return [applying];
    },
  },
  {
    name: 'switch that can not be taken back: mark-needs-operator',
    fates: ['went on'],
    moments: both.moments,
    async begin(stage) {
      const color = await stage.idleColor('prod');
      await stage.acts.fail({ place: 'edge', act: 'record' });
      await stage.acts.fail({ place: 'edge', act: 'restore' });
      await stage.hold('edge', 'mark-needs-operator');
      const switching = stage.run('switch', 'prod', color);
      await stage.untilHeld();
      return [switching];
    },
    settle: ({ project }) => mustSucceed(project, 'apply', '--repair'),
  },
  {
    name: 'keeper: restart of an instance',
    fates: ['went on'],
    moments: both.moments,
    async begin(stage) {
      const folder = join(stage.project.directory, '.bascule/instances');
      const name = `demo-web-${await stage.idleColor('prod')}`;
      const { process: ended } = parseRecord(
        { directory: folder, name },
        await readFile(join(folder, name, 'record'), 'utf8'),
      );
      if (!ended) throw new Error(`${name} does not run`);
      await stage.hold(name, 'restart');
      process.kill(ended.pid, 'SIGKILL');
      await stage.untilHeld();
      return [];
    },
    settle: ({ project }) => untilUp(project),
  },
  {
    name: 'keeper: start of HAProxy',
    fates: ['went on'],
    moments: both.moments,
    refusesVisitors: true,
    async begin(stage) {
      const workers = await readWorkers(join(stage.project.directory, '.bascule/edge/haproxy-master.sock'));
      if (!workers) throw new Error('HAProxy does not run');
      await stage.hold('edge', 'start');
      process.kill(workers.master, 'SIGKILL');
      await stage.untilHeld();
      return [];
    },
    settle: ({ project }) => untilUp(project),
  },
  {
    name: 'wait for UP on the edge: health down',
    fates: both.fates,
    moments: ['before'],
    async begin(stage) {
      const { project } = stage;
      await setFailPoint(project, { activity: 'waitUntilUpOnEdge', moment: 'during', nth: 1, how: 'stop' });
      const deploying = stage.run('deploy', 'staging', await stage.release());
      const { pid } = await readLease(project.directory);
      await until('the worker has stopped itself', async () => {
        return isFailPointHit(project) && /\) T /.test(await readFile(`/proc/${pid}/stat`, 'utf8'));
      });
      return [deploying];
    },
  },
];

/** Sampled by `make test`: an act on the edge and acts on instances. */
const sampled = ['switch: reload; deploy: start, mark-healthy'];

const cells = scenes
  .filter(({ name }) => isWhole || sampled.includes(name))
  .flatMap((scene) =>
    scene.moments.flatMap((moment) => scene.fates.map((fate) => ({ scene, moment, fate, name: scene.name }))),
  )
  .filter(({ moment, fate }) => isWhole || (moment === 'before' && fate === 'went on'));

let releases = 0;
function nextSha(): string {
  releases += 1;
  return `1a7e${releases.toString(16).padStart(6, '0')}`;
}

describe('a worker that was stopped and wakes after another one took over', () => {
  let acts: Acts;
  let project: Project;
  let temporal: Temporal;
  let visitors: Visitors;
  let operations = 0;
  let violations = 0;
  const rows: string[][] = [];
  const outages: { from: number; to: number }[] = [];

  beforeAll(async () => {
    acts = await holdActs();
    project = await startServingProject(nextSha(), configured, { PATH: acts.path, BASCULE_LEASE_MS: String(leaseMs) });
    temporal = await connectTemporal(project);
    visitors = await startLightLoad(project, 3_000);
  });

  afterAll(async () => {
    await temporal?.close();
    await project?.stop();
    await acts?.dispose();
    reportCells('late-acts', {
      title: 'A worker is stopped for longer than its timeout, and acts late',
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

  test.for(cells)('changes nothing: $name, late ($moment), where it $fate', async ({ scene, moment, fate }) => {
    let told = '**not as it should**';
    try {
      told = await actLate(scene, moment, fate);
    } catch (error) {
      violations += 1;
      throw error;
    } finally {
      rows.push([scene.name, moment, fate, told]);
      say(`${scene.name}, ${moment}, ${fate}: ${told}`);
    }
  });

  test('fails no visitor meanwhile', async () => {
    const { requests, wrongEnvironment, endedByLimit } = await visitors.stop();
    const failures = requests
      .filter(isFailure)
      .filter(({ at, ms }) => !outages.some(({ from, to }) => at + ms >= from && at <= to));
    violations += failures.length;
    expect(failures.slice(0, 5)).toEqual([]);
    expect({ wrongEnvironment, endedByLimit }).toEqual({ wrongEnvironment: 0, endedByLimit: false });
  });

  /** Answers what came of the acts. */
  async function actLate(scene: Scene, moment: Moment, fate: Fate): Promise<string> {
    await withStandbys(project, ['prod', 'staging'], nextSha);
    const held: ActName[] = [];
    const stage: Stage = {
      project,
      acts,
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
        const sha = nextSha();
        await project.releaseAll(sha, options);
        return sha;
      },
      idleColor: async (environment) =>
        otherColor((await withStandbys(project, [environment], nextSha))[environment].color),
    };
    const { pid: late } = await readLease(project.directory);
    const from = Date.now();
    try {
      const running = await scene.begin(stage);
      process.kill(late, 'SIGSTOP');
      if (fate === 'was taken back') await stopEverything();
      await takeOver(late);
      const ended = await Promise.all(running);
      // Also where the steps that were stopped had no worker.
      expect(ended.filter(({ document }) => document.code === 'timed-out')).toEqual([]);
      for (const environment of ['staging', 'prod']) await temporal.idle(environment);
      await scene.settle?.(stage);
      if (scene.refusesVisitors) outages.push({ from, to: Date.now() });

      const before = await lookAtProject(project);
      const told = [];
      for (const each of held) told.push(`${each.act}: ${nameOfCode(await acts.goOn(each), moment)}`);
      expect(differences(before, await lookAtProject(project)), 'what the late acts changed').toEqual([]);
      process.kill(late, 'SIGCONT');
      await untilGone(late, generousMs);
      expect(differences(before, await lookAtProject(project)), 'what the worker changed that woke').toEqual([]);
      await assertInvariant(project);
      const outcomes = ended.map(({ document }) => [document.outcome, document.code].filter(Boolean).join(' '));
      return [...told, ...(outcomes.length > 0 ? [`operations: ${outcomes.join(', ')}`] : [])].join('; ');
    } catch (error) {
      // Whatever is wrong by now is not the next cell's.
      await acts.letAllGo();
      if (existsSync(`/proc/${late}`)) process.kill(late, 'SIGCONT');
      throw error;
    }
  }

  /** While no worker polls, so that this is what the next one does first. */
  async function stopEverything(): Promise<void> {
    for (const environment of ['staging', 'prod']) await temporal.signal(`demo/environment/${environment}`, 'abort');
    const query = 'WorkflowType = "switchEdge" AND ExecutionStatus = "Running"';
    for await (const { workflowId } of temporal.client.workflow.list({ query })) {
      await temporal.signal(workflowId, 'withdraw');
    }
  }

  async function takeOver(from: number): Promise<void> {
    const { renewedAt } = await readLease(project.directory);
    await sleep(Math.max(Date.parse(renewedAt) + leaseMs + 100 - Date.now(), 0));
    await project.startWorker();
    await clearFailPoint(project);
    expect((await readLease(project.directory)).pid).not.toBe(from);
  }
});

/** Exit codes of templates/edge-host.sh and templates/instance-host.sh. */
function nameOfCode(code: number, moment: Moment): string {
  if (moment === 'after') return code === 0 ? 'was done' : `had failed (${code})`;
  if (code === 0) return 'found it done';
  const names: Readonly<Record<number, string>> = { 10: 'refused by the fence', 12: 'refused: the color is active' };
  return names[code] ?? `refused (${code})`;
}

async function untilUp(project: Project): Promise<void> {
  await until('what was killed is back', async () => {
    const reason = await assertInvariant(project).then(
      () => null,
      (error: Error) => error.message,
    );
    return reason === null;
  });
}

/** Quick, with a migration of api that says that it ran. */
const configured = (yaml: string): string =>
  quick(yaml).replace(
    '    run: ["node", "server.mjs"]',
    `    migrate: ["sh", "-c", "echo $BASCULE_ENVIRONMENT $BASCULE_SHA >>../../../../../migrations"]\n    run: ["node", "server.mjs"]`,
  );
