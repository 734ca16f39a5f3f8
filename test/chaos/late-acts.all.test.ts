import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'vitest';
import { readWorkers } from '../../src/haproxy/old-workers.js';
import { parseRecord } from '../../src/instances/record.js';
import { holdActs } from '../rig/acts.js';
import { mustSucceed, quick, startServingProject, until } from '../rig/chaos.js';
import { setFailPoint, untilStopped } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import {
  both,
  cellsOf,
  cleaningUp,
  type LatePlace,
  leaseMs,
  nextLateSha,
  type Scene,
  switchAndDeploy,
  switchedAway,
  testLateActs,
  undoing,
} from '../rig/late-acts.js';
import type { Project } from '../rig/project.js';
import { lookAtProject } from '../rig/project-look.js';

const scenes: readonly Scene[] = [
  switchAndDeploy('claim', 'claim', 'signal-TERM'),
  switchAndDeploy('stage', 'signal-KILL', 'adopt'),
  switchAndDeploy('install', 'migrate'),
  switchAndDeploy('reload', 'start', 'mark-healthy'),
  switchAndDeploy('record', 'adopt', 'claim'),
  undoing('claim-undo'),
  undoing('restore'),
  undoing('reload'),
  undoing('unstage'),
  switchedAway('signal-TERM'),
  switchedAway('migrate'),
  cleaningUp('signal-KILL', 'delete'),
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
    name: 'switch that can not be undone: mark-needs-operator',
    recoveries: ['continued'],
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
    name: 'supervisor: restart of an instance',
    recoveries: ['continued'],
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
    name: 'supervisor: start of HAProxy',
    recoveries: ['continued'],
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
    recoveries: both.recoveries,
    moments: ['before'],
    async begin(stage) {
      const { project } = stage;
      await setFailPoint(project, { activity: 'waitUntilUpOnEdge', moment: 'during', nth: 1, how: 'stop' });
      const deploying = stage.run('deploy', 'staging', await stage.release());
      await untilStopped(project);
      return [deploying];
    },
  },
];

async function start(): Promise<LatePlace> {
  const acts = await holdActs();
  const env = { PATH: acts.path, BASCULE_LEASE_MS: String(leaseMs) };
  const project = await startServingProject(nextLateSha(), configured, env);
  return {
    project,
    acts,
    nameOf: (environment, component, color) =>
      `demo-${environment === 'staging' ? 'staging-' : ''}${component}-${color}`,
    look: () => lookAtProject(project),
    async stop() {
      await project.stop();
      await acts.dispose();
    },
  };
}

describe('a worker that was stopped and wakes after another one took over', () => {
  testLateActs({
    start,
    cells: cellsOf(scenes),
    section: 'late-acts',
    title: 'A worker is stopped for longer than its timeout, and acts late',
  });
});

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
