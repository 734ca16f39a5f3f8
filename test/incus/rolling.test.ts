import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { makeRelease } from '../rig/artifacts.js';
import { mustSucceed, restartWhenKilled } from '../rig/chaos.js';
import { setFailPoint } from '../rig/fail-point.js';
import { lookAtLab, visitLab } from '../rig/lab.js';
import { runIncus, useIncusd } from './rig/containers.js';
import { type InstanceProject, startInstanceProject } from './rig/projects.js';

const [first, second, large] = ['a1a1a1a1', 'b2b2b2b2', 'd4d4d4d4'] as const;
const pool = `quota${randomBytes(2).toString('hex')}`;
let rig: InstanceProject;

beforeAll(async () => {
  rig = await startInstanceProject(
    (_, { edge, prefix }) => `version: 1
project: lab
edge:
  name: lab
  host: { driver: incus, instance: ${edge} }
  http: "*:80"
  httpKeepAlive: 1s
topology: multi-instance
components:
  backend:
    port: 8080
    instances: [${prefix}api-1, ${prefix}api-2]
    health: { path: /api/v1/health, interval: 1s, fall: 3, rise: 2 }
    balance: { cookie: SERVERID }
    default: true
    run: ["node", "server.mjs"]
artifacts:
  url: file:./artifacts/{component}/{sha}/{component}-{sha}.tar.gz
  checksum: "{url}.sha256"
instances:
  driver: incus
  image: debian
  domain: lxd
  profiles: [default, app]
`,
  );
  await runIncus('storage', 'create', pool, 'btrfs', 'size=3GiB');
  await runIncus('profile', 'device', 'add', 'app', 'root', 'disk', 'path=/', `pool=${pool}`, 'size=300MiB');
  const { directory } = rig.project;
  const files = { large: randomBytes(40_000_000).toString('hex') };
  await makeRelease({ directory, component: 'backend', sha: large, files });
  await Promise.all([first, second].map((sha) => makeRelease({ directory, component: 'backend', sha })));
  await rig.project.startWorker();
  await mustSucceed(rig.project, 'apply', '--repair');
  await mustSucceed(rig.project, 'deploy', first);
}, 300_000);
afterAll(async () => {
  await rig?.stop();
  await runIncus('storage', 'delete', pool);
}, 120_000);
useIncusd();

const serving = (sha: string) => [1, 2].map((number) => `${rig.prefix}api-${number}: running ${sha} UP L7OK`);

test('a worker killed while it replaces a release is taken up by the next one, and no request fails', async () => {
  const visitors = await visitLab(rig.project);
  await setFailPoint(rig.project, { activity: 'replaceRelease', moment: 'during', nth: 1, how: 'kill' });
  const deploying = rig.project.json<unknown>('deploy', second);
  const { isKilled, ended } = await restartWhenKilled(rig.project, 'during replaceRelease', deploying);
  expect(isKilled).toBe(true);
  expect(ended.exitCode, JSON.stringify(ended.document)).toBe(0);
  expect((await lookAtLab(rig.project)).instances).toEqual(serving(second));
  expect((await visitors.stop()).failures).toEqual([]);
}, 300_000);

test('a release that does not fit into the quota of a disk is taken back, which is said, and no request fails', async () => {
  const visitors = await visitLab(rig.project);
  const { exitCode, document } = await rig.project.json<unknown>('deploy', large);
  const result = resultSchema.parse(document);
  expect({ exitCode, code: result.code }, result.message).toEqual({ exitCode: 1, code: 'incus-full' });
  expect(result.message).toMatch(new RegExp(`${rig.prefix}api-1[^]*quota exceeded[^]*disk may have 300MiB`));
  expect((await lookAtLab(rig.project)).instances).toEqual(serving(second));
  expect((await visitors.stop()).failures).toEqual([]);
}, 300_000);
