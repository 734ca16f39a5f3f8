import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openToOthers } from '../rig/file-modes.js';
import { type HttpsProject, startHttpsProject } from '../rig/https-project.js';
import { asOtherUser, readableByOthers } from '../rig/other-user.js';

let site: HttpsProject;
let umask = 0;
beforeAll(async () => {
  umask = process.umask(0o022);
  site = await startHttpsProject([['one.test']]);
  await chmod(site.project.directory, 0o755);
  await site.project.startWorker();
  await run('apply');
  for (const sha of ['a1a1a1a1', 'b2b2b2b2']) {
    await site.project.releaseAll(sha);
    await run('deploy', 'prod', sha, '--soak', '0s');
  }
  await run('rollback', 'prod');
});
afterAll(async () => {
  process.umask(umask);
  await site?.stop();
});

async function run(...args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await site.project.bascule(...args);
  expect(exitCode, stderr).toBe(0);
}

test('all that a project writes is for its own user alone, with a umask of 022 too', async () => {
  expect(await openToOthers(join(site.project.directory, '.bascule'))).toEqual([]);
  expect((await stat(join(site.project.directory, '.bascule'))).mode & 0o777).toBe(0o700);
});

test('another user finds nothing to read but what is not of Bascule', async () => {
  const { directory } = site.project;
  const readable = await readableByOthers(directory);
  const own = ['', '/bascule.yaml', '/worker.log'].map((name) => `${directory}${name}`);
  expect(readable.filter((path) => !path.startsWith(`${directory}/artifacts`))).toEqual(own);
});

test('what an earlier version left open to others is closed by the next apply, and nobody who holds it keeps that', async () => {
  const folder = join(site.project.directory, '.bascule');
  const lock = join(folder, 'edge', 'haproxy.cfg.lock');
  const state = join(folder, 'edge', 'state');
  await chmod(folder, 0o755);
  await chmod(join(folder, 'edge'), 0o755);
  for (const name of await readdir(state)) if (name !== 'acme') await chmod(join(state, name), 0o644);
  await chmod(state, 0o755);
  for (const name of await readdir(join(folder, 'edge')))
    if (/^haproxy\.cfg(\.\d+|\.lock)?$/.test(name)) await chmod(join(folder, 'edge', name), 0o644);
  const [as = '', ...more] = asOtherUser;
  const holder = execa(as, [...more, 'flock', '-F', lock, 'sh', '-c', 'echo held; exec sleep 600'], {
    reject: false,
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  try {
    await run('apply');
    expect(await openToOthers(join(folder, 'edge'))).toEqual([]);
  } finally {
    holder.kill('SIGKILL');
    await holder;
  }
});
