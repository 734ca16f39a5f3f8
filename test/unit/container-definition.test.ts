import { expect, test } from 'vitest';
import {
  containerDefinition,
  dataVolumeName,
  freeAddress,
  markedFor,
  marksOf,
  networkCardOf,
  rootPoolOf,
} from '../../src/instances/container-definition.js';

const marks = { project: 'veza', environment: 'prod', component: 'backend', color: 'blue' } as const;

test('an instance has its marks, starts with Incus, and keeps the network card of its profiles with an address of its own', () => {
  const device = { type: 'nic', network: 'incusbr0', name: 'eth0' };
  const definition = containerDefinition({
    name: 'veza-backend-blue',
    marks,
    owner: 'veza/prod/deploy/1',
    source: { type: 'image', fingerprint: 'abc' },
    profiles: ['default'],
    card: { name: 'eth0', network: 'incusbr0', device },
    address: '10.0.3.254',
  });
  expect(definition).toEqual({
    name: 'veza-backend-blue',
    type: 'container',
    source: { type: 'image', fingerprint: 'abc' },
    profiles: ['default'],
    config: {
      'boot.autostart': 'true',
      'user.bascule.project': 'veza',
      'user.bascule.environment': 'prod',
      'user.bascule.component': 'backend',
      'user.bascule.color': 'blue',
      'user.bascule.owner': 'veza/prod/deploy/1',
    },
    devices: { eth0: { ...device, 'ipv4.address': '10.0.3.254', hwaddr: '10:66:6a:00:03:fe' } },
  });
});

test('both colors of a component have one volume of data, and so have all its instances side by side', () => {
  expect(dataVolumeName(marks, 'veza-backend-blue')).toBe('veza-backend-data');
  expect(dataVolumeName({ ...marks, color: 'green' }, 'veza-backend-green')).toBe('veza-backend-data');
  expect(dataVolumeName({ ...marks, color: null }, 'backend-api-1')).toBe('veza-backend-data');
  expect(rootPoolOf({ eth0: { type: 'nic' }, root: { type: 'disk', path: '/', pool: 'fast' } })).toBe('fast');
  expect(rootPoolOf({ cache: { type: 'disk', path: '/var/cache', pool: 'fast' } })).toBeNull();
});

test('marks say for whom an instance was made, and their lack that Bascule did not make it', () => {
  expect(markedFor(marksOf(marks))).toBe('veza prod backend blue');
  expect(markedFor(marksOf({ ...marks, color: null }))).toBe('veza prod backend');
  expect(markedFor({ 'user.other': 'x' })).toBeNull();
});

test('the network card is the first of a managed network', () => {
  const root = { type: 'disk', path: '/', pool: 'default' };
  const plain = { type: 'nic', nictype: 'bridged', parent: 'br0' };
  const managed = { type: 'nic', network: 'incusbr0' };
  expect(networkCardOf({ root, eth0: plain, eth1: managed })).toEqual({
    name: 'eth1',
    network: 'incusbr0',
    device: managed,
  });
  expect(networkCardOf({ root, eth0: plain })).toBeNull();
});

test('addresses are given out from the end of the subnet, but none that is taken, and not the bridge itself', () => {
  expect(freeAddress('10.0.3.1/24', new Set())).toBe('10.0.3.254');
  expect(freeAddress('10.0.3.1/24', new Set(['10.0.3.254', '10.0.3.253']))).toBe('10.0.3.252');
  expect(freeAddress('10.0.3.254/24', new Set())).toBe('10.0.3.253');
  expect(freeAddress('10.0.2.1/23', new Set())).toBe('10.0.3.254');
  expect(freeAddress('10.0.3.1/30', new Set(['10.0.3.2']))).toBeNull();
});
