import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { parseConfiguration } from '../../src/config/load.js';
import { BasculeError } from '../../src/errors.js';
import { isWhole } from '../rig/tier.js';

const file = '/srv/app/bascule.yaml';

const valid = `version: 1
project: demo
edge:
  http: 127.0.0.1:8088
environments:
  staging: { prefix: demo-staging-, hosts: [staging.localhost] }
  prod: { prefix: demo-, hosts: [localhost] }
components:
  api:
    port: 8081
    health: { path: /health }
    routes: [{ prefix: /api }]
    run: [node, api.mjs]
  web:
    health: { path: / }
    default: true
    run: [node, web.mjs]
artifacts:
  url: "file:./artifacts/{component}/{sha}.tar.gz"
`;

const pools = `version: 1
project: demo
topology: multi-instance
edge: { http: "*:80" }
components:
  api:
    port: 8081
    health: { path: /health }
    routes: [{ prefix: /api }]
    instances: [api-1, api-2]
    fallback: ["10.0.0.1:8081"]
  web:
    health: { path: / }
    default: true
    fallback: [web-1.example.org:8080]
instances: { driver: incus, image: images:debian/13 }
`;

type Case = [title: string, part: string | RegExp, replacement: string, ...problems: string[]];

/** The problems of a valid text with one part of it replaced, without the file's name. */
function problemsWith(part: string | RegExp, replacement: string, { inFile = file, of = valid } = {}): string[] {
  const text = of.replace(part, replacement);
  expect(text, 'the part is in the text').not.toBe(of);
  return problemsOf(text, inFile);
}

function problemsOf(text: string, inFile = file): string[] {
  try {
    parseConfiguration(text, inFile);
  } catch (error) {
    if (!(error instanceof BasculeError) || error.code !== 'config-invalid') throw error;
    const { problems } = error.args as { problems: readonly string[] };
    return problems.map((problem) => problem.replace(`${inFile}:`, ''));
  }
  return [];
}

test.each([valid, pools])('the texts that these tests change have no error', (text) => {
  expect(problemsOf(text)).toEqual([]);
});

const duration = 'a duration such as 500ms, 2s, 5m or 1h';
const nameExpectation =
  'expected a name of lower-case letters, digits and "-", that begins with a letter, does not end with "-" and has at most 63 characters';
const noHost = 'expected a host name such as www.example.org, without port or wildcard';
const noAddress =
  'expected no IP address: HAProxy chooses a certificate by the name that a client asks for, and a client that asks for an address sends none; list a host name that leads to it';
const noProgram = 'expected a program and its arguments, as a list such as ["node", "server.mjs"] (no shell reads it)';
const namelessProgram = 'expected a program, without "=" in its name';
const noEnvValue = 'expected a text (quote numbers, true and false), { env: NAME } or { file: PATH }';
const noRange =
  'expected a range of IPv4 addresses (/8 to /30) such as 127.77.0.0/16, or one address such as 127.0.0.1';
const noSoak = 'expected a duration such as 60s, or { for: 60s, errorShare: "1%", minRequests: 50 }';
const instancesOf = (setting: string) => `instances: { ${setting} }\nartifacts:`;

describe.each<[string, Case[]]>([
  [
    'the top level',
    [
      ['another version', 'version: 1', 'version: 2', '1:10 version: expected 1'],
      ['a missing version', 'version: 1', '# none', '2:1 version: is missing: expected 1'],
      ['a project that is no name', 'project: demo', 'project: My_App', `2:10 project: ${nameExpectation}`],
      ['an unknown key', 'project: demo', 'project: demo\nedgee: 1', '3:1 edgee: unknown key (did you mean "edge"?)'],
      [
        'a key that is like no other',
        'project: demo',
        'project: demo\nsomething: 1',
        '3:1 something: unknown key: expected version, project, edge, topology, environments, components, external, certificates, artifacts, instances, provision, notify',
      ],
      [
        'another topology',
        'project: demo',
        'project: demo\ntopology: canary',
        '3:11 topology: expected blue-green or multi-instance',
      ],
      [
        'no environments',
        /environments:\n.*\n.*\n/,
        '',
        '1:1 environments: is missing: expected environments such as { prod: { hosts: [www.example.org] } }',
      ],
      [
        'no artifacts',
        /artifacts:\n.*\n/,
        '',
        '1:1 artifacts: is missing: expected the artifacts, with at least `url`',
      ],
      ['a key that stands twice', 'project: demo', 'project: demo\nproject: demo', '3:1 this key stands twice'],
      ['an unknown anchor', 'project: demo', 'project: *demo', '2:10 YAML: no anchor of this name stands above'],
      ['an unknown tag', 'project: demo', 'project: !env demo', '2:10 YAML: Unresolved tag: !env'],
    ],
  ],
  [
    'the edge',
    [
      [
        'a missing address',
        'http: 127.0.0.1:8088',
        'manage: true',
        '3:1 edge.http: is missing: expected an IPv4 address and a port such as 127.0.0.1:8088, or "*:80" for every address',
      ],
      ...[
        '8088',
        '"127.0.0.1"',
        '127.0.0.1:0',
        '127.0.0.1:65536',
        '127.0.0.256:80',
        'localhost:80',
        '127.0.0.1:080',
      ].map(
        (address): Case => [
          `the address ${address}`,
          '127.0.0.1:8088',
          address,
          '4:9 edge.http: expected an IPv4 address and a port such as 127.0.0.1:8088, or "*:80" for every address',
        ],
      ),
      ['no mapping', /edge:\n.*/, 'edge: 8088', '3:7 edge: expected the edge, with at least `http`'],
      [
        'another driver',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  host: { driver: docker }',
        '5:19 edge.host.driver: expected { driver: local } or { driver: incus, instance: NAME }',
      ],
      [
        'an instance of Incus without its name',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  host: { driver: incus }',
        `5:3 edge.host.instance: is missing: ${nameExpectation}`,
      ],
      [
        'a HAProxy in an instance that Bascule is to start',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  host: { driver: incus, instance: edge }\n  manage: true',
        '6:11 edge.manage: expected false, since the system of that instance runs HAProxy',
      ],
      [
        'an instance where there is none',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  host: { driver: local, instance: edge }',
        '5:26 edge.host.instance: expected only with `driver: incus`',
      ],
      ...['runtime', 'metrics'].map(
        (key): Case => [
          `the address of http for ${key}`,
          'http: 127.0.0.1:8088',
          `http: 127.0.0.1:8088\n  ${key}: 127.0.0.1:8088`,
          `5:${5 + key.length} edge.${key}: expected another address or port: \`http\` takes this one already`,
        ],
      ),
      [
        'a port that another part of the edge takes on every address',
        'http: 127.0.0.1:8088',
        'metrics: 127.0.0.1:443\n  https: "*:443"\n  http: 127.0.0.1:443\n  runtime: 127.0.0.2:444',
        '4:12 edge.metrics: expected another address or port: `http` takes this one already',
        '5:10 edge.https: expected another address or port: `http` takes this one already',
      ],
      [
        'every address for a port that is taken on one',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  metrics: 0.0.0.0:8088',
        '5:12 edge.metrics: expected another address or port: `http` takes this one already',
      ],
      [
        'HSTS without HTTPS',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  hsts: { maxAge: 365d }',
        '5:3 edge.hsts: expected only with `edge.https`',
      ],
      ...[
        '0.0.0.0/0',
        '10.0.0.0/7',
        '10.0.0.0/33',
        '10.0.0/8',
        '"::/0"',
        '"2001:db8:::1"',
        'example.org',
        '10.1.1.1:80',
      ].map(
        (trusted): Case => [
          `the network ${trusted}`,
          'http: 127.0.0.1:8088',
          `http: 127.0.0.1:8088\n  trustedProxies: [${trusted}]`,
          '5:20 edge.trustedProxies[0]: expected an address such as 192.0.2.7 or a network such as 10.0.0.0/8 or "2001:db8::/32", of at least /8 in IPv4 and /16 in IPv6',
        ],
      ),
      ...['0d', '3651d', '365', '1y', '30h'].map(
        (maxAge): Case => [
          `HSTS for ${maxAge}`,
          'http: 127.0.0.1:8088',
          `http: 127.0.0.1:8088\n  https: "*:443"\n  hsts: { maxAge: ${maxAge} }`,
          '6:19 edge.hsts.maxAge: expected a number of days such as 365d, from 1d to 3650d',
        ],
      ),
      ...['dev/log', 'localhost:514', '127.0.0.1', 'stderr', '"*:514"', `/${'s'.repeat(97)}`].map(
        (to): Case => [
          `a log to ${to}`,
          'http: 127.0.0.1:8088',
          `http: 127.0.0.1:8088\n  log: { to: ${to} }`,
          '5:14 edge.log.to: expected stdout, a syslog server such as 127.0.0.1:514, or the absolute path of its socket such as /dev/log',
        ],
      ),
      [
        'a log in another format',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  log: { format: text }',
        '5:18 edge.log.format: expected json or haproxy',
      ],
      [
        'a page for a status that HAProxy never answers by itself',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  errors: { 418: missing.html }',
        '5:13 edge.errors["418"]: expected a status that HAProxy answers by itself: 400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504',
        '5:18 edge.errors["418"]: expected a file: "/srv/app/missing.html" does not exist',
      ],
      [
        'files that are not there',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  errors: { 503: down.html }\n  extra: { global: a.cfg, backend: { web: /b.cfg } }',
        '5:18 edge.errors["503"]: expected a file: "/srv/app/down.html" does not exist',
        '6:20 edge.extra.global: expected a file: "/srv/app/a.cfg" does not exist',
        '6:43 edge.extra.backend.web: expected a file: "/b.cfg" does not exist',
      ],
      [
        'lines for a component that does not exist',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  extra: { backend: { wev: /dev/null, database: /dev/null } }',
        '5:23 edge.extra.backend.wev: unknown component (did you mean "web"?)',
        '5:28 edge.extra.backend.wev: expected a file: "/dev/null" is none',
        '5:39 edge.extra.backend.database: unknown component: expected api, web',
        '5:49 edge.extra.backend.database: expected a file: "/dev/null" is none',
      ],
      [
        'a keep-alive of 0, which HAProxy takes for ever',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  httpKeepAlive: 0s',
        `5:18 edge.httpKeepAlive: expected ${duration}, more than 0 and up to 24 days`,
      ],
      [
        'a duration beyond what HAProxy can count',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  hardStopAfter: 600h',
        `5:18 edge.hardStopAfter: expected ${duration}, more than 0 and up to 24 days`,
      ],
      [
        'a socket whose path is too long',
        'http: 127.0.0.1:8088',
        `http: 127.0.0.1:8088\n  files: { socket: /run/${'s'.repeat(86)} }`,
        `5:20 edge.files.socket: expected a socket's path of at most 90 bytes: "/run/${'s'.repeat(86)}" has 91`,
      ],
      [
        "a master's socket whose path is too long",
        'http: 127.0.0.1:8088',
        `http: 127.0.0.1:8088\n  files: { master: /run/${'s'.repeat(86)} }`,
        `5:20 edge.files.master: expected a socket's path of at most 90 bytes: "/run/${'s'.repeat(86)}" has 91`,
      ],
      [
        'two sockets whose paths are too long',
        'http: 127.0.0.1:8088',
        `http: 127.0.0.1:8088\n  files:\n    socket: /run/${'s'.repeat(86)}\n    master: /run/${'m'.repeat(86)}`,
        `6:13 edge.files.socket: expected a socket's path of at most 90 bytes: "/run/${'s'.repeat(86)}" has 91`,
        `7:13 edge.files.master: expected a socket's path of at most 90 bytes: "/run/${'m'.repeat(86)}" has 91`,
      ],
      [
        "a socket that leaves no room for the master's beside it",
        'http: 127.0.0.1:8088',
        `http: 127.0.0.1:8088\n  files: { socket: /run/${'s'.repeat(85)} }`,
        `5:3 edge.files.master: expected a socket's path of at most 90 bytes: "/run/${'s'.repeat(85)}-master.sock" has 102`,
      ],
      [
        'one path for both sockets',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  files: { socket: a.sock, master: ./a.sock }',
        '5:36 edge.files.master: expected another path than that of `socket`',
      ],
      [
        'a port that the edge takes on every address',
        '127.0.0.1:8088',
        '"*:8081"',
        '10:11 components.api.port: expected another port than 8081: the edge takes it on every address',
      ],
      [
        'a default port that the edge takes on every address',
        '127.0.0.1:8088',
        '"*:8080"',
        '14:3 components.web.port: expected another port than 8080: the edge takes it on every address',
      ],
      [
        'a port that the edge takes for metrics on every address',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  metrics: "*:8081"',
        '11:11 components.api.port: expected another port than 8081: the edge takes it on every address',
      ],
    ],
  ],
  [
    'environments',
    [
      ...['edge', 'environment', 'certificates', 'provision', 'inspect'].map(
        (name): Case => [
          `the reserved name ${name}`,
          'staging:',
          `${name}:`,
          `6:3 environments.${name}: expected another name than the reserved edge, environment, certificates, provision, inspect`,
        ],
      ),
      ['a name with a blank', 'staging:', '"my stage":', `6:3 environments["my stage"]: ${nameExpectation}`],
      ['none', /environments:\n.*\n.*\n/, 'environments: {}\n', '5:15 environments: expected at least one environment'],
      [
        'no hosts',
        'hosts: [localhost]',
        'approval: true',
        '7:3 environments.prod.hosts: is missing: expected a list of host names',
      ],
      ['an empty list of hosts', '[localhost]', '[]', '7:33 environments.prod.hosts: expected at least one host name'],
      [
        'one host instead of a list',
        '[localhost]',
        'localhost',
        '7:33 environments.prod.hosts: expected a list of host names',
      ],
      ...['"localhost:80"', '"*.localhost"', 'a..b', '-a', '""', 'a_b', '127.0.0.1/8'].map(
        (host): Case => [`the host ${host}`, '[localhost]', `[${host}]`, `7:34 environments.prod.hosts[0]: ${noHost}`],
      ),
      [
        'a host of another environment, in other letters',
        '[localhost]',
        '[localhost, Staging.Localhost]',
        '7:45 environments.prod.hosts[1]: "staging.localhost" is a host of environment "staging" already',
      ],
      [
        'a host that stands twice',
        '[localhost]',
        '[localhost, localhost]',
        '7:45 environments.prod.hosts[1]: "localhost" is a host of environment "prod" already',
      ],
      [
        'a soak that is no duration',
        '[localhost]',
        '[localhost], soak: 5 minutes',
        `7:52 environments.prod.soak: ${noSoak}`,
      ],
      ['a soak that is a number', '[localhost]', '[localhost], soak: 60', `7:52 environments.prod.soak: ${noSoak}`],
      [
        'a misspelt key of the soak',
        '[localhost]',
        '[localhost], soak: { four: 60s }',
        '7:54 environments.prod.soak.four: unknown key (did you mean "for"?)',
      ],
      [
        'a share without a sign',
        '[localhost]',
        '[localhost], soak: { errorShare: 0.01 }',
        '7:66 environments.prod.soak.errorShare: expected a share such as "1%"',
      ],
      [
        'a drain that is no duration',
        '[localhost]',
        '[localhost], drain: 300',
        `7:53 environments.prod.drain: expected ${duration}, up to 24 hours`,
      ],
      [
        'yes for true',
        '[localhost]',
        '[localhost], approval: yes',
        '7:56 environments.prod.approval: expected true or false',
      ],
      [
        'instance names that are those of another environment',
        /api:\n/,
        'staging-web: { pool: other, health: { path: / }, run: [a], routes: [{ prefix: /s }] }\n  api:\n',
        '7:19 environments.prod.prefix: expected another prefix: instance "demo-staging-web-blue" is one of environment staging, component "web" already',
      ],
      [
        'instance names that are too long',
        'prefix: demo-,',
        `prefix: ${'p'.repeat(55)},`,
        `7:19 environments.prod.prefix: expected instance names of at most 63 characters: "${'p'.repeat(55)}api-green" has 64`,
        `7:19 environments.prod.prefix: expected instance names of at most 63 characters: "${'p'.repeat(55)}web-green" has 64`,
      ],
    ],
  ],
  [
    'components',
    [
      [
        'none',
        /components:\n[\s\S]*(?=artifacts:)/,
        'components: {}\n',
        '8:13 components: expected at least one component',
      ],
      ['a name with an underscore', 'api:\n', 'my_api:\n', `9:3 components.my_api: ${nameExpectation}`],
      [
        'no health check',
        'health: { path: /health }',
        '# none',
        '9:3 components.api.health: is missing: expected a health check, with at least `path`',
      ],
      [
        'a misspelt key',
        'health: { path: /health }',
        'helth: { path: /health }',
        '9:3 components.api.health: is missing: expected a health check, with at least `path`',
        '11:5 components.api.helth: unknown key (did you mean "health"?)',
      ],
      [
        'a health path without a slash',
        'path: /health',
        'path: health',
        '11:21 components.api.health.path: expected a path that begins with "/", of letters, digits and . _ ~ / - only',
      ],
      [
        'an interval of 0',
        'path: /health',
        'path: /health, interval: 0s',
        `11:40 components.api.health.interval: expected ${duration}, more than 0 and up to 24 days`,
      ],
      [
        'checks that are no whole numbers',
        'path: /health',
        'path: /health, fall: 1.5, rise: 0',
        '11:36 components.api.health.fall: expected a whole number from 1 to 100',
        '11:47 components.api.health.rise: expected a whole number from 1 to 100',
      ],
      ['a port beyond all', '8081', '65536', '10:11 components.api.port: expected a whole number from 1 to 65535'],
      ['a port in quotes', '8081', '"8081"', '10:11 components.api.port: expected a whole number from 1 to 65535'],
      [
        'a route that is a text',
        '[{ prefix: /api }]',
        '[/api]',
        '12:14 components.api.routes[0]: expected a route such as { prefix: /api }',
      ],
      [
        'an extension with a dot',
        '{ prefix: /api }',
        '{ prefix: /api, extensions: [.ts] }',
        '12:43 components.api.routes[0].extensions[0]: expected an extension without dot, such as m3u8',
      ],
      [
        'an empty list of extensions',
        '{ prefix: /api }',
        '{ prefix: /api, extensions: [] }',
        '12:42 components.api.routes[0].extensions: expected at least one extension',
      ],
      [
        'an extension that leads to another component',
        'default: true',
        'default: true\n    routes: [{ prefix: /x, extensions: [ts, m4s] }, { prefix: /x }, { prefix: /x, extensions: [m4s] }]',
        '17:96 components.web.routes[2].extensions[0]: prefix "/x" with extension "m4s" leads to component "web" already',
      ],
      [
        'a prefix that leads to another component',
        'default: true',
        'default: true\n    routes: [{ prefix: /api }]',
        '17:24 components.web.routes[0].prefix: prefix "/api" leads to component "api" already',
      ],
      [
        'two defaults',
        'port: 8081',
        'port: 8081\n    default: true',
        '17:14 components.web.default: expected one default component: "api" is it already',
      ],
      [
        'a component that no request leads to',
        'routes: [{ prefix: /api }]',
        'routes: []',
        '9:3 components.api: no request leads to it: expected `routes` such as [{ prefix: /api }], or `default: true`',
      ],
      [
        'a default component of which another one takes everything',
        '{ prefix: /api }',
        '{ prefix: / }',
        '14:3 components.web: no request leads to it: "/" of component "api" takes each that no route takes',
      ],
      [
        'no default',
        'default: true',
        'default: false',
        '8:1 components: expected `default: true` in one component, which takes what no route takes',
      ],
      [
        'a default that is no truth value',
        'default: true',
        'default: yes',
        '16:14 components.web.default: expected true or false',
      ],
      [
        "another component's default pool",
        'port: 8081',
        'pool: web_pool',
        '14:3 components.web.pool: pool "web_pool" is the one of component "api" already',
      ],
      [
        'two ways to balance',
        'port: 8081',
        'balance: { cookie: A, hash: uri }',
        '10:14 components.api.balance: expected { cookie: NAME } or { hash: uri }',
      ],
      [
        'a way to balance as a text',
        'port: 8081',
        'balance: cookie',
        '10:14 components.api.balance: expected { cookie: NAME } or { hash: uri }',
      ],
      [
        'a misspelt way to balance',
        'port: 8081',
        'balance: { cooky: A }',
        '10:16 components.api.balance.cooky: unknown key (did you mean "cookie"?)',
      ],
      [
        'a hash of something else',
        'port: 8081',
        'balance: { hash: source }',
        '10:22 components.api.balance.hash: expected uri',
      ],
      [
        'a misspelt timeout',
        'port: 8081',
        'timeouts: { tunel: 1h }',
        '10:17 components.api.timeouts.tunel: unknown key (did you mean "tunnel"?)',
      ],
      ['a command line', '[node, api.mjs]', 'node api.mjs', `13:10 components.api.run: ${noProgram}`],
      ['no command', '[node, api.mjs]', '[]', `13:5 components.api.run[0]: is missing: ${namelessProgram}`],
      [
        'a variable before the program',
        '[node, api.mjs]',
        '[A=b, node]',
        `13:11 components.api.run[0]: ${namelessProgram}`,
      ],
      [
        'an argument that is a number',
        '[node, api.mjs]',
        '[node, 1]',
        '13:17 components.api.run[1]: expected an argument in quotes',
      ],
      [
        'a migration that is a command line',
        'port: 8081',
        'migrate: node migrate.mjs',
        '10:14 components.api.migrate: expected a list such as ["node", "migrate.mjs"], or { command: […], timeout: 10m }',
      ],
      [
        'a migration without a command',
        'port: 8081',
        'migrate: { timeout: 10m }',
        `10:5 components.api.migrate.command: is missing: ${noProgram}`,
      ],
      ['a number as a variable', 'port: 8081', 'env: { A: 1 }', `10:15 components.api.env.A: ${noEnvValue}`],
      [
        'two sources of a variable',
        'port: 8081',
        'env: { A: { env: B, file: c } }',
        `10:15 components.api.env.A: ${noEnvValue}`,
      ],
      ['no source of a variable', 'port: 8081', 'env: { A: {} }', `10:15 components.api.env.A: ${noEnvValue}`],
      [
        'a misspelt source',
        'port: 8081',
        'env: { A: { fil: x } }',
        '10:17 components.api.env.A.fil: unknown key (did you mean "file"?)',
      ],
      [
        'a variable that would get lost',
        'port: 8081',
        'env: { __proto__: a }',
        '10:12 components.api.env.__proto__: expected the name of an environment variable: letters, digits and "_"',
      ],
      [
        "a variable's name with a blank",
        'port: 8081',
        'env: { "A B": x }',
        '10:12 components.api.env["A B"]: expected the name of an environment variable: letters, digits and "_"',
      ],
      [
        'a slow start of 0',
        'port: 8081',
        'slowStart: 0s',
        `10:16 components.api.slowStart: expected ${duration}, more than 0 and up to 24 days`,
      ],
      ['no program', /run: \[node, api.*/, '', `9:3 components.api.run: is missing: ${noProgram}`],
      [
        'instances and their addresses by name',
        'port: 8081',
        'instances: [api-1]\n    fallback: ["10.0.0.1:80"]',
        '10:5 components.api.instances: expected only with `topology: multi-instance`',
        '11:5 components.api.fallback: expected only with `topology: multi-instance`',
      ],
      [
        'a user of a process',
        'port: 8081',
        'user: api',
        "10:5 components.api.user: expected only with `instances.driver: incus`: the process driver runs everything as the worker's user",
      ],
      [
        'profiles of Incus for a process',
        'port: 8081',
        'profiles: [big]',
        '10:5 components.api.profiles: expected only with `instances.driver: incus`, whose profiles they are',
      ],
      [
        'a user that is no name',
        'port: 8081',
        'user: Api',
        '10:11 components.api.user: expected a user name of lower-case letters, digits, "_" and "-", that begins with a letter or "_" and has at most 32 characters',
      ],
      [
        'a pool with the name of a backend of Bascule',
        / {2}prod: ([\s\S]*) {4}port: 8081/,
        '  letsencrypt: $1    pool: backend',
        '10:11 components.api.pool: expected another name: "letsencrypt_backend" is the backend of certificate challenges already',
      ],
      [
        'a deadline of 0',
        'port: 8081',
        'startDeadline: 0s',
        `10:20 components.api.startDeadline: expected ${duration}, more than 0 and up to 24 hours`,
      ],
      [
        'a grace of more than a day',
        'port: 8081',
        'stopGrace: 25h',
        `10:16 components.api.stopGrace: expected ${duration}, up to 24 hours`,
      ],
      [
        'a grace without a unit',
        'port: 8081',
        'stopGrace: 30',
        `10:16 components.api.stopGrace: expected ${duration}, up to 24 hours`,
      ],
    ],
  ],
  [
    'external sites',
    [
      [
        'a host of an environment',
        'artifacts:',
        'external:\n  blog: { hosts: [blog.localhost, Localhost], respond: 503 }\nartifacts:',
        '19:35 external.blog.hosts[1]: "localhost" is a host of environment "prod" already',
      ],
      [
        'a host of another one',
        'artifacts:',
        'external:\n  a: { hosts: [a.test], respond: 503 }\n  b: { hosts: [a.test], server: b.test:80 }\nartifacts:',
        '20:16 external.b.hosts[0]: "a.test" is a host of external site "a" already',
      ],
      [
        'the name of an environment',
        'artifacts:',
        'external:\n  prod: { hosts: [blog.localhost], respond: 503 }\nartifacts:',
        '19:3 external.prod: "prod" is the name of an environment already',
      ],
      [
        'the name of a backend of Bascule',
        'artifacts:',
        'external:\n  letsencrypt: { hosts: [blog.localhost], respond: 503 }\nartifacts:',
        '19:3 external.letsencrypt: expected another name: "letsencrypt_backend" is the backend of certificate challenges already',
      ],
      [
        'a name with an underscore',
        'artifacts:',
        'external:\n  my_blog: { hosts: [blog.localhost], respond: 503 }\nartifacts:',
        `19:3 external.my_blog: ${nameExpectation}`,
      ],
      ...['{ hosts: [a.test] }', '{ hosts: [a.test], server: a.test:80, respond: 503 }'].map(
        (site): Case => [
          `not one of server and respond in ${site}`,
          'artifacts:',
          `external:\n  a: ${site}\nartifacts:`,
          '19:6 external.a: expected { hosts: […], server: "10.0.20.105:3000" } or { hosts: […], respond: 503 }',
        ],
      ),
      ...['a.test', '10.0.0.300:80', '"*:80"', 'a.test:0', 'http://a.test:80'].map(
        (server): Case => [
          `the server ${server}`,
          'artifacts:',
          `external:\n  a: { hosts: [a.test], server: ${server} }\nartifacts:`,
          '19:33 external.a.server: expected a host name or an IPv4 address, and a port, such as 10.0.20.11:8080',
        ],
      ),
      [
        'a status that HAProxy never answers by itself',
        'artifacts:',
        'external:\n  a: { hosts: [a.test], respond: 200 }\nartifacts:',
        '19:34 external.a.respond: expected a status that HAProxy answers by itself: 400, 401, 403, 404, 405, 407, 408, 410, 413, 425, 429, 500, 501, 502, 503, 504',
      ],
    ],
  ],
  [
    'certificates',
    [
      [
        'certificates for an edge without HTTPS',
        'artifacts:',
        'certificates: { ca: letsencrypt, domains: [[a.test]] }\nartifacts:',
        '18:1 certificates: expected only with `edge.https`',
      ],
      [
        'neither authority nor domains',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: {}',
        '6:1 certificates.ca: is missing: expected letsencrypt, letsencrypt-staging, or the https: URL of the directory of another one',
        '6:1 certificates.domains: is missing: expected a list of lists of host names such as [[example.org, www.example.org]]',
      ],
      [
        'a wildcard, nothing, a name twice',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates:\n  ca: letsencrypt\n  domains: [["*.a.test"], [], [b.test, c.test], [d.test, B.test]]',
        "8:14 certificates.domains[0][0]: expected no wildcard: HTTP-01 can't prove one; that needs DNS-01 at your registrar, which Bascule does not do: list the names one by one",
        '8:27 certificates.domains[1]: expected at least one host name',
        '8:58 certificates.domains[3][1]: "b.test" is in the certificate of "b.test" already',
      ],
      [
        'an IP address, as a browser or as YAML writes it',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates:\n  ca: letsencrypt\n  domains: [[192.0.2.7], [a.test, "2001:db8::7"], ["[2001:db8::7]"], [10.1]]',
        `8:14 certificates.domains[0][0]: ${noAddress}`,
        `8:35 certificates.domains[1][1]: ${noAddress}`,
        `8:52 certificates.domains[2][0]: ${noAddress}`,
        `8:71 certificates.domains[3][0]: ${noHost}`,
      ],
      [
        'one list of names',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: { ca: letsencrypt, domains: [a.test] }',
        '6:44 certificates.domains[0]: expected a list of host names such as [example.org, www.example.org]',
      ],
      [
        'nobody of these',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: { ca: http://ca.test, email: ops, challenge: a.test, domains: [[a.test]] }',
        '6:21 certificates.ca: expected letsencrypt, letsencrypt-staging, or the https: URL of the directory of another one',
        '6:44 certificates.email: expected an email address such as ops@example.org',
        '6:60 certificates.challenge: expected a host name or an IPv4 address, and a port, such as 10.0.20.11:8080',
      ],
      [
        'an external account without its key, keys that are none, and too many of them',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: { ca: letsencrypt, eab: { keyId: "a b" }, profile: "a b", keys: [dsa, rsa2048], domains: [[a.test]] }',
        '6:34 certificates.eab.key: is missing: expected { env: NAME } or { file: PATH }, never the key itself',
        '6:48 certificates.eab.keyId: expected an id of letters, digits and . _ ~ + / = -',
        '6:66 certificates.profile: expected a name of letters, digits and . _ -',
        '6:80 certificates.keys[0]: expected ecdsa, rsa2048 or rsa4096',
      ],
      [
        'two keys of one kind',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: { ca: letsencrypt, keys: [rsa4096, rsa2048], domains: [[a.test]] }',
        '6:40 certificates.keys: expected at most two kinds of keys: ecdsa and one of RSA',
      ],
      [
        'an email address that a program would take for an option',
        'http: 127.0.0.1:8088',
        'http: 127.0.0.1:8088\n  https: "*:443"\ncertificates: { ca: letsencrypt, email: -f@a.test, domains: [[a.test]] }',
        '6:41 certificates.email: expected an email address such as ops@example.org',
      ],
    ],
  ],
  [
    'artifacts',
    [
      [
        'a URL for all releases',
        '{sha}',
        'latest',
        '19:8 artifacts.url: expected {sha} in it: each release has its own URL',
      ],
      [
        'another scheme',
        'file:./',
        'ftp://example.org/',
        '19:8 artifacts.url: expected a URL that begins with file:, http: or https:',
      ],
      [
        'an unknown placeholder',
        '{component}',
        '{name}',
        '19:8 artifacts.url: expected no other placeholder than {component}, {environment}, {sha}',
      ],
      [
        'half a placeholder',
        '{component}',
        '{component',
        '19:8 artifacts.url: expected no other placeholder than {component}, {environment}, {sha}',
      ],
      ['a URL without a host', 'file:./', 'https:///', '19:8 artifacts.url: expected a valid URL with a host name'],
      [
        'a password in the URL',
        'file:./',
        'https://ci:s3cret@example.org/',
        '19:8 artifacts.url: expected no user or password in it: name a secret as artifacts.token',
      ],
      [
        'a file URL with a host',
        'file:./',
        'file://server/',
        '19:8 artifacts.url: expected a path after file:, such as file:./artifacts/{sha}.tar.gz or file:///srv/artifacts/{sha}.tar.gz',
      ],
      [
        'a checksum whose {url} is not at its beginning',
        'artifacts:',
        'artifacts:\n  checksum: "https://example.org/{url}"',
        '19:13 artifacts.checksum: expected {url} only at its beginning',
      ],
      [
        'the token itself',
        'artifacts:',
        'artifacts:\n  token: s3cret',
        '19:10 artifacts.token: expected { env: NAME } or { file: PATH }, never the token itself',
      ],
      [
        'a token over an open network',
        /artifacts:\n {2}url: .*/,
        'artifacts:\n  url: "http://registry.example/{sha}"\n  token: { env: TOKEN }',
        '20:10 artifacts.token: expected `artifacts.url` by https: a token goes over no open network',
      ],
      [
        'a size in words',
        'artifacts:',
        'artifacts:\n  maxSize: 2 gigabytes',
        '19:12 artifacts.maxSize: expected a size such as 500MB or 2GB',
      ],
    ],
  ],
  [
    'notify',
    [
      [
        'the URL itself',
        'artifacts:',
        'notify:\n  url: https://chat.example.org/hooks/s3cret\nartifacts:',
        '19:8 notify.url: expected { env: NAME } or { file: PATH }: who knows the URL may post there',
      ],
      [
        'no URL',
        'artifacts:',
        'notify: {}\nartifacts:',
        '18:1 notify.url: is missing: expected { env: NAME } or { file: PATH }: who knows the URL may post there',
      ],
    ],
  ],
  [
    'provision',
    [
      [
        'an edge on this machine',
        'artifacts:',
        'provision: { listen: 192.0.2.7 }\nartifacts:',
        '18:1 provision: expected only with `edge.host.driver: incus`: on its own machine there is nothing to make',
      ],
      [
        'a bridge whose name Linux does not take',
        'edge:\n',
        'provision: { network: a-name-too-long-for-it }\nedge:\n  host: { driver: incus, instance: edge }\n',
        '3:23 provision.network: expected the name of a bridge: 2 to 15 lower-case letters, digits and "-", the first of them a letter',
      ],
      [
        'an option for apt',
        'edge:\n',
        'provision: { packages: ["--no-check"] }\nedge:\n  host: { driver: incus, instance: edge }\n',
        '3:25 provision.packages[0]: expected the name of a package such as curl',
      ],
    ],
  ],
  [
    'instances',
    [
      [
        'users whose names the system does not take',
        /web:([\s\S]*)artifacts:/,
        `a-component-of-a-shop-that-is-long:$1${instancesOf('driver: incus, image: a, domain: lxd')}`,
        '14:3 components.a-component-of-a-shop-that-is-long.user: is missing: expected whom its program runs as, in at most 32 characters: demo-a-component-of-a-shop-that-is-long has 39',
      ],
      [
        'users that have names of their own, or the longest one that there is',
        /web:([\s\S]*)artifacts:/,
        `a-component-of-a-shop-that-is-long:\n    user: web$1  a-component-of-27-character:\n    health: { path: / }\n    routes: [{ prefix: /x }]\n    run: [x]\n${instancesOf('driver: incus, image: a, domain: lxd')}`,
      ],
      [
        'another driver',
        'artifacts:',
        instancesOf('driver: docker'),
        '18:22 instances.driver: expected { driver: process } or { driver: incus, image: images:debian/13 }',
      ],
      [
        'what processes alone have',
        'artifacts:',
        instancesOf('driver: incus, image: a, domain: lxd, directory: i'),
        '18:52 instances.directory: expected only with `driver: process`',
      ],
      [
        'what Incus alone has',
        'artifacts:',
        instancesOf('image: a'),
        '18:14 instances.image: expected only with `driver: incus`',
      ],
      [
        'a key that neither has',
        'artifacts:',
        instancesOf('driver: incus, image: a, domain: lxd, imag: b'),
        '18:52 instances.imag: unknown key (did you mean "image"?)',
      ],
      [
        'neither image nor domain',
        'artifacts:',
        instancesOf('driver: incus'),
        '18:1 instances.image: is missing: expected the alias or fingerprint of an image, such as images:debian/13',
        '18:1 instances.domain: is missing: expected a domain such as lxd, by which the edge finds instances; or `addresses` where no name server does',
      ],
      [
        'addresses where no name server does',
        'artifacts:',
        instancesOf('driver: incus, image: a, addresses: 10.0.20.128/25'),
      ],
      [
        'both a domain and addresses',
        'artifacts:',
        instancesOf('driver: incus, image: a, domain: lxd, addresses: 10.0.20.128/25'),
        '18:52 instances.addresses: expected only without `domain`, by which the edge finds them',
      ],
      ...['10.0.20.1', '127.0.0.0/8'].map(
        (range): Case => [
          `${range} for instances of Incus`,
          'artifacts:',
          instancesOf(`driver: incus, image: a, addresses: ${range}`),
          "18:50 instances.addresses: expected a part of the instances' subnet such as 10.0.20.128/25",
        ],
      ),
      [
        'a range of Incus that begins elsewhere and has no room',
        'artifacts:',
        instancesOf('driver: incus, image: a, addresses: 10.0.20.1/30'),
        '18:50 instances.addresses: expected 10.0.20.0/30, the beginning of that range',
        '18:50 instances.addresses: expected room for 8 instances (environments × components × 2 colors), this has 2',
      ],
      [
        'an option in place of an image',
        'artifacts:',
        instancesOf('driver: incus, image: -e, domain: lxd'),
        '18:36 instances.image: expected the alias or fingerprint of an image, such as images:debian/13',
      ],
      ...['127.77.0.0/31', '127.77.0.0/7', '127.77.0/16', '127.77.0.300', 'localhost'].map(
        (range): Case => [
          `the range ${range}`,
          'artifacts:',
          instancesOf(`addresses: ${range}`),
          `18:25 instances.addresses: ${noRange}`,
        ],
      ),
      [
        'a range of other machines',
        'artifacts:',
        instancesOf('addresses: 10.0.0.0/8'),
        '18:25 instances.addresses: expected a range within 127.0.0.0/8, or one address',
      ],
      [
        'a range that begins elsewhere',
        'artifacts:',
        instancesOf('addresses: 127.77.3.9/16'),
        '18:25 instances.addresses: expected 127.77.0.0/16, the beginning of that range',
      ],
      [
        'a range that is too small',
        'artifacts:',
        instancesOf('addresses: 127.77.0.0/29'),
        '18:25 instances.addresses: expected room for 8 instances (environments × components × 2 colors), this has 6',
      ],
      [
        'a range that is too small beside what the edge listens on',
        /http: .*([\s\S]*)artifacts:/,
        `http: 127.77.0.1:80\n  https: "*:443"\n  metrics: 127.0.0.1:8405$1${instancesOf('addresses: 127.77.0.0/28')}`,
      ],
      [
        'a range that is too small by what the edge listens on',
        /http: .*([\s\S]*)artifacts:/,
        `http: 127.77.0.1:80\n  https: "*:443"\n  metrics: 127.77.0.2:8405$1${instancesOf('addresses: 127.77.0.0/29')}`,
        '20:25 instances.addresses: expected room for 8 instances (environments × components × 2 colors), this has 3',
      ],
      [
        'no address',
        'artifacts:',
        instancesOf('addresses: 0.0.0.0'),
        '18:25 instances.addresses: expected an address that instances can listen on',
      ],
      [
        'releases kept, none',
        'artifacts:',
        instancesOf('releasesKept: 0'),
        '18:28 instances.releasesKept: expected a whole number from 2 to 1000',
      ],
    ],
  ],
])('in %s an error has its place and says what was expected', (_, cases) => {
  test.each(cases)('%s', (_title, part, replacement, ...problems) => {
    expect(problemsWith(part, replacement)).toEqual(problems);
  });
});

test.each<Case>([
  [
    'environments and external sites',
    'components:',
    'environments: { prod: { hosts: [a.test] } }\nexternal: { b: { hosts: [b.test], respond: 503 } }\ncomponents:',
    '5:1 environments: expected only with `topology: blue-green`',
    '6:1 external: expected only with `topology: blue-green`',
  ],
  [
    'a pool without servers',
    /fallback: \[web.*/,
    '',
    '12:3 components.web.instances: is missing: expected the names of its instances, or `fallback` with addresses',
  ],
  [
    'instances that the edge cannot find',
    /fallback: \["10.*/,
    '',
    "6:3 components.api.fallback: is missing: expected the addresses of its servers: without `instances.domain` or `addresses` the edge can't find its instances",
  ],
  ['instances that the edge finds', /fallback: \["10.*([\s\S]*) }\n$/, '$1, domain: lxd }\n'],
  ['instances that it finds by address', /fallback: \["10.*([\s\S]*) }\n$/, '$1, addresses: 10.0.20.128/25 }\n'],
  [
    'an instance of two components',
    'fallback: [web',
    'instances: [api-2, web-1]\n    fallback: [web',
    '15:17 components.web.instances[0]: "api-2" is an instance of component "api" already',
  ],
  [
    'an instance that has the name of a folder beside the instances',
    '[api-1, api-2]',
    '[api-1, data]',
    '10:24 components.api.instances[1]: expected another name than the reserved artifacts, data',
  ],
  [
    'instances that are no names',
    '[api-1, api-2]',
    '[api_1, 2]',
    `10:17 components.api.instances[0]: ${nameExpectation}`,
    `10:24 components.api.instances[1]: ${nameExpectation}`,
  ],
  ['empty lists', '[api-1, api-2]', '[]', '10:16 components.api.instances: expected at least one name'],
  [
    'a fallback without a port',
    '"10.0.0.1:8081"',
    '10.0.0.1',
    '11:16 components.api.fallback[0]: expected a host name or an IPv4 address, and a port, such as 10.0.20.11:8080',
  ],
  [
    'what belongs to a deploy',
    'default: true',
    'default: true\n    migrate: [node]\n    stopGrace: 5s',
    '15:5 components.web.migrate: expected only with `run`',
    '16:5 components.web.stopGrace: expected only with `run`',
  ],
  [
    'artifacts of which nothing is deployed',
    'components:',
    'artifacts: { url: "https://a.test/{sha}.tar" }\ncomponents:',
    '5:1 artifacts: expected only where a component has `run`',
  ],
  [
    'a component that is deployed, without artifacts and nowhere to run',
    'default: true',
    'default: true\n    run: [node]',
    '1:1 artifacts: is missing: expected the artifacts, with at least `url`',
    '15:5 components.web.run: expected only with `instances`, in which it runs',
  ],
  [
    'a component that is deployed',
    /components:([\s\S]*)\[api-1, api-2\]/,
    'artifacts: { url: "https://a.test/{sha}.tar" }\ncomponents:$1[api-1, api-2]\n    run: [node]',
  ],
  ...['edge', 'metrics', 'default_503', 'letsencrypt_backend'].map(
    (pool): Case => [
      `the pool ${pool}`,
      'port: 8081',
      `pool: ${pool}`,
      expect.stringMatching(
        `^7:11 components\\.api\\.pool: expected another name: "${pool}" is the \\w+ of [a-z ]+ already$`,
      ) as unknown as string,
    ],
  ),
  [
    'a range that is too small for processes',
    /instances: \{ driver.*/,
    'instances: { addresses: 127.77.0.0/30 }',
    '16:25 instances.addresses: expected room for 2 instances, this has 1',
  ],
])('in pools of instances side by side: %s', (_title, part, replacement, ...problems) => {
  expect(problemsWith(part, replacement, { of: pools })).toEqual(problems);
});

test('all errors are shown at once, in the order of the text, whichever check found them', () => {
  const text = valid
    .replace('project: demo', 'project: Demo')
    .replace('[localhost]', '[localhost, staging.localhost], soak: soon')
    .replace('path: /health', 'path: health')
    .replace('port: 8081', 'port: 8081\n    port: 8082')
    .replace('{sha}', 'latest');
  expect(problemsOf(text)).toEqual([
    `2:10 project: ${nameExpectation}`,
    '7:45 environments.prod.hosts[1]: "staging.localhost" is a host of environment "staging" already',
    `7:71 environments.prod.soak: ${noSoak}`,
    '11:5 this key stands twice',
    '12:21 components.api.health.path: expected a path that begins with "/", of letters, digits and . _ ~ / - only',
    '20:8 artifacts.url: expected {sha} in it: each release has its own URL',
  ]);
});

test('broken YAML is shown with its place, and nothing that follows from it', () => {
  expect(problemsWith('[localhost]', '[localhost')).toEqual([
    '7:44 YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
    '7:45 YAML: Flow map in block collection must be sufficiently indented and end with a }',
  ]);
});

test('an empty file says what is expected in it', () => {
  expect(problemsOf('')).toEqual([
    '1:1 expected a configuration: version, project, edge, environments, components, artifacts',
  ]);
});

test('a folder whose path may not stand in haproxy.cfg is an error, once', () => {
  expect(problemsWith('demo', 'demo ', { inFile: '/home/My Projects/bascule.yaml' })).toEqual([
    '1:1 expected this file in a folder whose path has letters, digits and . _ / + @ - only, not "/home/My Projects"',
  ]);
});

test('a deep folder makes the sockets of the edge too long', () => {
  const folder = `/srv/${'d'.repeat(70)}`;
  expect(problemsWith('demo', 'demo ', { inFile: `${folder}/bascule.yaml` })).toEqual([
    `3:1 edge.files.socket: expected a socket's path of at most 90 bytes: "${folder}/.bascule/edge/haproxy.sock" has 102`,
  ]);
});

test('a single component is the default one, unless it says that it is not', () => {
  const single = valid.replace(/ {2}web:\n[\s\S]*(?=artifacts:)/, '');
  expect(problemsOf(single)).toEqual([]);
  expect(problemsOf(single.replace('port: 8081', 'default: false'))).toEqual([
    '8:1 components: expected `default: true` in one component, which takes what no route takes',
  ]);
});

test('the message counts the errors and the remedy says how to go on', () => {
  expect(() => parseConfiguration(valid.replace('version: 1', 'version: 2'), 'bascule.yaml')).toThrow(
    expect.objectContaining({
      message: 'bascule.yaml has an error:\nbascule.yaml:1:10 version: expected 1',
      remedy: 'Mend the file; `bascule validate` checks it.',
    }),
  );
});

test('whatever stands in place of any value, the errors are readable', () => {
  const everything = parse(valid) as Record<string, unknown>;
  everything.instances = { driver: 'process', addresses: '127.0.0.1', directory: 'd', releasesKept: 3 };
  everything.topology = 'blue-green';
  everything.external = { a: { hosts: ['a.test'], server: 'b:80' }, b: { hosts: ['b.test'], respond: 503 } };
  everything.certificates = { ca: 'letsencrypt', email: 'a@b.test', challenge: 'c:80', domains: [['a.test']] };
  Object.assign(everything.edge as object, {
    files: { socket: 's', master: 'm' },
    host: { driver: 'local' },
    https: '*:443',
    hsts: { maxAge: '1d', includeSubdomains: true },
    metrics: '127.0.0.1:8405',
    log: { to: 'stdout', format: 'json' },
    errors: { 503: 'e.html' },
    extra: { global: 'g.cfg', backend: { api: 'a.cfg' } },
  });
  Object.assign((everything.components as { api: object }).api, {
    routes: [{ prefix: '/api', extensions: ['ts'] }],
    balance: { cookie: 'A' },
    slowStart: '30s',
    env: { A: 'x', B: { env: 'C' } },
    migrate: { command: ['a'], timeout: '1m' },
    timeouts: { tunnel: '1h' },
  });
  const incus = {
    ...(parse(valid) as object),
    instances: { driver: 'incus', image: 'a', domain: 'lxd', releasesKept: 3 },
  };
  const sideBySide = { ...(parse(pools) as object), artifacts: everything.artifacts };
  for (const each of [everything, incus, sideBySide]) expectReadableProblems(each);
}, 30_000);

function expectReadableProblems(everything: object): void {
  const paths = pathsOf(everything);
  expect(paths.length).toBeGreaterThan(25);
  for (const [place, path] of paths.entries()) {
    for (const [index, value] of [
      null,
      7,
      true,
      'x y',
      [],
      {},
      [null],
      [[]],
      { a: null },
      { a: { a: {} } },
    ].entries()) {
      // In make test a few at each place, and each at a few places.
      if (!isWhole && (place + index) % 4 !== 0) continue;
      const changed = structuredClone(everything);
      const parent = path.slice(0, -1).reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], changed);
      (parent as Record<string, unknown>)[path.at(-1) ?? ''] = value;
      for (const problem of problemsOf(stringify(changed))) {
        expect(problem).toMatch(/^\d+:\d+ \S+?: .*(expected|unknown (key|component)|already)/);
        expect(problem).not.toMatch(/Invalid|Unrecognized|undefined|NaN/);
      }
    }
  }
}

function pathsOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => [[key], ...pathsOf(child).map((rest) => [key, ...rest])]);
}
