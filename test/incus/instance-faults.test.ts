import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { parseConfiguration } from '../../src/config/load.js';
import { edgeOf } from '../../src/haproxy/edge.js';
import { LocalHost } from '../../src/hosts/local.js';
import { runAct } from '../../src/instances/act.js';
import { dataVolumeName } from '../../src/instances/container-definition.js';
import { driverOf, readInstance } from '../../src/instances/drivers.js';
import { instanceOf } from '../../src/instances/places.js';
import type { Instance } from '../../src/instances/record.js';
import { makeRelease } from '../rig/artifacts.js';
import { until } from '../rig/chaos.js';
import { freePort } from '../rig/ports.js';
import { runIncus, useIncusd } from './rig/containers.js';
import { incus, startEmptyIncusd, stopIncusd } from './rig/incusd.js';

const sha = 'a1a1a1a1';
const owner = 'shop/prod/deploy/1';
const claim = { owner, expected: null, stopGraceMs: 2_000 };
let folder: string;
const made: string[] = [];
const profiles: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-faults-'));
});
useIncusd();
afterAll(async () => {
  const there = (JSON.parse(await runIncus('list', '--format', 'json')) as { name: string }[]).map(({ name }) => name);
  const mine = made.filter((name) => there.includes(name));
  if (mine.length > 0) await runIncus('delete', '--force', ...mine);
  for (const profile of profiles) await runIncus('profile', 'delete', profile);
  await rm(folder, { recursive: true, force: true });
});

/** An instance of a project whose edge would be this machine. */
function instance(
  of: { name?: string; image?: string; profiles?: readonly string[]; own?: readonly string[]; place?: string } = {},
): Instance {
  const { image = 'debian', profiles: named = ['default'], own = [], place = '' } = of;
  const ofComponent = own.length === 0 ? '' : `, profiles: [${own.join(', ')}]`;
  const configuration = parseConfiguration(
    `
version: 1
project: shop
edge: { http: 127.0.0.1:8088 }
environments: { prod: { prefix: shop-, hosts: [shop.test] } }
components: { api: { port: 8080, health: { path: / }, run: [./serve]${ofComponent} } }
artifacts: { url: "file:./{sha}.tar.gz" }
instances: { driver: incus, image: "${image}", domain: lxd, profiles: [${named.join(', ')}]${place} }
`,
    join(folder, 'bascule.yaml'),
  );
  const { name = `f${randomBytes(3).toString('hex')}-api-blue` } = of;
  made.push(name);
  const host = new LocalHost();
  return instanceOf(
    { configuration, host, edge: edgeOf(configuration, host) },
    'prod',
    { target: 'blue' },
    {
      ...{ name: 'api', instance: name, address: { address: `${name}.lxd`, port: 8080 } },
    },
  );
}

async function profile(...commands: readonly (readonly string[])[]): Promise<string> {
  const name = `p${randomBytes(3).toString('hex')}`;
  await runIncus('profile', 'create', name);
  profiles.push(name);
  for (const [verb = '', ...args] of commands) {
    const words = verb === 'device' ? ['device', 'add', name, ...args] : [verb, name, ...args];
    await runIncus('profile', ...words);
  }
  return name;
}

const recreate = (one: Instance) => driverOf(one).recreateInstance(one, claim);
const refusal = async (act: Promise<unknown>) =>
  await act.then(
    () => 'nothing was refused',
    (error: { code?: string; message: string; remedy?: string; isRetryable?: boolean }) => error,
  );

test('profiles of a component give its instances limits and devices, those that it has now', async () => {
  const shared = join(folder, 'shared');
  await mkdir(shared, { mode: 0o755 });
  await writeFile(join(shared, 'greeting'), 'hello', { mode: 0o644 });
  const own = await profile(
    ['set', 'limits.memory=200MiB'],
    ['device', 'data', 'disk', `source=${shared}`, 'path=/data'],
  );
  const other = await profile(['set', 'limits.processes=300']);
  const one = instance({ own: [own] });
  await recreate(one);
  expect(await runIncus('exec', one.name, '--', 'cat', '/data/greeting')).toBe('hello');
  const { name } = one;
  const get = (key: string) => runIncus('config', 'get', '--expanded', name, key);
  expect(await get('limits.memory')).toBe('200MiB');
  const madeWith = await get('volatile.uuid');

  await recreate(instance({ name, own: [other] }));
  expect([await get('limits.memory'), await get('limits.processes')]).toEqual(['', '300']);
  expect(await get('volatile.uuid')).toBe(madeWith);
  await expect(runIncus('exec', name, '--', 'cat', '/data/greeting')).rejects.toThrow('No such file');

  const unknown = await refusal(recreate(instance({ name, own: ['nowhere'] })));
  expect(unknown).toMatchObject({ code: 'incus-profile-missing', isRetryable: false });
  await driverOf(one).removeInstance(instance({ name, own: ['nowhere'] }), claim);
});

describe('what cannot be made says why, and what to do', () => {
  test('an image that there is not', async () => {
    expect(await refusal(recreate(instance({ image: 'none/such' })))).toMatchObject({
      code: 'incus-image-missing',
      isRetryable: false,
      message: expect.stringContaining('none/such'),
    });
    expect(await refusal(recreate(instance({ image: 'nobody:debian/13' })))).toMatchObject({
      code: 'incus-image-missing',
      message: expect.stringContaining('knows no server nobody'),
    });
  });

  test('a profile that there is not, or one without a network card', async () => {
    expect(await refusal(recreate(instance({ profiles: ['nowhere'] })))).toMatchObject({
      code: 'incus-profile-missing',
      isRetryable: false,
    });
    const bare = await profile(['device', 'root', 'disk', 'path=/', 'pool=default']);
    expect(await refusal(recreate(instance({ profiles: [bare] })))).toMatchObject({
      code: 'incus-network-unfit',
      isRetryable: false,
      remedy: expect.stringContaining(`incus profile device add ${bare} eth0 nic`),
    });
  });

  test('a name that somebody else has, in each act', async () => {
    const one = instance();
    await runIncus('init', 'debian', one.name);
    const before = await runIncus('config', 'show', one.name);
    const driver = driverOf(one);
    for (const act of [
      () => recreate(one),
      () => driver.removeInstance(one, claim),
      () => driver.markFailed(one, claim),
      () => driver.readInstance(one),
    ]) {
      expect(await refusal(act())).toMatchObject({ code: 'incus-instance-foreign', isRetryable: false });
    }
    expect(await runIncus('config', 'show', one.name)).toBe(before);
  });

  test('an image without systemd', async () => {
    const other = await profile(['set', 'raw.lxc=lxc.init.cmd = /usr/bin/sleep infinity']);
    const one = instance({ profiles: ['default', other] });
    expect(await refusal(recreate(one))).toMatchObject({
      code: 'incus-image-unfit',
      isRetryable: false,
      message: expect.stringContaining('has no systemd'),
      remedy: expect.stringContaining(`incus delete --force local:${one.name}`),
    });
  });

  test('a storage without room', async () => {
    const disk = join(folder, 'small');
    await execa('mkdir', [disk]);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', disk]);
    const pool = `small${randomBytes(2).toString('hex')}`;
    try {
      await runIncus('storage', 'create', pool, 'dir', `source=${disk}`);
      const small = await profile(['device', 'root', 'disk', 'path=/', `pool=${pool}`]);
      const found = await refusal(recreate(instance({ profiles: ['default', small] })));
      expect(found).toMatchObject({ code: 'incus-full', remedy: expect.stringContaining('incus storage') });
    } finally {
      for (const name of profiles.splice(0)) await runIncus('profile', 'delete', name).catch(() => profiles.push(name));
      await runIncus('storage', 'delete', pool);
      await execa('umount', ['-l', disk]);
    }
  });
});

test('one that a worker made late, for an operation that had ended, is taken by the next operation that had seen none', async () => {
  const one = instance();
  const [ended, next] = ['shop/prod/deploy/9@a', 'shop/prod/deploy/10@b'];
  const none = { expected: null, stopGraceMs: 2_000 };
  await driverOf(one).recreateInstance(one, { ...none, owner: ended });
  await driverOf(one).recreateInstance(one, { ...none, owner: next });
  expect((await readInstance(one)).owner).toBe(next);
  // Nor is it taken by what comes late, or is another environment's.
  for (const other of [ended, `${ended}/undo`, 'shop/staging/deploy/11@c']) {
    const late = driverOf(one).recreateInstance(one, { ...none, owner: other });
    await expect(late).rejects.toMatchObject({ code: 'instance-fenced' });
  }
  expect((await readInstance(one)).owner).toBe(next);
});

describe('a disk of which Incus limits the size', () => {
  const pool = `quota${randomBytes(2).toString('hex')}`;
  let small: string;
  let limited: string;
  let one: Instance;
  const large = { serve: '#!/bin/sh\nexec sleep infinity\n', large: randomBytes(40_000_000).toString('hex') };
  const resize = (size: string) => runIncus('profile', 'device', 'set', limited, 'root', `size=${size}`);

  // Of the file systems that Linux has without modules this one knows limits in any kernel.
  beforeAll(async () => {
    await runIncus('storage', 'create', pool, 'btrfs', 'size=3GiB');
    small = await profile(['device', 'root', 'disk', 'path=/', `pool=${pool}`, 'size=100MiB']);
    limited = await profile(['device', 'root', 'disk', 'path=/', `pool=${pool}`, 'size=300MiB']);
  });
  afterAll(async () => {
    await runIncus('delete', '--force', one.name);
    made.splice(made.indexOf(one.name), 1);
    for (const name of [small, limited]) {
      await runIncus('profile', 'delete', name);
      profiles.splice(profiles.indexOf(name), 1);
    }
    // What a program keeps outlives its instance.
    await runIncus('storage', 'volume', 'delete', pool, dataVolumeName({ ...one, project: 'shop' }, one.name));
    await runIncus('storage', 'delete', pool);
  });

  test('has no room for an image, which leaves nothing behind', async () => {
    const none = instance({ profiles: ['default', small] });
    expect(await refusal(recreate(none))).toMatchObject({
      code: 'incus-full',
      isRetryable: false,
      message: expect.stringMatching(new RegExp(`${none.name}[^]*quota exceeded`)),
    });
    // Incus takes back what it has begun when it has said so.
    await until(
      'nothing of it is left',
      async () => !(await runIncus('list', '--format', 'csv', '--columns', 'n')).includes(none.name),
    );
  });

  test('has no room for a release: it says so, keeps the one before, and takes it when it has', async () => {
    one = instance({ profiles: ['default', limited] });
    await recreate(one);
    const before = await makeRelease({ directory: folder, component: 'api', sha });
    await driverOf(one).prepareRelease(one, { owner, sha, sha256: before.sha256, artifact: before.archive });
    const { archive: artifact, sha256 } = await makeRelease({
      ...{ directory: folder, component: 'api', sha: 'b2b2b2b2', files: large },
    });
    const prepare = () => driverOf(one).prepareRelease(one, { owner, sha: 'b2b2b2b2', sha256, artifact });
    // It arrives and cannot be unpacked; it does not arrive.
    for (const size of ['300MiB', '250MiB']) {
      await resize(size);
      expect(await refusal(prepare())).toMatchObject({
        code: 'incus-full',
        isRetryable: false,
        message: expect.stringMatching(new RegExp(`${one.name}[^]*quota exceeded[^]*disk may have ${size}`)),
        remedy: expect.stringContaining('size of the root disk'),
      });
      expect(await readInstance(one)).toMatchObject({ owner, sha });
    }
    // There is room again for what is put on record.
    expect(await driverOf(one).markFailed(one, claim)).toBe(true);
    await resize('600MiB');
    const next = { owner: 'shop/prod/deploy/2', expected: `${owner}/undo` };
    await driverOf(one).recreateInstance(one, { ...claim, ...next });
    const release = { owner: next.owner, sha: 'b2b2b2b2', sha256, artifact };
    await driverOf(one).prepareRelease(one, release);
    expect((await readInstance(one)).sha).toBe('b2b2b2b2');
  });
});

describe('an instance that there is', () => {
  let one: Instance;
  let archive: string;
  let sha256: string;
  const release = () => ({ owner, sha, sha256 });
  const program = (run: readonly string[]) => ({ ...release(), run, env: {}, stopGraceMs: 2_000 });

  beforeAll(async () => {
    for (const [name, value] of Object.entries(inject('incusd').env)) vi.stubEnv(name, value);
    one = instance();
    // So large that its way takes a while.
    const files = {
      serve: '#!/bin/sh\necho serving\nexec sleep infinity\n',
      large: randomBytes(40_000_000).toString('hex'),
    };
    ({ archive, sha256 } = await makeRelease({ directory: folder, component: 'api', sha, files }));
    await recreate(one);
  });

  test('an artifact whose transfer is broken off is sent again', async () => {
    const broken = new AbortController();
    const seen: number[] = [];
    const breaking = driverOf(one).prepareRelease(one, {
      ...{ ...release(), artifact: archive, signal: broken.signal },
      onProgress: (bytes, size) => {
        seen.push(bytes / size);
        if (bytes > size / 3) broken.abort();
      },
    });
    await expect(breaking).rejects.toThrow();
    expect(seen.at(-1)).toBeLessThan(1);
    expect((await readInstance(one)).sha).toBeNull();
    await driverOf(one).prepareRelease(one, { ...release(), artifact: archive });
    expect((await readInstance(one)).sha).toBe(sha);
    const left = await runIncus('exec', one.name, '--', 'sh', '-c', 'ls -A /opt/shop/api /var/lib/bascule/*');
    expect(left).not.toMatch(/pushed-|unpacked-/);
  });

  test('an artifact that is another one when it is there is not unpacked', async () => {
    const other = { owner, sha: 'c3c3c3c3', sha256: 'f'.repeat(64), artifact: archive };
    expect(await refusal(driverOf(one).prepareRelease(one, other))).toMatchObject({
      code: 'instance-write-failed',
      message: expect.stringContaining('did not arrive whole'),
    });
    expect((await readInstance(one)).sha).toBe(sha);
  });

  test('an artifact that would leave its folder is refused, and does not get there', async () => {
    const artifact = join(folder, 'hostile.tar');
    await execa('sh', [
      '-c',
      'cd "$1" && echo x >x && tar -P --transform "s,^,../," -cf "$2" x',
      'tar',
      folder,
      artifact,
    ]);
    const act = driverOf(one).prepareRelease(one, { owner, sha: 'b2b2b2b2', sha256, artifact });
    await expect(act).rejects.toMatchObject({ code: 'artifact-hostile' });
    expect((await readInstance(one)).sha).toBe(sha);
  });

  test('what is missing after unpacking is noticed, whatever unpacked it', async () => {
    const inInstance = (script: string) => runIncus('exec', one.name, '--', 'sh', '-c', script);
    await inInstance(
      'cd /usr/local/bin && printf \'%s\\n\' "#!/bin/sh" "exec /usr/bin/tar --exclude=server.mjs \\"\\$@\\"" >tar && chmod +x tar',
    );
    const act = driverOf(one).prepareRelease(one, { owner, sha: 'b2b2b2b2', sha256, artifact: archive });
    await expect(act).rejects.toMatchObject({
      ...{
        code: 'artifact-damaged',
        isRetryable: false,
        message: expect.stringContaining('are there after unpacking'),
      },
    });
    await inInstance('rm /usr/local/bin/tar');
    expect((await readInstance(one)).sha).toBe(sha);
  });

  test('a migration that fails or takes too long is told with its last lines, and has ended', async () => {
    const migrate = (script: string, timeoutMs: number) =>
      refusal(driverOf(one).migrateRelease(one, { ...program(['sh', '-c', script]), timeoutMs }));
    expect(await migrate('echo broken; exit 3', 60_000)).toMatchObject({
      code: 'migration-failed',
      message: expect.stringMatching(/ended with 3[\s\S]*broken/),
    });
    expect(await migrate('echo slow; exec sleep infinity', 2_000)).toMatchObject({
      code: 'migration-timed-out',
      message: expect.stringContaining('slow'),
    });
    const shown = ['systemctl', 'show', '-P', 'MainPID', 'shop-api-migrate.service'];
    expect(await runIncus('exec', one.name, '--', ...shown)).toBe('0');
    expect(await migrate('true', 60_000)).toBe('nothing was refused');
  });

  test('a migration that is stopped as asked has ended', async () => {
    const stopping = new AbortController();
    const running = driverOf(one).migrateRelease(one, {
      ...program(['sleep', 'infinity']),
      ...{ timeoutMs: 600_000, signal: stopping.signal },
    });
    const isRunning = async () =>
      (await runIncus('exec', one.name, '--', 'systemctl', 'show', '-P', 'ActiveState', 'shop-api-migrate.service')) ===
      'activating';
    await until('it runs', isRunning);
    stopping.abort();
    await expect(running).rejects.toThrow();
    await until('it has ended', async () => !(await isRunning()));
  });

  test('a program that there is not is said by its own journal', async () => {
    expect(await refusal(driverOf(one).startInstance(one, program(['./no-such-program'])))).toMatchObject({
      code: 'instance-not-started',
      isRetryable: false,
      message: expect.stringContaining('no-such-program'),
    });
  });

  test('what comes late of its own operation, which has started the release since, is refused', async () => {
    await driverOf(one).startInstance(one, program(['sh', 'serve']));
    const late = [
      () => runAct(one, { name: 'stop', args: [owner], owner }),
      () => driverOf(one).migrateRelease(one, { ...program(['true']), timeoutMs: 60_000 }),
    ];
    for (const act of late) expect(await refusal(act())).toMatchObject({ code: 'instance-still-running' });
    expect(await readInstance(one)).toMatchObject({ wanted: 'running', isAlive: true });
  });

  test('one that was paused or stopped by hand is taken as it is', async () => {
    await runIncus('pause', one.name);
    await driverOf(one).startInstance(one, program(['sh', 'serve']));
    expect((await readInstance(one)).isAlive).toBe(true);
    await runIncus('stop', '--force', one.name);
    expect(await readInstance(one)).toMatchObject({ sha, wanted: 'running', isAlive: false });
    expect(await driverOf(one).markFailed(one, claim)).toBe(true);
    expect((await readInstance(one)).isFailed).toBe(true);
    // Its operation has ended: what comes late of it is refused.
    const late = driverOf(one).startInstance(one, program(['sh', 'serve']));
    await expect(late).rejects.toMatchObject({ code: 'instance-fenced' });
  });

  test('one whose system is late to begin is waited for, and not taken for one without systemd', async () => {
    await runIncus('stop', '--force', one.name);
    const late = join(folder, 'late-init');
    await writeFile(late, '#!/bin/sh\nsleep 3\nexec /lib/systemd/systemd\n');
    await runIncus('file', 'delete', `${one.name}/sbin/init`);
    await runIncus('file', 'push', '--mode', '755', late, `${one.name}/sbin/init`);
    await runIncus('start', one.name);
    expect((await readInstance(one)).sha).toBe(sha);
  });

  test('one whose system does not end is ended by force to be removed', async () => {
    const unit = '[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sleep infinity\nTimeoutStopSec=infinity\n';
    const script = 'printf %s "$1" >/etc/systemd/system/stuck.service && systemctl start stuck.service';
    await runIncus('exec', one.name, '--', 'sh', '-c', script, 'stuck', unit);
    const { owner: expected } = await readInstance(one);
    const removal = { ...claim, owner: 'shop/prod/cleanup/2', expected };
    await driverOf(one).removeInstance(one, removal);
    expect((await readInstance(one)).state).toBe('empty');
    expect(await runIncus('list', '--format', 'csv', '--columns', 'n')).not.toContain(one.name);
    await driverOf(one).removeInstance(one, removal);
  });
});

describe('elsewhere', () => {
  const project = `apart${randomBytes(3).toString('hex')}`;
  const [far, gallery] = [`far-${project}`, `gallery-${project}`];
  let server: Awaited<ReturnType<typeof startEmptyIncusd>> | undefined;

  beforeAll(async () => {
    const { env, bridge } = inject('incusd');
    await runIncus(
      'project',
      'create',
      project,
      '--config',
      'features.images=true',
      '--config',
      'features.profiles=true',
    );
    const ofProject = ['--project', project] as const;
    await runIncus(...ofProject, 'profile', 'device', 'add', 'default', 'root', 'disk', 'path=/', 'pool=default');
    await runIncus(
      ...ofProject,
      'profile',
      'device',
      'add',
      'default',
      'eth0',
      'nic',
      `network=${bridge.name}`,
      'name=eth0',
    );
    const url = await listen(env);
    const token = /(\S+)\s*$/.exec(await runIncus('config', 'trust', 'add', far))?.[1] ?? '';
    await runIncus('remote', 'add', far, url, '--accept-certificate', '--token', token);
    server = await startEmptyIncusd();
    const [image = ''] = (await incus(server.env, 'image', 'list', '--format', 'csv', '--columns', 'F')).split('\n');
    await incus(server.env, 'query', '--request', 'PATCH', '--data', '{"public":true}', `/1.0/images/${image}`);
    await runIncus('remote', 'add', gallery, await listen(server.env), '--accept-certificate', '--public');
  });
  afterAll(async () => {
    if (server) await stopIncusd(server.directory);
    for (const remote of [far, gallery]) await runIncus('remote', 'remove', remote);
    await runIncus('query', '--request', 'DELETE', `/1.0/projects/${project}?force=1`);
  });

  test('over TLS, in a project of Incus, from an image of another server: it is made, serves and is removed', async () => {
    const one = instance({ image: `${gallery}:debian`, place: `, remote: ${far}, project: ${project}` });
    const driver = driverOf(one);
    await recreate(one);
    expect(await runIncus('list', '--project', project, '--format', 'csv', '--columns', 'n')).toBe(one.name);
    const files = { serve: '#!/bin/sh\necho serving from afar\nexec sleep infinity\n' };
    const { archive, sha256 } = await makeRelease({ directory: folder, component: 'web', sha, files });
    await driver.prepareRelease(one, { owner, sha, sha256, artifact: archive });
    const run = ['sh', 'serve'];
    await driver.startInstance(one, { owner, sha, sha256, run, env: {}, stopGraceMs: 2_000 });
    expect(await readInstance(one)).toMatchObject({ sha, isAlive: true });
    await until('its log is there', async () =>
      (await driver.lastLogLines(one, 5)).some((line) => line.includes('serving from afar')),
    );
    await driver.removeInstance(one, { ...claim, owner: 'shop/prod/cleanup/2', expected: owner });
    expect(await runIncus('list', '--project', project, '--format', 'csv', '--columns', 'n')).toBe('');
  });
});

/** Has a daemon listen on this machine over TLS, and answers its URL. */
async function listen(env: Readonly<Record<string, string>>): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  await incus(env, 'config', 'set', 'core.https_address', address);
  return `https://${address}`;
}
