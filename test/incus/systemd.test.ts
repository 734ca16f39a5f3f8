import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Container, launchContainer, runIncus } from './rig/containers.js';

// What `bascule init --systemd` writes, by a systemd: in a container that has this clone and Node.js.

const clone = fileURLToPath(new URL('../..', import.meta.url));
/** Where a server has it; below /tmp the unit of Temporal, which has one of its own, would not find it. */
const installed = '/opt/bascule';
const bascule = `node ${installed}/dist/bascule.cjs`;
let server: Container;

beforeAll(async () => {
  server = await launchContainer('server');
  for (const [source, path] of [
    [process.execPath, process.execPath],
    [clone, installed],
  ]) {
    const device = `d${randomBytes(3).toString('hex')}`;
    const disk = ['disk', `source=${source}`, `path=${path}`, 'readonly=true'];
    await runIncus('config', 'device', 'add', server.name, device, ...disk);
  }
});
afterAll(() => server?.remove());

const inShop = (script: string) => server.run('sh', '-ec', `cd /srv/shop\n${script}`);

test('its units are installed as it says: then Temporal, the worker and a release answer, also after a reboot', async () => {
  await server.run('mkdir', '-p', '/srv/shop/artifacts');
  await inShop(`cp ${installed}/examples/minimal.yaml bascule.yaml
    tar -czf artifacts/a1a1a1a.tar.gz -C ${installed}/examples/app server.mjs
    (cd artifacts && sha256sum a1a1a1a.tar.gz >a1a1a1a.tar.gz.sha256)`);
  await server.run('useradd', '--system', 'shop');
  const printed = await inShop(`${bascule} init --systemd --user shop`);
  const commands = printed.split('\n').filter((line) => line.startsWith('  '));
  expect(commands).toHaveLength(4);
  await inShop(commands.join('\n'));
  const status = async () => await inShop(`${bascule} status`);
  const waiting = { interval: 500, timeout: 60_000 };
  await expect.poll(status, waiting).toContain('hello');
  await inShop(`${bascule} apply && ${bascule} deploy prod a1a1a1a --soak 0s`);
  const isServed = expect.stringMatching(/HAProxy runs.*a1a1a1a.*running · UP/s);
  expect(await status()).toEqual(isServed);
  await runIncus('restart', '--force', server.name);
  await expect.poll(status, waiting).toEqual(isServed);
});
