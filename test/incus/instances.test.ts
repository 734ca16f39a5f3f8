import { afterAll, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import { ask } from '../rig/ask.js';
import { mustSucceed, startLightLoad } from '../rig/chaos.js';
import { type InstanceProject, startInstanceProject } from './rig/instance-project.js';

const [first, second, third] = ['a1a1a1a1', 'b2b2b2b2', 'c3c3c3c3'] as const;
let rig: InstanceProject;

beforeAll(async () => {
  rig = await startInstanceProject((yaml) => yaml);
  await Promise.all([first, second, third].map((sha) => rig.project.releaseAll(sha)));
  await rig.project.startWorker();
});
afterAll(() => rig?.stop());
beforeEach(() => {
  for (const [name, value] of Object.entries(inject('incusd').env)) vi.stubEnv(name, value);
  return () => vi.unstubAllEnvs();
});

const visit = async (host = 'localhost', path = '/') => (await ask(rig.project.edge, host, path)).body;

async function asked(...args: readonly string[]) {
  const { exitCode, document } = await rig.project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

test('releases are deployed, switched to and rolled back to, and no visitor is failed', async () => {
  await mustSucceed(rig.project, 'apply', '--repair');
  await mustSucceed(rig.project, 'deploy', 'prod', first);
  const r = await rig.project.json<unknown>('deploy', 'prod', first);
  console.log(JSON.stringify(r.document, null, 1), r.stderr);
  if (r.exitCode !== 0) console.log((await rig.project.workerLog()).slice(-6000));
  console.log(await rig.incus('list'));
  for (const name of ['api', 'web']) {
    const i = `${rig.prefix}${name}-green`;
    for (const c of ['cat /var/lib/bascule/*/record; ls -la /opt/demo/*/ /etc/demo /var/log/demo /var/lib/demo; cat /etc/demo/*.env; cat /etc/systemd/system/demo*; journalctl -n 60 --no-pager; systemctl status demo*; systemd-analyze security demo-*.service']) {
      console.log(await rig.run(i, 'sh', '-c', c).catch((e) => String(e)));
    }
  }
  expect(await visit()).toContain(first);
}, 400000);
