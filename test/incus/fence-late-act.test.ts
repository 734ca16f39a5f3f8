import { describe, inject } from 'vitest';
import { type ActName, type Acts, holdActs } from '../rig/acts.js';
import { chance, mustSucceed, quickToStart, say, serve } from '../rig/chaos.js';
import { leaseMs } from '../rig/fail-point.js';
import {
  both,
  cellsOf,
  cleaningUp,
  type LatePlace,
  nextLateSha,
  type Scene,
  switchAndDeploy,
  switchedAway,
  testLateActs,
  undoing,
} from '../rig/late-acts.js';
import { isWhole } from '../rig/tier.js';
import { runIncus, useIncusd } from './rig/containers.js';
import { holdRequests, requestActs } from './rig/held-requests.js';
import { lookAtInstances } from './rig/instance-look.js';
import { inIncus, startInstanceProject } from './rig/projects.js';

/** How many of the scenes are acted out; other ones each time. */
const scenesDrawn = Number(process.env.CHAOS_PLACES ?? 3);
const random = chance();

useIncusd();

const scenes: readonly Scene[] = [
  switchAndDeploy('claim', 'claim', 'stop'),
  switchAndDeploy('stage', 'adopt', 'adopt'),
  switchAndDeploy('install', 'migrate'),
  switchAndDeploy('reload', 'start', 'mark-healthy'),
  switchAndDeploy('record', 'start', 'start'),
  undoing('restore'),
  undoing('reload'),
  switchedAway('stop'),
  switchedAway('migrate'),
  cleaningUp('stop', 'retire'),
  cleaningUp('remove', 'remove'),
  {
    ...both,
    // One that is made after its deploy was taken back is empty, is stopped, and is the next deploy's.
    recoveries: ['continued'],
    name: 'deploy where nothing is: make, power on',
    async begin(stage) {
      const idle = await stage.idleColor('staging');
      await mustSucceed(stage.project, 'cleanup', 'staging', '--standby');
      await stage.hold(stage.nameOf('staging', 'api', idle), 'make');
      await stage.hold(stage.nameOf('staging', 'web', idle), 'power on');
      const deploying = stage.run('deploy', 'staging', await stage.release());
      await stage.untilHeld();
      return [deploying];
    },
  },
];

/** Acts in containers are held by a shell there, requests to Incus before its socket. */
async function start(): Promise<LatePlace> {
  const { env } = inject('incusd');
  const inContainers = await holdActs();
  const requests = await holdRequests(inContainers.folder, env.INCUS_SOCKET ?? '');
  const variables = { INCUS_SOCKET: requests.socket, BASCULE_LEASE_MS: String(leaseMs) };
  const rig = await startInstanceProject((yaml, names) => withMigration(quickToStart(inIncus(yaml, names))), variables);
  const { folder } = inContainers;
  const stop = async () => {
    await rig.stop();
    await requests.stop();
    await inContainers.dispose();
  };
  try {
    const devices = [
      ['acts', `source=${folder}`, `path=${folder}`],
      ['shell', `source=${folder}/bin/sh`, 'path=/usr/local/sbin/sh', 'readonly=true'],
    ];
    for (const [name = '', ...settings] of devices) {
      await runIncus('profile', 'device', 'add', 'app', name, 'disk', ...settings);
      await runIncus('config', 'device', 'add', rig.edge.name, name, 'disk', ...settings);
    }
    await serve(rig.project, nextLateSha(), '--repair');
  } catch (error) {
    await stop();
    throw error;
  }
  const isRequest = ({ act }: ActName) => requestActs.some((one) => one === act);
  const acts: Acts = {
    ...inContainers,
    hold: async (name, moment) =>
      isRequest(name) ? requests.hold(name, moment) : await inContainers.hold(name, moment),
    reached: (name) => (isRequest(name) ? requests : inContainers).reached(name),
    goOn: (name) => (isRequest(name) ? requests : inContainers).goOn(name),
    async letAllGo() {
      requests.letAllGo();
      await inContainers.letAllGo();
    },
  };
  return {
    project: rig.project,
    acts,
    nameOf: (environment, component, color) =>
      `${rig.prefix}${environment === 'staging' ? 'staging-' : ''}${component}-${color}`,
    look: () => lookAtInstances(rig),
    stop,
  };
}

/** It notes that it ran. */
const withMigration = (yaml: string): string =>
  yaml.replace(
    '    run: ["node"',
    '    migrate: ["sh", "-c", "echo $BASCULE_SHA >>$HOME/migrations"]\n    run: ["node"',
  );

const all = cellsOf(scenes);
const cells = isWhole ? all : random.shuffled(all).slice(0, scenesDrawn);

describe('a worker that was stopped and wakes after another one took over, where edge and instances are in Incus', () => {
  say(`CHAOS_SEED=${random.seed}`);
  testLateActs({
    start,
    cells,
    section: 'incus-late-acts',
    title: 'A worker is stopped for longer than its timeout, and acts late, where edge and instances are in Incus',
  });
});
