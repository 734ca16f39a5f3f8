import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { toConfiguration } from '../../src/config/convert.js';
import type { ConfigurationInput } from '../../src/config/schema.js';
import type { IncusEdgeHost } from '../../src/domain/configuration.js';
import { type ProvisionFound, type ProvisionWanted, provisionWanted } from '../../src/domain/provision.js';

const example = fileURLToPath(new URL('../../examples/veza.yaml', import.meta.url));

/** What examples/veza.yaml wants, with a few things changed. */
export function provisionWantedOf(
  host: Partial<IncusEdgeHost> = {},
  provision: NonNullable<ConfigurationInput['provision']> = {},
  edge: Partial<ConfigurationInput['edge']> = {},
): ProvisionWanted {
  const input = parse(readFileSync(example, 'utf8')) as ConfigurationInput;
  const configuration = toConfiguration(
    {
      ...input,
      edge: { ...input.edge, ...edge, host: { driver: 'incus', instance: 'veza-haproxy', ...host } },
      provision,
    },
    '/srv/veza',
    { problems: [], errors: [], extra: {} },
  );
  const wanted = provisionWanted(configuration);
  if (!wanted) throw new Error('its edge is in an instance of Incus');
  return wanted;
}

const owner = 'veza';
const bare: NonNullable<ProvisionFound['inside']> = {
  ...{ system: 'running', packages: [], folders: ['/run/haproxy', '/run', '/etc/haproxy'], upgrades: '', dropIn: '' },
  ...{ isServiceEnabled: false, isServiceActive: false, configuration: 'none' },
};
const network: NonNullable<ProvisionFound['network']> = { owner, isManaged: true, domain: 'lxd' };
const profile: NonNullable<ProvisionFound['profile']> = { owner, pool: 'default', network: 'bascule0' };
const instance: NonNullable<ProvisionFound['instance']> = {
  ...{ owner, isRunning: true, startsByItself: true },
  devices: {
    'bascule-http': { type: 'proxy', listen: 'tcp:0.0.0.0:80', connect: 'tcp:127.0.0.1:80' },
    'bascule-https': { type: 'proxy', listen: 'tcp:0.0.0.0:443', connect: 'tcp:127.0.0.1:443' },
  },
};
const nothing: ProvisionFound = {
  ...{ incusProject: { isThere: false }, storage: { isThere: false } },
  ...{ network: null, profile: null, instance: null, inside: null, sideBySide: {} },
};
const { packages, folders } = provisionWantedOf();
const all: ProvisionFound = {
  ...{ incusProject: { isThere: true }, storage: { isThere: true }, network, profile, instance },
  inside: { ...bare, packages, folders, isServiceEnabled: true, isServiceActive: true, configuration: 'of Bascule' },
  sideBySide: {},
};

/** What there may be of it on a machine. */
export const provisionFound = { nothing, all, network, profile, instance, bare } as const;
