import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { parseConfiguration } from '../../src/config/load.js';
import { BasculeError } from '../../src/errors.js';

/** Any small file. */
const page = resolve(import.meta.dirname, '../../tsconfig.json');

const valid = `
version: 1
project: demo
edge:
  name: local
  host: { driver: incus, instance: edge }
  http: 127.0.0.1:8088
  https: 127.0.0.1:8443
  hsts: { maxAge: 365d }
  runtime: 127.0.0.1:9100
  metrics: 127.0.0.1:8405
  log: { to: /dev/log, format: json }
  errors: { 503: "${page}" }
  files: { config: e/haproxy.cfg, state: e/state, certificates: e/certs, socket: e/h.sock, master: e/m.sock }
  httpKeepAlive: 5s
  hardStopAfter: 1h
environments:
  prod: { prefix: demo-, hosts: [localhost], soak: 60s, drain: 5m }
components:
  api:
    pool: backend_api
    port: 8081
    health: { path: /health, interval: 2s, fall: 3, rise: 2 }
    routes: [{ prefix: /api, extensions: [ts] }]
    balance: { cookie: SERVERID }
    slowStart: 30s
    timeouts: { tunnel: 1h }
    run: [node, api.mjs]
    env: { LEVEL: info }
external:
  blog: { hosts: [blog.localhost], server: 10.0.0.5:3000 }
  closed: { hosts: [closed.localhost], respond: 503 }
certificates:
  ca: https://ca.example.org/directory
  email: ops@example.org
  caFile: roots.pem
  eab: { keyId: id-1, key: { env: EAB_KEY } }
  profile: shortlived
  keys: [ecdsa]
  challenge: challenge.example.org:8080
  domains: [[blog.localhost]]
artifacts: { url: "file:./{sha}.tar.gz" }
instances: { addresses: 127.77.0.0/16, directory: instances }
`;

const pools = `
version: 1
project: demo
topology: multi-instance
edge: { http: 127.0.0.1:8088 }
components:
  api:
    health: { path: /health }
    instances: [api-1]
    fallback: [api.example.org:8081]
instances: { driver: incus, image: images:debian/13, domain: lxd }
`;

const inContainers = valid
  .replace('    env: { LEVEL: info }', '    user: api')
  .replace(/^instances: .*$/m, 'instances: { driver: incus, image: images:debian/13, domain: lxd }');

type Path = readonly (string | number)[];

/** Every value that reaches haproxy.cfg or a shell. */
const values: readonly Path[] = [
  ['project'],
  ['edge', 'name'],
  ['edge', 'host', 'driver'],
  ['edge', 'host', 'instance'],
  ['edge', 'http'],
  ['edge', 'https'],
  ['edge', 'hsts', 'maxAge'],
  ['edge', 'runtime'],
  ['edge', 'metrics'],
  ['edge', 'log', 'to'],
  ['edge', 'log', 'format'],
  ['edge', 'files', 'config'],
  ['edge', 'files', 'state'],
  ['edge', 'files', 'certificates'],
  ['edge', 'files', 'socket'],
  ['edge', 'files', 'master'],
  ['edge', 'httpKeepAlive'],
  ['edge', 'hardStopAfter'],
  ['environments', 'prod', 'prefix'],
  ['environments', 'prod', 'hosts', 0],
  ['environments', 'prod', 'soak'],
  ['environments', 'prod', 'drain'],
  ['components', 'api', 'pool'],
  ['components', 'api', 'port'],
  ['components', 'api', 'health', 'path'],
  ['components', 'api', 'health', 'interval'],
  ['components', 'api', 'health', 'fall'],
  ['components', 'api', 'health', 'rise'],
  ['components', 'api', 'routes', 0, 'prefix'],
  ['components', 'api', 'routes', 0, 'extensions', 0],
  ['components', 'api', 'balance', 'cookie'],
  ['components', 'api', 'slowStart'],
  ['components', 'api', 'timeouts', 'tunnel'],
  ['external', 'blog', 'hosts', 0],
  ['external', 'blog', 'server'],
  ['external', 'closed', 'respond'],
  ['certificates', 'ca'],
  ['certificates', 'email'],
  ['certificates', 'eab', 'keyId'],
  ['certificates', 'profile'],
  ['certificates', 'keys', 0],
  ['certificates', 'challenge'],
  ['certificates', 'domains', 0, 0],
  ['instances', 'addresses'],
  ['instances', 'directory'],
];
/** The same in pools of instances side by side. */
const valuesOfPools: readonly Path[] = [
  ['topology'],
  ['components', 'api', 'instances', 0],
  ['components', 'api', 'fallback', 0],
];
/** The same of instances in containers. */
const valuesOfContainers: readonly Path[] = [
  ['components', 'api', 'user'],
  ['instances', 'driver'],
  ['instances', 'image'],
  ['instances', 'domain'],
];
/** Every name that does. */
const keys = [
  ['edge', 'errors', '503'],
  ['environments', 'prod'],
  ['components', 'api'],
  ['components', 'api', 'env', 'LEVEL'],
  ['external', 'blog'],
] as const;

/** Each is added to a valid value, where it would begin a directive, another word, a pattern file or an expansion. */
const additions = [
  '\n  use_backend other',
  '\n',
  '\r',
  '\0',
  '\t',
  ' ',
  ' or TRUE',
  ' -f /etc/passwd',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: HAProxy expands it
  '${HOME}',
  '$HOME',
  '$(id)',
  '`id`',
  '%[src]',
  '"',
  "'",
  '#',
  '\\',
  ';id',
  '|id',
  '&',
  '>x',
  '*',
  '\u00e9',
  '\u2028',
];

describe.each([
  ...values.map((path) => ({ field: path.join('.'), path, text: valid })),
  ...valuesOfPools.map((path) => ({ field: path.join('.'), path, text: pools })),
  ...valuesOfContainers.map((path) => ({ field: path.join('.'), path, text: inContainers })),
])('$field', ({ path, text }) => {
  test.each(additions.map((addition) => ({ shown: JSON.stringify(addition), addition })))(
    'refuses $shown after and before a valid value',
    ({ addition }) => {
      expect(refusedPaths(text, path, (value) => `${value}${addition}`)).toEqual([formatted(path)]);
      expect(refusedPaths(text, path, (value) => `${addition}${value}`)).toEqual([formatted(path)]);
    },
  );

  test('refuses nothing at all', () => {
    expect(refusedPaths(text, path, () => '')).toEqual([formatted(path)]);
  });

  test('refuses an option that names a file of patterns', () => {
    expect(refusedPaths(text, path, () => '-f /etc/passwd')).toEqual([formatted(path)]);
  });
});

describe.each(keys.map((path) => ({ field: path.join('.'), path })))('the name $field', ({ path }) => {
  test.each(additions.map((addition) => ({ shown: JSON.stringify(addition), addition })))(
    'refuses $shown after and before a valid one',
    ({ addition }) => {
      expect(refusedNames(path, (name) => `${name}${addition}`)).toHaveLength(1);
      expect(refusedNames(path, (name) => `${addition}${name}`)).toHaveLength(1);
    },
  );
});

test.each([valid, pools, inContainers])('the configurations that these tests change have no error', (text) => {
  expect(problemsOf(parse(text))).toEqual([]);
});

test('an argument may hold what it likes, since no shell reads it', () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell would expand it
  const run = ['node', '-e', 'console.log("$HOME"); # ${HOME}\n'];
  const configuration = parse(valid);
  configuration.components.api.run = run;
  const [component] = parseConfiguration(stringify(configuration), '/srv/app/bascule.yaml').components;
  expect(component?.run).toEqual(run);
});

test('a wrong value is not repeated in the error, since it may be a secret', () => {
  const configuration = parse(valid);
  configuration.artifacts.token = 'hunter2';
  configuration.components.api.env.PASSWORD = ['hunter2'];
  const problems = problemsOf(configuration);
  expect(problems).toHaveLength(2);
  expect(problems.join()).not.toContain('hunter2');
});

const formatted = (path: Path): string =>
  path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');

function refusedPaths(text: string, path: Path, change: (value: string) => string): string[] {
  const configuration = parse(text);
  const parent = parentOf(configuration, path);
  const key = path.at(-1) ?? '';
  parent[key] = change(String(parent[key]));
  return problemsOf(configuration).map((problem) => problem.split(': ')[0]?.split(' ')[1] ?? '');
}

function refusedNames(path: readonly string[], change: (name: string) => string): string[] {
  const configuration = parse(valid);
  const parent = parentOf(configuration, path);
  const name = path.at(-1) ?? '';
  parent[change(name)] = parent[name];
  delete parent[name];
  return problemsOf(configuration);
}

function parentOf(configuration: unknown, path: Path): Record<string | number, unknown> {
  return path
    .slice(0, -1)
    .reduce((value, part) => value[part] as Record<string | number, unknown>, configuration as Record<string, unknown>);
}

function problemsOf(configuration: unknown): string[] {
  try {
    parseConfiguration(stringify(configuration), '/srv/app/bascule.yaml');
  } catch (error) {
    if (error instanceof BasculeError && error.code === 'config-invalid') {
      return [...(error.args as { problems: readonly string[] }).problems];
    }
    throw error;
  }
  return [];
}
