import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { loadConfiguration, parseConfiguration } from '../../src/config/load.js';
import {
  deviceOf,
  type ProvisionFound,
  type ProvisionWanted,
  planProvision,
  provisionWanted,
  wantedDropIn,
} from '../../src/domain/provision.js';
import { LocalHost } from '../../src/hosts/local.js';
import { lookInside } from '../../src/provision/inside.js';
import { provisionFound, provisionWantedOf } from '../rig/provision.js';

const { all, nothing, instance, bare } = provisionFound;
const example = (name: string): string => fileURLToPath(new URL(`../../examples/${name}.yaml`, import.meta.url));
const wanted = provisionWantedOf();

/** What is to be done, by step. */
function toDo(found: Partial<ProvisionFound>, of: ProvisionWanted = wanted): Record<string, string> {
  const { steps } = planProvision(of, { ...all, ...found });
  return Object.fromEntries(steps.filter(({ state }) => state !== 'right').map(({ id, does }) => [id, does]));
}

const obstacle = (found: Partial<ProvisionFound>, of = wanted) => planProvision(of, { ...all, ...found }).obstacle;
const inside = (part: Partial<typeof bare>): Partial<ProvisionFound> => ({
  inside: { ...bare, ...all.inside, ...part },
});

describe('what is missing is made', () => {
  test('all of it on a machine with nothing but Incus', () => {
    expect(toDo(nothing)).toEqual({
      project: 'make it',
      storage: 'make it, as a folder',
      network: 'make a bridge of names in .lxd',
      profile: 'make it, with a disk of default and eth0 on bascule0',
      instance: 'launch it from images:debian/13 with profile bascule',
      packages: 'install haproxy',
      folders: expect.stringContaining('make /usr/local/etc/tls/haproxy'),
      service: 'have it start with the instance, start it',
      configuration: 'put bascule.yaml in force',
      ports: 'lead 0.0.0.0:80 to its port 80, lead 0.0.0.0:443 to its port 443',
    });
  });

  test('nothing where all of it is there', () => {
    expect(toDo({})).toEqual({});
    expect(obstacle({})).toBeNull();
  });

  test.each<[string, Partial<ProvisionFound>, Record<string, string>]>([
    ['the network', { network: null }, { network: 'make a bridge of names in .lxd' }],
    ['a package', inside({ packages: [] }), { packages: 'install haproxy' }],
    ['a folder', inside({ folders: wanted.folders.slice(1) }), { folders: 'make /etc/haproxy' }],
    ['the running service', inside({ isServiceActive: false }), { service: 'start it' }],
    [
      'its start with the instance',
      inside({ isServiceEnabled: false }),
      { service: 'have it start with the instance' },
    ],
    [
      'a configuration of Bascule',
      inside({ configuration: 'of the distribution' }),
      { configuration: 'put bascule.yaml in force' },
    ],
    [
      'a port',
      { instance: { ...instance, devices: { 'bascule-http': instance.devices['bascule-http'] ?? {} } } },
      { ports: 'lead 0.0.0.0:443 to its port 443' },
    ],
    [
      'a port that leads elsewhere',
      {
        instance: {
          ...instance,
          devices: {
            ...instance.devices,
            'bascule-http': { type: 'proxy', listen: 'tcp:0.0.0.0:80', connect: 'tcp:127.0.0.1:81' },
          },
        },
      },
      { ports: 'lead 0.0.0.0:80 to its port 80' },
    ],
    [
      'the start with the machine',
      { instance: { ...instance, startsByItself: false } },
      { instance: 'have it start with the machine' },
    ],
  ])('%s alone', (_, found, steps) => {
    expect(toDo(found)).toEqual(steps);
  });

  test('what is in an instance that does not run is seen once it runs', () => {
    expect(toDo({ instance: { ...instance, isRunning: false }, inside: null })).toEqual({
      instance: 'start it',
      ...Object.fromEntries(
        ['packages', 'folders', 'service', 'configuration'].map((id) => [id, 'seen once the instance runs']),
      ),
    });
  });

  test("Incus's default project is always there, and no step", () => {
    const ids = planProvision(wanted, { ...nothing, incusProject: null }).steps.map(({ id }) => id);
    expect(ids).not.toContain('project');
  });
});

describe('what bascule.yaml says', () => {
  test.each([
    { name: 'lab', instance: 'haproxy', ports: [80] },
    { name: 'veza', instance: 'veza-haproxy', ports: [80, 443] },
  ])('in examples/$name.yaml is enough for its edge', async ({ name, instance: edge, ports }) => {
    const of = provisionWanted(await loadConfiguration(example(name)));
    expect(of).toMatchObject({ project: 'veza', place: { instance: edge }, domain: 'lxd', image: 'images:debian/13' });
    expect(of?.forwards.map(({ listen }) => listen.port)).toEqual(ports);
  });

  test('of an edge on this machine is nothing', async () => {
    expect(provisionWanted(await loadConfiguration(example('local')))).toBeNull();
  });

  test('of packages and upgrades is installed and set', () => {
    const more = provisionWantedOf({}, { packages: ['curl'], unattendedUpgrades: true });
    expect(toDo({}, more)).toEqual({
      packages: 'install curl, unattended-upgrades, have upgrades made by themselves',
    });
  });

  test('of an address has its packets led to the edge, which sees its visitors', () => {
    const { forwards } = provisionWantedOf({}, { listen: '192.0.2.7' });
    expect(forwards.map(deviceOf)).toEqual([
      { type: 'proxy', listen: 'tcp:192.0.2.7:80', connect: 'tcp:0.0.0.0:80', nat: 'true' },
      { type: 'proxy', listen: 'tcp:192.0.2.7:443', connect: 'tcp:0.0.0.0:443', nat: 'true' },
    ]);
  });

  test('of files elsewhere has the service run those, with their folders', () => {
    expect(wantedDropIn(wanted)).toBe('');
    const files = { config: '/srv/edge/haproxy.cfg', socket: '/run/edge/bascule.sock' };
    const elsewhere = provisionWantedOf({}, {}, { files });
    expect(wantedDropIn(elsewhere)).toContain('"CONFIG=/srv/edge/haproxy.cfg"');
    expect(wantedDropIn(elsewhere)).toContain('mkdir -p /run/edge\n');
    expect(toDo({}, elsewhere).service).toBe('have it run /srv/edge/haproxy.cfg');
  });
});

describe('instances side by side', async () => {
  const lab = provisionWanted(await loadConfiguration(example('lab')));
  if (lab === null) throw new Error('the edge of the lab is in an instance of Incus');
  const running = Object.fromEntries(lab.sideBySide?.instances.map(({ name }) => [name, 'running'] as const) ?? []);
  const there: ProvisionFound = { ...all, incusProject: null, sideBySide: running };

  test('are made where there is none, before the edge is told of them', () => {
    const { steps } = planProvision(lab, nothing);
    expect(steps.find(({ id }) => id === 'instances')).toEqual({
      ...{ id: 'instances', state: 'to do' },
      name: 'instances backend-api-1, backend-api-2, stream-server-1, stream-server-2',
      does: 'launch backend-api-1, backend-api-2, stream-server-1, stream-server-2 from images:debian/13 with profile bascule',
    });
    const ids = steps.map(({ id }) => id);
    expect(ids.indexOf('instances')).toBe(ids.indexOf('configuration') - 1);
  });

  test('are made with the profiles of their component', async () => {
    const text = (await readFile(example('lab'), 'utf8')).replace(/^( +)instances: \[stream/m, '$1profiles: [big]\n$&');
    const big = provisionWanted(parseConfiguration(text, example('lab')));
    expect(big && planProvision(big, nothing).steps.find(({ id }) => id === 'instances')?.does).toBe(
      'launch backend-api-1, backend-api-2 from images:debian/13 with profile bascule, ' +
        'launch stream-server-1, stream-server-2 from images:debian/13 with profiles bascule, big',
    );
  });

  test('of which one is missing and one is stopped are completed', () => {
    const found = { ...running, 'backend-api-2': 'none', 'stream-server-1': 'stopped' } as const;
    expect(toDo({ ...there, sideBySide: found }, lab).instances).toBe(
      'launch backend-api-2 from images:debian/13 with profile bascule, start stream-server-1',
    );
  });

  test('that are there, or somebody else looks after, stay as they are', () => {
    expect(toDo(there, lab)).not.toHaveProperty('instances');
    const others = { ...running, 'backend-api-1': 'of somebody else' } as const;
    expect(toDo({ ...there, sideBySide: others }, lab)).not.toHaveProperty('instances');
  });

  test('that the edge knows by address are a part of it', async () => {
    const text = (await readFile(example('lab'), 'utf8')).replace('domain: lxd', 'addresses: 10.77.0.64/27');
    expect(provisionWanted(parseConfiguration(text, example('lab')))?.sideBySide?.instances).toHaveLength(4);
  });

  test('that the edge does not know are no part of it', async () => {
    const text = (await readFile(example('lab'), 'utf8'))
      .replace(/^ {2}domain: .*$/m, '')
      .replace('instances: [stream-server-1, stream-server-2]', 'fallback: ["10.0.20.13:8082"]');
    expect(provisionWanted(parseConfiguration(text, example('lab')))?.sideBySide).toBeNull();
    expect(wanted.sideBySide).toBeNull();
  });
});

describe('what somebody else made', () => {
  const foreign = { owner: null };

  test.each<[string, Partial<ProvisionFound>, { what: string; mend: string }]>([
    [
      'an instance of the name',
      { instance: { ...instance, ...foreign } },
      { what: 'instance', mend: 'incus config set veza-haproxy user.bascule.project=veza' },
    ],
    [
      "an instance of another project of Bascule's",
      { instance: { ...instance, owner: 'shop' } },
      { what: 'instance', mend: 'incus config set veza-haproxy user.bascule.project=veza' },
    ],
    [
      'a bridge of another domain',
      { network: { ...foreign, isManaged: true, domain: null } },
      { what: 'network', mend: 'incus network set bascule0 dns.domain=lxd' },
    ],
    [
      "a bridge that is not Incus's",
      { network: { ...foreign, isManaged: false, domain: null } },
      { what: 'network', mend: 'ip link show bascule0' },
    ],
    [
      'a profile without a disk',
      { profile: { ...foreign, pool: null, network: 'bascule0' } },
      { what: 'profile', mend: 'incus profile device add bascule root disk path=/ pool=default' },
    ],
    [
      'a profile on another bridge',
      { profile: { ...foreign, pool: 'default', network: 'incusbr0' } },
      { what: 'profile', mend: 'incus profile device set bascule eth0 network=bascule0' },
    ],
    [
      'a profile on no bridge',
      { profile: { ...foreign, pool: 'default', network: null } },
      { what: 'profile', mend: 'incus profile device add bascule eth0 nic network=bascule0 name=eth0' },
    ],
  ])('is in the way: %s', (_, found, expected) => {
    expect(obstacle(found)).toMatchObject(expected);
  });

  test('is used where it is as it has to be', () => {
    const found = {
      network: { ...foreign, isManaged: true, domain: 'lxd' },
      profile: { ...foreign, pool: 'fast', network: 'bascule0' },
    };
    expect(obstacle(found)).toBeNull();
    expect(toDo(found)).toEqual({});
  });

  test('is named with remote and project of Incus in the command', () => {
    const there = provisionWantedOf({ remote: 'far', project: 'web' });
    expect(obstacle({ instance: { ...instance, ...foreign } }, there)?.mend).toBe(
      'incus config set far:veza-haproxy user.bascule.project=veza --project web',
    );
  });
});

test('a look into the instance whose answer does not arrive is tried again, and nothing is taken for missing', async () => {
  const silent = Object.assign(new LocalHost(), { run: async () => ({ exitCode: 0, stdout: '', stderr: '' }) });
  await expect(lookInside(silent, wanted)).rejects.toMatchObject({ code: 'incus-refused', isRetryable: true });
});
