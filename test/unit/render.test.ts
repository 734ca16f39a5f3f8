import { describe, expect, it } from 'vitest';
import { hostOfChecks } from '../../src/activities/instances.js';
import { instanceName } from '../../src/domain/names.js';
import { isBasculeError } from '../../src/errors.js';
import { diffConfigurations } from '../../src/haproxy/diff.js';
import {
  parseInstalledConfiguration,
  restampConfiguration,
  stampConfiguration,
  stampPlaceholders,
} from '../../src/haproxy/header.js';
import { renderConfiguration } from '../../src/haproxy/render.js';
import { appliedConfiguration, component, environment, stateOf } from '../rig/applied.js';

const environments = [
  environment('staging', ['staging.localhost']),
  environment('prod', ['localhost', 'prod.localhost']),
];
const components = [
  component('api', { routes: [{ prefix: '/api/v1' }], balance: { kind: 'cookie', cookie: 'SERVERID' } }),
  component('stream', {
    routes: [{ prefix: '/hls/' }],
    balance: { kind: 'hash-uri' },
    timeouts: { tunnelMs: 7_200_000 },
  }),
  component('web', { isDefault: true }),
];
const applied = appliedConfiguration({ environments, components });
const states = [stateOf('staging', 'blue', { hasStandby: true }), stateOf('prod', 'blue', { hasStandby: true })];
const stamp = { project: 'demo', generation: 7, probe: 'abc', states, version: '1.2.3' };

const changedLines = (diff: string) => diff.split('\n').filter((line) => /^[+-] /.test(line));

describe('rendering haproxy.cfg', () => {
  it('renders the same file for the same state, whatever its generation', () => {
    const rendered = renderConfiguration(applied, states);
    expect(renderConfiguration(applied, states)).toEqual(rendered);
    const other = parseInstalledConfiguration(stampConfiguration(rendered, { ...stamp, generation: 8, probe: 'xyz' }));
    expect(other).toMatchObject({
      generation: 8,
      probe: 'xyz',
      digest: rendered.digest,
      headerDigest: rendered.digest,
    });
  });

  it('has HAProxy ask for health by the host that the worker asks by', () => {
    const { body } = renderConfiguration(applied, states);
    for (const { name, hosts } of environments) {
      expect(hostOfChecks(applied.configuration, name)).toBe(hosts[0]);
      const pool = body.split(`backend ${name}_web_pool\n`)[1] ?? '';
      expect(/http-check send .* hdr Host (\S+)/.exec(pool)?.[1]).toBe(hosts[0]);
    }
    expect(hostOfChecks(applied.configuration, 'default')).toBe('localhost');
  });

  it('changes two lines of each pool of one environment by a switch', () => {
    const switched = [stateOf('staging', 'blue', { hasStandby: true }), stateOf('prod', 'green', { hasStandby: true })];
    const lines = changedLines(
      diffConfigurations(renderConfiguration(applied, states).body, renderConfiguration(applied, switched).body),
    );
    const prod = environments[1] ?? environment('', []);
    for (const { name } of components) {
      for (const color of ['blue', 'green'] as const) {
        const own = lines.filter((line) => line.includes(` ${instanceName(prod, name, color)} `));
        expect(own.map((line) => line[0]).sort()).toEqual(['+', '-']);
      }
    }
    expect(lines).toHaveLength(components.length * 4);
  });

  it('changes one line of each pool by a stand-down', () => {
    const stoodDown = [
      stateOf('staging', 'blue', { hasStandby: true }),
      stateOf('prod', 'blue', { hasStandby: false }),
    ];
    const lines = changedLines(
      diffConfigurations(renderConfiguration(applied, states).body, renderConfiguration(applied, stoodDown).body),
    );
    expect(lines).toHaveLength(components.length * 2);
    expect(lines.filter((line) => line.startsWith('+')).every((line) => line.endsWith('backup weight 0'))).toBe(true);
  });

  it('lets nobody fall back where nothing was ever deployed', () => {
    const { body } = renderConfiguration(applied, []);
    const servers = body.split('\n').filter((line) => /^ +server /.test(line));
    expect(servers).toHaveLength(12);
    expect(servers.filter((line) => line.includes('-green ')).every((line) => line.endsWith(' backup weight 0'))).toBe(
      true,
    );
    expect(servers.filter((line) => line.includes('-blue ')).some((line) => line.includes('backup'))).toBe(false);
  });

  it('gives no line a space at its end, and no two empty lines in a row', () => {
    const { body } = renderConfiguration(applied, states);
    expect(body).not.toMatch(/[ \t]$/m);
    expect(body).not.toContain('\n\n\n');
    expect(body.endsWith('\n')).toBe(true);
  });

  it.each(['x\n  use_backend y', '$HOME', 'a b', '-f', "a'b", 'a,b', '#', ''])('refuses the host %j', (host) => {
    const injected = appliedConfiguration({ environments: [environment('prod', [host])], components });
    expect(() => renderConfiguration(injected, [])).toThrow(
      expect.toSatisfy((error) => isBasculeError(error) && error.code === 'edge-value-unsafe'),
    );
  });

  it('renders a route of any number of extensions in lines of no more words than HAProxy reads', () => {
    const extensions = Array.from({ length: 130 }, (_, index) => `e${index}`);
    const files = component('files', { routes: [{ prefix: '/files/', extensions }], isDefault: true });
    const { body } = renderConfiguration(appliedConfiguration({ environments, components: [files] }), []);
    const lines = body.split('\n').map((line) => line.trim().split(/ +/));
    const patterns = lines.filter(([, name]) => name === 'route_files_file').map((words) => words.slice(3));
    expect(patterns.flat()).toEqual(extensions.map((extension) => `.${extension}`));
    expect(patterns.every(({ length }) => length <= 61)).toBe(true);
  });

  it('starts without the server of challenges, as without any other that has no address yet', () => {
    const { configuration, ...rest } = appliedConfiguration({ environments, components });
    const withChallenge = (address: string) => ({
      ...rest,
      configuration: {
        ...configuration,
        certificates: {
          ca: 'https://ca.example.org/directory',
          keys: ['ecdsa'] as const,
          domains: [['localhost']],
          challenge: { address, port: 8888 },
        },
      },
    });
    const { body } = renderConfiguration(withChallenge('acme.example.org'), []);
    expect(body).toContain('\nresolvers dns\n');
    expect(body).toContain(
      'server challenge acme.example.org:8888 no-check resolvers dns resolve-prefer ipv4 init-addr libc,none\n',
    );
    expect(renderConfiguration(withChallenge('127.0.0.1'), []).body).toContain('challenge 127.0.0.1:8888 no-check\n');
  });

  it('gives an empty error page no text, which HAProxy would refuse', () => {
    const errors = [{ status: 403, contentType: 'text/plain; charset=utf-8', body: '' }];
    const { body } = renderConfiguration(appliedConfiguration({ environments, components, edge: { errors } }), []);
    expect(body).toContain('\n    http-error status 403\n');
  });

  it('takes nothing for own lines or an address that only has the name of a component or an instance', () => {
    const named = component('constructor', { isDefault: true });
    const withLines = appliedConfiguration({ environments, components: [named], edge: { extra: { backend: {} } } });
    expect(renderConfiguration(withLines, []).body).not.toContain('edge.extra');

    const pool = component('api', {
      isDefault: true,
      instances: ['constructor'],
      fallback: [{ address: '10.0.0.1', port: 80 }],
    });
    const { configuration, ...rest } = appliedConfiguration({ environments: [], components: [pool] });
    const sideBySide = { ...rest, configuration: { ...configuration, topology: 'multi-instance' as const } };
    expect(renderConfiguration({ ...sideBySide, addresses: {} }, []).body).toContain('server api-1 10.0.0.1:80\n');
  });

  it('quotes the path of the socket where a folder has a space in its name', () => {
    const spaced = appliedConfiguration({ environments, components, socket: '/home/a b/haproxy.sock' });
    expect(renderConfiguration(spaced, []).body).toContain(
      "stats socket '/home/a b/haproxy.sock' mode 600 level admin",
    );
  });
});

describe('the header of haproxy.cfg', () => {
  const text = stampConfiguration(renderConfiguration(applied, states), stamp);

  it('is read back as it was written', () => {
    const mixed = [
      { name: 'staging', color: 'green', sha: null, standby: null },
      { name: 'prod', color: 'blue', sha: '1234567', standby: '89abcde' },
    ] as const;
    const written = stampConfiguration(renderConfiguration(applied, mixed), { ...stamp, states: mixed });
    expect(parseInstalledConfiguration(written)).toMatchObject({
      project: 'demo',
      generation: 7,
      version: '1.2.3',
      probe: 'abc',
      states: mixed,
      text: written,
    });
    expect(written.split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^# bascule project=demo generation=7 digest=[0-9a-f]{64} version=1\.2\.3$/),
      '# environment name=staging color=green sha=none standby=none',
      '# environment name=prod color=blue sha=1234567 standby=89abcde',
    ]);
  });

  it('tells that the file was changed by hand', () => {
    const edited = parseInstalledConfiguration(text.replace('mode http', 'mode tcp'));
    expect(edited?.headerDigest).toBe(parseInstalledConfiguration(text)?.headerDigest);
    expect(edited?.digest).not.toBe(edited?.headerDigest);
  });

  it('is none in a file of somebody else', () => {
    expect(parseInstalledConfiguration('global\n  maxconn 10\n')).toBeNull();
    expect(parseInstalledConfiguration('')).toBeNull();
  });

  it('keeps body and states when an earlier file goes into force again', () => {
    const again = parseInstalledConfiguration(restampConfiguration(text, { generation: 9, probe: 'new' }));
    const before = parseInstalledConfiguration(text);
    expect(again).toEqual({ ...before, generation: 9, probe: 'new', text: again?.text });
    expect(again?.text).toContain('setenv BASCULE_GENERATION 9\n');
    expect(diffConfigurations(text, again?.text ?? '')).toBe('');
  });

  it('has the real digest, but no generation and no secret, in what a person is shown', () => {
    const { digest } = renderConfiguration(applied, states);
    const shown = parseInstalledConfiguration(stampPlaceholders(renderConfiguration(applied, states), stamp));
    expect(shown).toMatchObject({ generation: 0, probe: 'placeholder', digest, headerDigest: digest });
  });
});

describe('the diff of two configurations', () => {
  it('shows a first configuration whole, without what each installation writes anew', () => {
    const diff = diffConfigurations(null, stampConfiguration(renderConfiguration(applied, states), stamp), {
      before: 'none',
      after: 'haproxy.cfg',
    });
    expect(diff).toMatch(/^--- none\n\+\+\+ haproxy\.cfg\n@@/);
    expect(diff).not.toMatch(/BASCULE_(GENERATION|PROBE) (7|abc)|# bascule project=|# environment name=/);
  });
});
