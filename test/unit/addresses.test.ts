import { expect, test } from 'vitest';
import { parseConfiguration } from '../../src/config/load.js';
import { allocateAddresses } from '../../src/domain/addresses.js';
import type { Configuration } from '../../src/domain/configuration.js';

interface Shape {
  readonly addresses?: string;
  readonly http?: string;
  readonly environments?: readonly string[];
  readonly components?: Readonly<Record<string, number>>;
}

function configuration({
  addresses = '127.77.0.0/16',
  http = '127.0.0.1:8088',
  environments = ['prod'],
  components = { web: 8080 },
}: Shape): Configuration {
  const [first] = Object.keys(components);
  const text = JSON.stringify({
    version: 1,
    project: 'demo',
    edge: { http },
    environments: Object.fromEntries(
      environments.map((name) => [name, { prefix: `${name}-`, hosts: [`${name}.test`] }]),
    ),
    components: Object.fromEntries(
      Object.entries(components).map(([name, port]) => [
        name,
        {
          port,
          health: { path: '/' },
          run: ['node'],
          default: name === first,
          routes: name === first ? [] : [{ prefix: `/${name}` }],
        },
      ]),
    ),
    artifacts: { url: 'file:./{sha}.tar.gz' },
    instances: { addresses },
  });
  return parseConfiguration(text, '/srv/app/bascule.yaml');
}

test('a range gives every instance an address, in the order of environments, components and colors', () => {
  const book = allocateAddresses(
    configuration({ environments: ['staging', 'prod'], components: { api: 8081, web: 8082 } }),
    {},
  );
  expect(Object.entries(book)).toEqual([
    ['staging-api-blue', { address: '127.77.0.1', port: 8081 }],
    ['staging-api-green', { address: '127.77.0.2', port: 8081 }],
    ['staging-web-blue', { address: '127.77.0.3', port: 8082 }],
    ['staging-web-green', { address: '127.77.0.4', port: 8082 }],
    ['prod-api-blue', { address: '127.77.0.5', port: 8081 }],
    ['prod-api-green', { address: '127.77.0.6', port: 8081 }],
    ['prod-web-blue', { address: '127.77.0.7', port: 8082 }],
    ['prod-web-green', { address: '127.77.0.8', port: 8082 }],
  ]);
});

test('instances of Incus that no name server knows get theirs in a part of their subnet, beside an edge that listens everywhere', () => {
  const { instances: _, edge, ...rest } = configuration({});
  const everywhere = { ...edge, http: { address: '*', port: 8080 } };
  const incus = { driver: 'incus', image: 'debian', profiles: ['default'], releasesKept: 5 } as const;
  const files = { directory: '/srv/app', addressBook: '/srv/app/addresses.json' };
  const addresses = { address: '10.0.20.128', prefixLength: 25 };
  const book = allocateAddresses({ ...rest, edge: everywhere, instances: { ...incus, ...files, addresses } }, {});
  expect(book).toEqual({
    'prod-web-blue': { address: '10.0.20.129', port: 8080 },
    'prod-web-green': { address: '10.0.20.130', port: 8080 },
  });
});

test('an instance keeps its address when others come before it or go', () => {
  const before = allocateAddresses(configuration({ components: { old: 1, web: 8082 } }), {});
  const after = allocateAddresses(configuration({ components: { api: 8081, web: 8082 } }), before);
  expect(after['prod-web-blue']).toEqual(before['prod-web-blue']);
  expect(after['prod-web-green']).toEqual(before['prod-web-green']);
  expect(after).not.toHaveProperty('prod-old-blue');
  expect(allocateAddresses(configuration({ components: { api: 8081, web: 8082 } }), after)).toEqual(after);
});

test('an address of an instance that is no longer configured goes to no other one at once, while there is room', () => {
  const before = allocateAddresses(configuration({ components: { old: 8080 } }), {});
  const after = allocateAddresses(configuration({ components: { new: 8080 } }), before);
  expect(after).toEqual({
    'prod-new-blue': { address: '127.77.0.3', port: 8080 },
    'prod-new-green': { address: '127.77.0.4', port: 8080 },
  });
});

test('where there is no more room, such an address is given out again', () => {
  const small = { addresses: '127.77.0.0/30' };
  const before = allocateAddresses(configuration({ ...small, components: { old: 8080 } }), {});
  expect(allocateAddresses(configuration({ ...small, components: { new: 8080 } }), before)).toEqual({
    'prod-new-blue': { address: '127.77.0.1', port: 8080 },
    'prod-new-green': { address: '127.77.0.2', port: 8080 },
  });
});

test('in a range the port of a component is followed and the address stays', () => {
  const before = allocateAddresses(configuration({ components: { web: 8080 } }), {});
  expect(allocateAddresses(configuration({ components: { web: 9090 } }), before)).toEqual({
    'prod-web-blue': { address: '127.77.0.1', port: 9090 },
    'prod-web-green': { address: '127.77.0.2', port: 9090 },
  });
});

test('one address gives every instance a port, and not that of the edge', () => {
  const single = { addresses: '127.0.0.1', http: '127.0.0.1:20001', environments: ['prod', 'test'] };
  expect(allocateAddresses(configuration(single), {})).toEqual({
    'prod-web-blue': { address: '127.0.0.1', port: 20_000 },
    'prod-web-green': { address: '127.0.0.1', port: 20_002 },
    'test-web-blue': { address: '127.0.0.1', port: 20_003 },
    'test-web-green': { address: '127.0.0.1', port: 20_004 },
  });
});

test('one address: ports in the book are passed over, also those of instances that are gone', () => {
  const book = allocateAddresses(configuration({ addresses: '127.0.0.1', http: '*:20003' }), {
    'prod-web-green': { address: '127.0.0.1', port: 20_000 },
    'gone-web-blue': { address: '127.0.0.1', port: 20_001 },
  });
  expect(book).toEqual({
    'prod-web-blue': { address: '127.0.0.1', port: 20_002 },
    'prod-web-green': { address: '127.0.0.1', port: 20_000 },
  });
});

test('no instance gets an address that another has in the book, and of two with one address the second moves', () => {
  const same = { address: '127.77.0.1', port: 8080 };
  expect(allocateAddresses(configuration({}), { 'prod-web-blue': same, 'prod-web-green': { ...same } })).toEqual({
    'prod-web-blue': same,
    'prod-web-green': { address: '127.77.0.2', port: 8080 },
  });
  expect(allocateAddresses(configuration({}), { 'prod-web-green': same })['prod-web-blue']?.address).toBe('127.77.0.2');
});

test('an instance outside of the configured range moves into it', () => {
  const before = allocateAddresses(configuration({}), {});
  expect(allocateAddresses(configuration({ addresses: '127.0.0.1' }), before)).toEqual({
    'prod-web-blue': { address: '127.0.0.1', port: 20_000 },
    'prod-web-green': { address: '127.0.0.1', port: 20_001 },
  });
});

test('an instance never gets the address and port that the edge listens on', () => {
  const book = allocateAddresses(configuration({ http: '127.77.0.1:8080' }), {
    'prod-web-green': { address: '127.77.0.1', port: 8080 },
  });
  expect(Object.values(book).map(({ address }) => address)).toEqual(['127.77.0.2', '127.77.0.3']);
});

test('the addresses of a range go on beyond its first 255, without its two ends', () => {
  const components = Object.fromEntries(Array.from({ length: 255 }, (_, index) => [`c${index}`, 8080]));
  const range = '127.77.254.0/23';
  const addresses = Object.values(allocateAddresses(configuration({ addresses: range, components }), {}));
  expect(addresses).toHaveLength(510);
  expect(new Set(addresses.map(({ address }) => address)).size).toBe(510);
  expect(addresses[0]?.address).toBe('127.77.254.1');
  expect(addresses[255]?.address).toBe('127.77.255.0');
  expect(addresses.at(-1)?.address).toBe('127.77.255.254');
});
