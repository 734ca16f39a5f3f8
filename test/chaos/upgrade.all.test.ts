import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Status } from '../../src/domain/inspect.js';
import type { OperationResult } from '../../src/domain/operation.js';
import { mustSucceed, reportCells, startServingProject, until } from '../rig/chaos.js';
import { isFailPointHit, setFailPoint } from '../rig/fail-point.js';
import { assertInvariant } from '../rig/invariant.js';
import { installVersion } from '../rig/other-version.js';
import type { Project } from '../rig/project.js';

// A worker of the version before dies in the middle of a deploy, and one of this version goes on with it. The version
// before writes haproxy.cfg otherwise, as most versions do.

const earlier = '0.0.9';
const earlierLine = '# Written by an earlier Bascule';
const activities = [
  'pinRelease',
  'fetchArtifact',
  'recreateInstance',
  'drainColor',
  'startInstance',
  'waitUntilUpOnEdge',
  'watchSoak',
  'readEdge',
  'renderConfig',
  'installConfig',
  'reloadEdge',
  'verifyTraffic',
  'recordColor',
  // Last: the standby that it costs where it fails would leave the next deploy without one to disable.
  'stageConfig',
] as const;
/** Run before, too, when the standby is disabled. */
const ofEdge: ReadonlySet<string> = new Set(activities.slice(activities.indexOf('readEdge')));
const shaOf = (number: number): string => `c0ffee${number.toString(16).padStart(4, '0')}`;

let project: Project;
let earlierMain: string;
let serves = shaOf(0);
const rows: string[][] = [];

beforeAll(async () => {
  project = await startServingProject(serves);
  earlierMain = await installVersion(join(project.directory, 'earlier'), earlier, (text) =>
    text.replace('# Written by Bascule', earlierLine),
  );
});
afterAll(async () => {
  await project?.stop();
  reportCells('upgrade', {
    title: 'A worker of the version before is killed in a deploy, this version goes on',
    about: 'Killed during the activity that is named, in the switch where it is an edge change’s.',
    columns: ['activity', 'outcome', 'what is served then'],
    rows,
    operations: activities.length,
    faults: activities.length,
    violations: activities.length - rows.length,
  });
});

const installedText = () => readFile(join(project.directory, '.bascule/edge/haproxy.cfg'), 'utf8');

test.each(activities.map((activity, index) => ({ activity, sha: shaOf(index + 1) })))(
  'a deploy whose worker dies in $activity is finished by the next version',
  async ({ activity, sha }) => {
    await project.releaseAll(sha);
    await project.stopWorker();
    await project.startWorker(earlierMain);
    await mustSucceed(project, 'apply');
    expect(await installedText()).toContain(earlierLine);

    await setFailPoint(project, { activity, moment: 'during', nth: ofEdge.has(activity) ? 2 : 1, how: 'kill' });
    const deploy = project.json<OperationResult>('deploy', 'prod', sha);
    await until('the worker is killed', async () => isFailPointHit(project));
    await project.startWorker();
    const { document } = await deploy;

    // Planned by one version and staged by the other: what was planned is not what would be installed.
    const mayFail = activity === 'stageConfig' && document.code === 'plan-changed';
    expect(document.outcome, document.message).toBe(mayFail ? 'failed' : 'succeeded');
    if (!mayFail) serves = sha;
    const status = (await project.json<Status>('status')).document;
    expect(status.edge.drift).toEqual([]);
    await mustSucceed(project, 'apply');
    expect(await installedText()).not.toContain(earlierLine);
    expect((await assertInvariant(project)).prod.sha).toBe(serves);
    rows.push([activity, document.outcome, serves === sha ? 'the new release' : 'the old release']);
  },
);
