import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask } from '../rig/ask.js';
import { until } from '../rig/chaos.js';
import { setFailPoint } from '../rig/fail-point.js';
import { freePort } from '../rig/ports.js';
import type { Project } from '../rig/project.js';
import { type BareProject, type Place, startBareProject, withEdgeInInstance } from './rig/projects.js';

const random = randomBytes(3).toString('hex');
const edge = 'demo-haproxy';
let rig: BareProject;
let project: Project;

beforeAll(async () => {
  const port = await freePort();
  const section = ({ image, network, subnet }: Place) =>
    `provision: { image: ${image}, network: ${network}, subnet: ${subnet}, listen: 127.0.0.1 }\n`;
  rig = await startBareProject((yaml, place) => `${withEdgeInInstance(yaml, edge, port)}${section(place)}`, {
    edge: { address: '127.0.0.1', port },
  });
  project = rig.project;
  await project.startWorker();
});
afterAll(() => rig?.stop());

async function configure(change: (yaml: string) => string): Promise<void> {
  const file = join(project.directory, 'bascule.yaml');
  await writeFile(file, change(await readFile(file, 'utf8')));
}

const run = (...argv: readonly string[]) => rig.incus('exec', edge, '--', ...argv);
const visit = async () => (await ask(project.edge, 'localhost', '/')).status;
const toDo = ({ plan }: Awaited<ReturnType<BareProject['provision']>>) =>
  plan.filter(({ state }) => state !== 'right').map(({ id }) => id);

const all = ['storage', 'network', 'profile', 'instance', 'packages', 'folders', 'service', 'configuration', 'ports'];

/** In each step from the launch on, while it acts or once it has. */
const killedIn = {
  launchEdge: 'during',
  installPackages: 'after',
  makeFolders: 'after',
  startHaproxy: 'during',
  seeConfiguration: 'after',
  leadPorts: 'after',
} as const;

test('a dry run on a daemon as its package leaves it lists every step, and does none', async () => {
  const result = await rig.provision('--dry-run');
  expect(result).toMatchObject({ exitCode: 0, outcome: 'succeeded', changed: true, dryRun: true });
  expect(toDo(result)).toEqual(all);
  const { stdout } = await project.bascule('provision', '--dry-run');
  expect(stdout).toMatch(/^\+ +instance demo-haproxy +launch it from debian with profile bascule$/m);
  expect(await rig.incus('list', '--format', 'csv')).toBe('');
  expect(await rig.incus('storage', 'list', '--format', 'csv')).toBe('');
});

test('an image that is not there is named with what is there by now', async () => {
  await configure((yaml) => yaml.replace(`image: ${rig.image}`, 'image: no-such-image'));
  const result = await rig.provision();
  expect(result).toMatchObject({ exitCode: 1, outcome: 'failed', code: 'incus-image-missing', changed: true });
  expect(result.message).toContain(`instance ${edge}: `);
  expect(result.message).toContain(`there by now: storage pool default, network ${rig.network}, profile bascule`);
  expect(result.remedy).toContain('`bascule provision` goes on from there');
  await configure((yaml) => yaml.replace('image: no-such-image', `image: ${rig.image}`));
});

test('it goes on from there, also where the worker is killed in each step, to an edge that answers at the port of the machine', async () => {
  const before = await rig.provision('--dry-run');
  expect(toDo(before)).toEqual(all.slice(all.indexOf('instance')));
  const begun: ReturnType<BareProject['provision']>[] = [];
  for (const [activity, moment] of Object.entries(killedIn)) {
    await setFailPoint(project, { activity, moment, nth: 1, how: 'kill' });
    if (begun.length === 0) begun.push(rig.provision());
    else project.spawnWorker();
    await until(`the worker is killed ${moment} ${activity}`, async () => !project.workerRuns());
  }
  project.spawnWorker();
  const [ended] = await Promise.all(begun);
  expect(ended?.exitCode, ended?.message).toBe(0);
  expect(ended).toMatchObject({ outcome: 'succeeded', changed: true, generation: 1 });
  expect(await visit()).toBe(503);
  expect(await rig.incus('config', 'get', edge, 'user.bascule.project')).toBe('demo');
  expect((await project.look()).edge).toMatchObject({ running: true, drift: [], generation: 1 });
});

test('again there is nothing to do, and nothing is touched', async () => {
  const before = await run('sh', '-c', 'cat /run/haproxy.pid; ls -l /etc/haproxy');
  const again = await rig.provision();
  expect(again).toMatchObject({ exitCode: 0, outcome: 'succeeded', changed: false, dryRun: false });
  expect(again.message).toContain('nothing to do');
  expect(toDo(again)).toEqual([]);
  expect(await rig.provision('--dry-run')).toMatchObject({ exitCode: 0, changed: false });
  const { stdout } = await project.bascule('provision');
  expect(stdout).toContain('nothing to do');
  expect(await run('sh', '-c', 'cat /run/haproxy.pid; ls -l /etc/haproxy')).toBe(before);
});

test('after the start of its instance it serves, with nothing to do', async () => {
  await rig.incus('restart', edge, '--force');
  await until('it answers', async () => (await visit().catch(() => 0)) === 503);
  await until('there is nothing to do', async () => !(await rig.provision('--dry-run')).changed);
});

test('what was taken away is made again, and nothing else', async () => {
  await rig.incus('config', 'device', 'remove', edge, 'bascule-http');
  await run('systemctl', 'disable', '--now', 'haproxy');
  const result = await rig.provision();
  expect(toDo(result)).toEqual(['service', 'ports']);
  expect(result.exitCode, result.message).toBe(0);
  expect(await visit()).toBe(503);
});

test('upgrades that bascule.yaml asks for are set up, and removed when it no longer does', async () => {
  const file = '/etc/apt/apt.conf.d/52bascule-upgrades';
  // The package itself comes from a mirror; apt takes this one for it.
  await run('sh', '-c', fakePackage('unattended-upgrades'));
  await configure((yaml) => yaml.replace('listen: 127.0.0.1', 'listen: 127.0.0.1, unattendedUpgrades: true'));
  expect((await rig.provision()).exitCode).toBe(0);
  expect(await run('cat', file)).toContain('APT::Periodic::Unattended-Upgrade "1";');
  await configure((yaml) => yaml.replace(', unattendedUpgrades: true', ''));
  expect(toDo(await rig.provision())).toEqual(['packages']);
  expect(await run('sh', '-c', `[ -e ${file} ] || echo gone`)).toBe('gone');
});

test('packages that cannot be had are named, with what apt says', async () => {
  await configure((yaml) => yaml.replace('listen: 127.0.0.1', 'listen: 127.0.0.1, packages: [no-such-package]'));
  await run(
    'sh',
    '-c',
    'printf "#!/bin/sh\\necho it reaches no mirror\\nexit 100\\n" >/usr/local/bin/apt-get; chmod +x /usr/local/bin/apt-get',
  );
  const result = await rig.provision();
  expect(result).toMatchObject({ exitCode: 1, code: 'packages-not-installed' });
  expect(result.message).toContain('it reaches no mirror');
  await run('rm', '/usr/local/bin/apt-get');
  await configure((yaml) => yaml.replace(', packages: [no-such-package]', ''));
});

test('HAProxy is installed from the mirror of its distribution where it is missing, and the first configuration is applied', async () => {
  await run('apt-get', 'purge', '-q', '-y', 'haproxy');
  const result = await rig.provision();
  expect(result.exitCode, result.message).toBe(0);
  expect(toDo(result)).toEqual(['packages', 'service', 'configuration']);
  expect(await visit()).toBe(503);
  expect((await rig.provision()).changed).toBe(false);
});

test('an address of the machine has its packets led to the edge, which keeps the address that it has', async () => {
  const [address = ''] = (await rig.incus('network', 'get', rig.network, 'ipv4.address')).split('/');
  await configure((yaml) => yaml.replace('listen: 127.0.0.1', `listen: ${address}`));
  const result = await rig.provision();
  expect(result.exitCode, result.message).toBe(0);
  expect(toDo(result)).toEqual(['ports']);
  expect((await ask({ ...project.edge, address }, 'localhost', '/')).status).toBe(503);
  expect(await rig.incus('config', 'device', 'get', edge, 'eth0', 'ipv4.address')).toMatch(/^10[.]/);
  expect((await rig.provision()).changed).toBe(false);
});

test('what was edited by hand on the edge is left alone', async () => {
  const config = '/etc/haproxy/haproxy.cfg';
  await run('sed', '-i', 's/maxconn 4096/maxconn 4095/', config);
  expect(toDo(await rig.provision())).toEqual([]);
  expect(await run('grep', 'maxconn', config)).toContain('4095');
  expect((await project.bascule('apply', '--repair')).exitCode).toBe(0);
});

test('an instance of its name that Bascule did not make is refused, and stays as it is', async () => {
  const foreign = `foreign-${random}`;
  await rig.incus('launch', rig.image, foreign, '--profile', 'bascule');
  const look = () => rig.incus('query', `/1.0/instances/${foreign}`);
  const before = await look();
  await configure((yaml) => yaml.replace(`instance: ${edge}`, `instance: ${foreign}`));
  const result = await rig.provision();
  expect(result).toMatchObject({ exitCode: 2, outcome: 'failed', code: 'not-of-bascule', changed: false });
  expect(result.message).toContain(`instance ${foreign}`);
  expect(result.remedy).toContain(`incus config set ${foreign} user.bascule.project=demo`);
  expect(await look()).toBe(before);
  await configure((yaml) => yaml.replace(`instance: ${foreign}`, `instance: ${edge}`));
});

/** A package without content, as dpkg has it on record. */
const fakePackage = (name: string): string =>
  [
    'cd "$(mktemp -d)"',
    'mkdir -p package/DEBIAN',
    `printf 'Package: ${name}\\nVersion: 1\\nArchitecture: all\\nMaintainer: test <test@example.org>\\nDescription: test\\n' >package/DEBIAN/control`,
    'dpkg-deb --build package >/dev/null',
    'dpkg -i package.deb >/dev/null',
  ].join(' && ');
