import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import type { Color } from '../../src/domain/edge-state.js';
import { driverOf, readInstance } from '../../src/instances/drivers.js';
import { instanceOf } from '../../src/instances/places.js';
import type { Instance } from '../../src/instances/record.js';
import { examineInvariant } from '../../src/invariant.js';
import { readVersion } from '../../src/version.js';
import { mustSucceed, say, until } from '../rig/chaos.js';
import { openProject } from '../rig/open-project.js';
import { runIncus, useIncusd } from './rig/containers.js';
import { type InstanceProject, inIncus, startInstanceProject } from './rig/projects.js';
import { shas, testInterruptions, testReleases, visitOf } from './rig/scenes.js';

const [, second, third] = shas;
const crashing = 'dead0001';
const secret = 'not "in" any $history';
let rig: InstanceProject;

beforeAll(async () => {
  const withMore = (yaml: string) =>
    yaml.replace(
      '    balance: { cookie: SERVERID }\n',
      `    balance: { cookie: SERVERID }
    user: demo-backend
    migrate: ["sh", "-c", "echo migrating as $(id -un) in $(pwd -P); echo $BASCULE_SHA >>$BASCULE_DATA/migrated"]
    env: { TOKEN: { env: TEST_TOKEN } }
`,
    );
  rig = await startInstanceProject((yaml, names) => inIncus(withMore(yaml), names), { TEST_TOKEN: secret });
  await Promise.all(shas.map((sha) => rig.project.releaseAll(sha)));
  await rig.project.releaseAll(crashing, { crash: true });
  await rig.project.startWorker();
  await mustSucceed(rig.project, 'apply', '--repair');
}, 300_000);
afterAll(() => rig?.stop(), 120_000);
useIncusd();

const visit = visitOf(() => rig.project);

async function asked(...args: readonly string[]) {
  const { exitCode, document } = await rig.project.json<unknown>(...args);
  return { exitCode, ...resultSchema.parse(document) };
}

/** An instance of prod, as an activity has it. */
async function instance(component: 'api' | 'web', color: Color): Promise<Instance> {
  const name = nameOf(component, color);
  const address = { address: `${name}.lxd`, port: component === 'api' ? 8081 : 8082 };
  return instanceOf(
    await openProject(rig.project),
    'prod',
    { target: color },
    { name: component, instance: name, address },
  );
}

const nameOf = (component: 'api' | 'web', color: Color): string => `${rig.prefix}${component}-${color}`;

async function active(): Promise<{ readonly color: Color; readonly other: Color; readonly sha: string | null }> {
  const prod = (await rig.project.look()).environments.find(({ name }) => name === 'prod');
  const color = prod?.active ?? 'blue';
  return { color, other: color === 'blue' ? 'green' : 'blue', sha: prod?.sha ?? null };
}

async function assertAgreement(): Promise<void> {
  const reports = await examineInvariant(await openProject(rig.project), { version: readVersion(), leftAfterMs: 0 });
  expect(reports.flatMap(({ findings }) => findings.map(({ message }) => message))).toEqual([]);
}

async function addressOf(name: string): Promise<string> {
  return (await runIncus('config', 'device', 'get', name, 'eth0', 'ipv4.address')).trim();
}

const hardwareAddressOf = (name: string): Promise<string> => rig.run(name, 'cat', '/sys/class/net/eth0/address');

const names = async (): Promise<readonly string[]> =>
  (JSON.parse(await runIncus('list', '--format', 'json')) as { name: string }[]).map(({ name }) => name);

/** Another release than the one that visitors have. */
const other = async () => ((await active()).sha === third ? second : third);

testReleases(() => rig.project);

test('an instance is marked, starts with Incus, and has an address of its own for good', async () => {
  const { color } = await active();
  const name = nameOf('api', color);
  const config = JSON.parse(await runIncus('query', `/1.0/instances/${name}`)).config as Record<string, string>;
  expect(config).toMatchObject({
    'boot.autostart': 'true',
    'user.bascule.project': 'demo',
    'user.bascule.environment': 'prod',
    'user.bascule.component': 'api',
    'user.bascule.color': color,
  });
  const all = (await names()).filter((each) => each.startsWith(rig.prefix));
  const addresses = await Promise.all(all.map(addressOf));
  expect(new Set(addresses).size).toBe(all.length);
  expect(await rig.run(name, 'ip', '-4', '-o', 'address', 'show', 'eth0')).toContain(` ${await addressOf(name)}/`);
});

test('the program has its release, its variables and its own user, and can write nothing else', async () => {
  const name = nameOf('api', (await active()).color);
  const seen = await rig.run(
    name,
    'stat',
    '-c',
    '%A %U:%G',
    '/etc/demo/api.env',
    `/opt/demo/api/${third}`,
    '/var/log/demo',
  );
  expect(seen.split('\n')).toEqual([
    '-rw-r----- root:demo-backend',
    'drwxr-x--- root:demo-backend',
    'drwxr-x--- demo-backend:demo-backend',
  ]);
  expect(await rig.run(name, 'readlink', '/opt/demo/api/current')).toBe(`/opt/demo/api/${third}`);
  expect(await rig.run(name, 'systemctl', 'show', '-P', 'User', 'demo-api.service')).toBe('demo-backend');
});

test('what a program keeps is there in both colors, for its own user alone', async () => {
  const { color, other } = await active();
  const [kept, keptToo] = await Promise.all(
    [color, other].map((one) => rig.run(nameOf('api', one), 'cat', '/var/lib/demo/api/data/migrated')),
  );
  expect(kept?.split('\n')).toEqual(shas);
  expect(keptToo).toBe(kept);
  for (const one of [color, other]) {
    const folder = await rig.run(nameOf('api', one), 'stat', '-c', '%A %U:%G', '/var/lib/demo/api/data');
    expect(folder).toBe('drwx------ demo-backend:demo-backend');
  }
});

test('its service is hardened: systemd gives it less than 3.0', async () => {
  const name = nameOf('api', (await active()).color);
  const seen = await rig.run(name, 'systemd-analyze', 'security', '--no-pager', 'demo-api.service');
  const [, score = ''] = /exposure level for demo-api\.service: ([0-9.]+)/.exec(seen) ?? [];
  say(`systemd-analyze security demo-api.service: ${score}`);
  expect(Number(score)).toBeGreaterThan(0);
  expect(Number(score)).toBeLessThan(3);
});

test('logs shows what program and migration wrote, and exec runs what is asked for beside them', async () => {
  const { stdout: log } = await rig.project.bascule('logs', 'prod', 'api');
  expect(log).toContain('listening on 0.0.0.0:8081');
  expect(log).toContain(`migrating as demo-backend in /opt/demo/api/${third}`);
  const { stdout: last } = await rig.project.bascule('logs', 'prod', 'api', '--tail', '1');
  expect(last).toMatch(/^listening on 0\.0\.0\.0:8081[^\n]*$/);
  const { stdout: recent } = await rig.project.bascule('logs', 'prod', 'api', '--since', '1h', '--tail', '1');
  expect(recent).toBe(last);
  const script = 'echo "$(id -un) $PWD $BASCULE_SHA $TOKEN"; echo said >&2; exit 7';
  const result = await rig.project.bascule('exec', 'prod', 'api', '--', 'sh', '-c', script);
  expect(result).toMatchObject({ exitCode: 7, stderr: 'said' });
  expect(result.stdout).toBe(`demo-backend /opt/demo/api/${third} ${third} ${secret}`);
});

test('an instance that ends, or is ended, serves again without a worker', async () => {
  const { color } = await active();
  const name = nameOf('web', color);
  await rig.project.stopWorker();
  await runIncus('restart', '--force', name);
  await until('it serves again', async () => (await visit().catch(() => '')).includes(`"color":"${color}"`));
  await rig.run(name, 'systemctl', 'kill', '--signal=KILL', 'demo-web.service');
  await until('it runs again', async () => (await readInstance(await instance('web', color))).isAlive);
  await rig.project.startWorker();
  await until('all agree', async () =>
    assertAgreement().then(
      () => true,
      () => false,
    ),
  );
});

test('a release that ends as it starts fails with its last words, and stays for a look', async () => {
  const before = await active();
  const result = await asked('deploy', 'prod', crashing);
  expect(result).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'instance-exited' });
  expect(result.message).toContain('this release crashes as it starts');
  expect(await active()).toEqual(before);
  expect(await visit()).toContain(third);
  const { stdout: log } = await rig.project.bascule('logs', 'prod', 'web', '--color', before.other);
  expect(log).toContain('this release crashes as it starts');
  expect(await readInstance(await instance('web', before.other))).toMatchObject({ state: 'failed' });
});

test('what an act left half-written in an instance is found by doctor', async () => {
  const name = nameOf('api', (await active()).color);
  const left = [`/var/lib/bascule/${name}/pushed-0`, '/opt/demo/api/.unpacked-0', '/etc/demo/api.env.tmp'];
  await rig.run(name, 'touch', ...left);
  const reports = await examineInvariant(await openProject(rig.project), { version: readVersion(), leftAfterMs: 0 });
  const found = reports.flatMap(({ findings }) => findings.map(({ code, remedy }) => `${code}: ${remedy}`));
  expect(found).toHaveLength(left.length);
  for (const path of left) {
    expect(found).toContainEqual(expect.stringMatching(`^left-over: .*incus exec ${name} -- rm -r ${path}`));
  }
  await rig.run(name, 'rm', ...left);
  await assertAgreement();
});

test('doctor says for how many instances the kernel has room', async () => {
  const { stdout } = await rig.project.bascule('doctor');
  expect(stdout).toMatch(/kernel +has room for \d+ instances/);
});

test('cleanup removes instances, and their addresses stay theirs', async () => {
  const { other: unused } = await active();
  const mine = [nameOf('api', unused), nameOf('web', unused)];
  const before = await Promise.all(mine.map(addressOf));
  // By which the edge, which asked for it a moment ago, goes on sending to it.
  const hardware = await Promise.all(mine.map(hardwareAddressOf));
  await mustSucceed(rig.project, 'cleanup', 'prod');
  expect((await names()).filter((name) => mine.includes(name))).toEqual([]);
  await assertAgreement();
  await mustSucceed(rig.project, 'deploy', 'prod', second);
  expect(await Promise.all(mine.map(addressOf))).toEqual(before);
  expect(await Promise.all(mine.map(hardwareAddressOf))).toEqual(hardware);
  expect(await visit()).toContain(second);
}, 300_000);

test('a request to Incus that arrives late, and asks no record, removes and makes nothing', async () => {
  const name = nameOf('web', (await active()).color);
  const before = await runIncus('config', 'show', name);
  const remove = runIncus('query', '--wait', '--request', 'DELETE', `/1.0/instances/${name}`);
  await expect(remove).rejects.toThrow('running');
  await expect(runIncus('init', 'debian', name)).rejects.toThrow(/already exists|UNIQUE/);
  await expect(runIncus('start', name)).rejects.toThrow('already running');
  expect(await runIncus('config', 'show', name)).toBe(before);
});

describe('whose it is not', () => {
  test("an instance of somebody else's is never touched, and the deploy says so before it touches anything", async () => {
    const { other: unused, sha } = await active();
    await mustSucceed(rig.project, 'cleanup', 'prod', '--standby');
    const name = nameOf('web', unused);
    await runIncus('init', 'debian', name);
    const result = await asked('deploy', 'prod', await other());
    expect(result).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'incus-instance-foreign' });
    expect(result.message).toContain(name);
    expect(result.remedy).toContain(`incus delete --force local:${name}`);
    expect((await names()).includes(nameOf('api', unused))).toBe(false);
    expect(await runIncus('config', 'show', name)).not.toContain('bascule');
    expect((await active()).sha).toBe(sha);
    await runIncus('delete', '--force', name);
    await mustSucceed(rig.project, 'deploy', 'prod', await other());
  }, 300_000);

  test('acts for an operation that has ended are refused, and so is every act on the active color', async () => {
    const { color, other: unused } = await active();
    const late = { owner: 'demo/prod/deploy/1@late', expected: null, stopGraceMs: 1_000 };
    const standby = await instance('web', unused);
    await expect(driverOf(standby).recreateInstance(standby, late)).rejects.toMatchObject({ code: 'instance-fenced' });
    const serving = await instance('web', color);
    const { owner } = await readInstance(serving);
    for (const ending of [late, { ...late, expected: owner }]) {
      const act = driverOf(serving).recreateInstance(serving, ending);
      await expect(act).rejects.toMatchObject({ code: expect.stringMatching(/^instance-(?:fenced|active)$/) });
      await expect(driverOf(serving).removeInstance(serving, ending)).rejects.toMatchObject({
        code: expect.stringMatching(/^instance-(?:fenced|active)$/),
      });
    }
    await assertAgreement();
  });
});

testInterruptions(
  () => rig.project,
  [
    { activity: 'recreateInstance', moment: 'during' },
    { activity: 'recreateInstance', moment: 'after' },
    { activity: 'migrate', moment: 'during' },
    { activity: 'startInstance', moment: 'during' },
  ],
);
