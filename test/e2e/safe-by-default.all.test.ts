import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, expect, test } from 'vitest';
import { DemoProject } from '../../demo/project.js';
import { systemdUnits } from '../../src/cli/systemd-units.js';
import { readableByOthers } from '../rig/other-user.js';
import { freePort } from '../rig/ports.js';
import { temporalPath } from '../rig/temporal.js';
import { listeningPorts, takenFromWebPages } from '../rig/web-page.js';

// Each way of starting, seen as another user of the machine and as a web page in its browser. What `bascule dev` starts is
// looked at in cli-dev.test.ts and private-files.test.ts, docker-compose's lines in docker.test.ts.

const bascule = fileURLToPath(new URL('../../dist/bascule', import.meta.url));
const umask = process.umask(0o022);
const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  process.umask(umask);
});

test('make demo', async () => {
  const project = await DemoProject.create();
  endings.push(() => project.stop());
  await project.startTemporal();
  await project.startWorker();
  await project.must('apply');
  await project.release('a1a1a1a1');
  await project.must('deploy', 'prod', 'a1a1a1a1');
  expect(await takenFromWebPages(project.folder, [project.port])).toEqual(['temporal: /metrics']);
  expect(await readableByOthers(project.folder)).toEqual([]);
});

test('the units of init --systemd', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bascule-units-'));
  endings.push(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const home = join(folder, 'home');
  await mkdir(home);
  await chmod(folder, 0o755);
  const port = await freePort();
  const [temporal] = systemdUnits({
    ...{ project: 'demo', configurationFile: join(folder, 'bascule.yaml'), user: 'nobody', needsLowPorts: false },
    ...{
      node: process.execPath,
      program: bascule,
      temporal: await temporalPath(),
      retentionMs: 86_400_000,
      writes: [],
    },
  });
  const unit = temporal?.text ?? '';
  const [, line = ''] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
  const [, mask = ''] = /^UMask=(.*)$/m.exec(unit) ?? [];
  // As systemd.service(5) has it, on another port and in another folder than the one of the machine.
  const command = line.replace(' 7233 ', ` ${port} `).replaceAll('/var/lib/bascule-demo', home);
  const server = execa('sh', ['-c', `umask ${mask}; exec ${command}`], {
    cwd: home,
    env: { HOME: home },
    reject: false,
  });
  endings.push(async () => {
    server.kill('SIGTERM');
    await server;
  });
  const pid = server.pid ?? 0;
  await expect
    .poll(async () => (await listeningPorts([pid])).map((one) => one.port), { timeout: 30_000 })
    .toContain(port);
  await expect.poll(() => takenFromWebPages(home, []), { timeout: 30_000 }).toEqual(['temporal: /metrics']);
  expect((await listeningPorts([pid])).every(({ address }) => address === '127.0.0.1')).toBe(true);
  expect(await readableByOthers(home)).toEqual([home]);
});
