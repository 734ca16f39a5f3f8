import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfiguration, parseConfiguration } from '../../src/config/load.js';
import { BasculeError } from '../../src/errors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

const examples = resolve(import.meta.dirname, '../../examples');

test('the minimal example has every default', async () => {
  expect(await loadConfiguration(join(examples, 'minimal.yaml'))).toEqual({
    project: 'hello',
    edge: {
      name: 'local',
      host: { driver: 'local' },
      manage: true,
      http: { address: '127.0.0.1', port: 8088 },
      files: {
        config: `${examples}/.bascule/edge/haproxy.cfg`,
        state: `${examples}/.bascule/edge/state`,
        certificates: `${examples}/.bascule/edge/certificates`,
        socket: `${examples}/.bascule/edge/haproxy.sock`,
        masterSocket: `${examples}/.bascule/edge/haproxy-master.sock`,
      },
      httpKeepAliveMs: 5_000,
      hardStopAfterMs: 3_600_000,
    },
    topology: 'blue-green',
    environments: [
      {
        name: 'prod',
        prefix: 'hello-prod-',
        hosts: ['localhost'],
        approval: false,
        soak: { forMs: 60_000, errorShare: 0.05, minRequests: 50 },
        drainMs: 300_000,
      },
    ],
    components: [
      {
        name: 'web',
        pool: 'web_pool',
        port: 8080,
        health: { path: '/', intervalMs: 2_000, fall: 3, rise: 2 },
        routes: [],
        isDefault: true,
        balance: { kind: 'roundrobin' },
        timeouts: {},
        run: ['node', 'server.mjs'],
        env: {},
        startDeadlineMs: 60_000,
        stopGraceMs: 30_000,
      },
    ],
    artifacts: {
      url: `file://${examples}/artifacts/{sha}.tar.gz`,
      maxBytes: 2_000_000_000,
      timeoutMs: 600_000,
    },
    instances: {
      driver: 'process',
      addresses: { address: '127.77.0.0', prefixLength: 16 },
      directory: `${examples}/.bascule/instances`,
      addressBook: `${examples}/.bascule/addresses.json`,
      releasesKept: 5,
    },
  });
});

test('the local example has two environments and two components', async () => {
  const configuration = await loadConfiguration(join(examples, 'local.yaml'));
  expect(configuration.environments.map(({ name, prefix, hosts }) => ({ name, prefix, hosts }))).toEqual([
    { name: 'staging', prefix: 'demo-staging-', hosts: ['staging.localhost'] },
    { name: 'prod', prefix: 'demo-', hosts: ['localhost', 'prod.localhost'] },
  ]);
  expect(configuration.components).toMatchObject([
    {
      name: 'api',
      pool: 'backend_api',
      port: 8081,
      health: { path: '/api/v1/health', intervalMs: 1_000, fall: 3, rise: 2 },
      routes: [{ prefix: '/api/v1' }],
      isDefault: false,
      balance: { kind: 'cookie', cookie: 'SERVERID' },
    },
    { name: 'web', pool: 'web_pool', port: 8082, routes: [], isDefault: true, balance: { kind: 'roundrobin' } },
  ]);
  expect(configuration.artifacts).toMatchObject({
    url: `file://${examples}/artifacts/{component}/{sha}/{component}-{sha}.tar.gz`,
    checksum: '{url}.sha256',
  });
});

test('the example of a whole edge has TLS, external sites and instances of Incus', async () => {
  expect(await loadConfiguration(join(examples, 'veza.yaml'))).toMatchObject({
    edge: {
      host: { driver: 'incus', instance: 'veza-haproxy' },
      http: { address: '*', port: 80 },
      https: { address: '*', port: 443 },
      runtime: { address: '127.0.0.1', port: 9100 },
      metrics: { address: '127.0.0.1', port: 8405 },
    },
    topology: 'blue-green',
    environments: [{ name: 'staging' }, { name: 'prod' }],
    components: [
      { name: 'backend', slowStartMs: 30_000, user: 'veza-api' },
      {
        name: 'stream',
        routes: [{ prefix: '/stream' }, { prefix: '/hls' }, { prefix: '/tracks/', extensions: ['m3u8', 'ts', 'm4s'] }],
      },
      { name: 'web', port: 80 },
    ],
    external: [
      { name: 'forgejo', hosts: ['forgejo.talas.group'], server: { address: '10.0.20.105', port: 3000 } },
      { name: 'talas', hosts: ['talas.fr', 'www.talas.fr'], respond: 503 },
    ],
    certificates: {
      ca: 'https://acme-v02.api.letsencrypt.org/directory',
      email: 'ops@veza.fr',
      keys: ['ecdsa'],
      domains: [['staging.veza.fr'], ['veza.fr', 'www.veza.fr'], ['talas.fr', 'www.talas.fr']],
    },
    instances: { driver: 'incus', image: 'images:debian/13', domain: 'lxd', releasesKept: 5 },
  });
});

test('the example of pools side by side has neither environments nor artifacts', async () => {
  const configuration = await loadConfiguration(join(examples, 'lab.yaml'));
  expect(configuration).toMatchObject({
    topology: 'multi-instance',
    environments: [],
    components: [
      {
        name: 'backend',
        instances: ['backend-api-1', 'backend-api-2'],
        fallback: [
          { address: '10.0.20.11', port: 8080 },
          { address: '10.0.20.12', port: 8080 },
        ],
        run: [],
      },
      { name: 'stream', instances: ['stream-server-1', 'stream-server-2'], run: [] },
    ],
  });
  expect(configuration).not.toHaveProperty('artifacts');
});

test('what is written of the edge alone is in it', () => {
  const text = `
version: 1
project: hello
edge:
  http: 127.0.0.1:8088
  https: 127.0.0.1:8443
  hsts: { maxAge: 3650d }
  log: {}
environments: { prod: { hosts: [localhost] } }
components: { web: { health: { path: / }, run: [./web] } }
external: { blog: { hosts: [Blog.Example.ORG], server: blog.internal:80 } }
certificates: { ca: "https://ca.test:14000/dir", caFile: roots.pem, eab: { keyId: kid-1, key: { file: eab } }, profile: shortlived, keys: [rsa2048, ecdsa], challenge: acme.test:5002, domains: [[WWW.example.org]] }
artifacts: { url: "file:./{sha}.tar" }
instances: { driver: incus, image: debian, domain: lxd, profiles: [default, small], project: web, remote: far, releasesKept: 7 }
`;
  const { edge, external, certificates, instances } = parseConfiguration(text, '/srv/app/bascule.yaml');
  expect(edge).toMatchObject({
    hsts: { maxAgeDays: 3650, includeSubdomains: false },
    log: { to: 'stdout', format: 'json' },
  });
  for (const key of ['runtime', 'metrics', 'errors', 'extra']) expect(edge).not.toHaveProperty(key);
  expect(external).toEqual([
    { name: 'blog', hosts: ['blog.example.org'], server: { address: 'blog.internal', port: 80 } },
  ]);
  expect(certificates).toEqual({
    ca: 'https://ca.test:14000/dir',
    caFile: '/srv/app/roots.pem',
    eab: { keyId: 'kid-1', key: { file: '/srv/app/eab' } },
    profile: 'shortlived',
    keys: ['rsa2048', 'ecdsa'],
    domains: [['www.example.org']],
    challenge: { address: 'acme.test', port: 5002 },
  });
  expect(instances).toEqual({
    ...{
      driver: 'incus',
      image: 'debian',
      domain: 'lxd',
      profiles: ['default', 'small'],
      project: 'web',
      remote: 'far',
    },
    ...{ directory: '/srv/app/.bascule/instances', addressBook: '/srv/app/.bascule/addresses.json', releasesKept: 7 },
  });
});

test("an edge in an instance of Incus is its system's, where Debian has it", () => {
  const text = (host: string) => `
version: 1
project: hello
edge: { http: "*:80", host: { driver: incus, instance: front${host} } }
environments: { prod: { hosts: [localhost] } }
components: { web: { health: { path: / }, run: [./web] } }
artifacts: { url: "file:./{sha}.tar" }
`;
  const { edge } = parseConfiguration(text(', project: web, remote: far'), '/srv/app/bascule.yaml');
  expect(edge).toMatchObject({
    host: { driver: 'incus', instance: 'front', project: 'web', remote: 'far' },
    manage: false,
    files: { config: '/etc/haproxy/haproxy.cfg', masterSocket: '/run/haproxy-master.sock' },
  });
  const { edge: plain } = parseConfiguration(text(''), '/srv/app/bascule.yaml');
  expect(plain.host).toEqual({ driver: 'incus', instance: 'front' });
});

test.each([
  ['default', ''],
  ['bascule', 'edge: { http: "*:80", host: { driver: incus, instance: front } }'],
  ['small', 'edge: { http: "*:80", host: { driver: incus, instance: front } }\nprovision: { profile: small }'],
  ['default', 'edge: { http: "*:80", host: { driver: incus, instance: front, project: other } }'],
])('instances in Incus have the profile %s where none is named: that of an edge beside them', (profile, edge) => {
  const text = `
version: 1
project: hello
${edge || 'edge: { http: "*:80" }'}
environments: { prod: { hosts: [localhost] } }
components: { web: { health: { path: / }, run: [./web] } }
artifacts: { url: "file:./{sha}.tar" }
instances: { driver: incus, image: debian, domain: lxd }
`;
  expect(parseConfiguration(text, '/srv/app/bascule.yaml').instances).toMatchObject({ profiles: [profile] });
});

test('every setting that differs from its default is taken over', () => {
  const text = `
version: 1
project: shop
edge:
  name: front
  host: { driver: local }
  manage: false
  http: "*:80"
  files: { config: /etc/haproxy/haproxy.cfg, state: s, certificates: c, socket: /run/h/a.sock, master: /run/h/m.sock }
  https: "*:443"
  hsts: { maxAge: 1d, includeSubdomains: true }
  log: { to: 127.0.0.1:514, format: haproxy }
  httpKeepAlive: 500ms
  hardStopAfter: 2h
topology: blue-green
environments:
  prod: { hosts: [Shop.Example.ORG], approval: true, soak: { for: 90s, errorShare: 0.5%, minRequests: 7 }, drain: 0s }
  test: { hosts: [test.example.org], soak: 0s }
components:
  api:
    health: { path: /up, interval: 250ms, fall: 5, rise: 4 }
    routes: [{ prefix: /api }, { prefix: /v2/ }]
    default: true
    balance: { hash: uri, depth: 2 }
    timeouts: { tunnel: 1h }
    run: [./api]
    migrate: { command: [./api, migrate], timeout: 3m }
    env: { LEVEL: info, EMPTY: "", KEY: { env: API_KEY }, URL: { file: secrets/url } }
    startDeadline: 10s
    stopGrace: 1s
  web: { port: 9000, health: { path: / }, run: [./web], routes: [{ prefix: /web }], migrate: [./web, migrate] }
artifacts:
  url: https://artifacts.example.org/{component}/{sha}.tar.gz
  checksum: file:sums/{sha}
  token: { file: /etc/token }
  caFile: roots.pem
  maxSize: 300MB
  timeout: 30s
instances: { driver: process, addresses: 127.0.0.1, directory: /srv/shop, releasesKept: 3 }
`;
  expect(parseConfiguration(text, '/srv/app/bascule.yaml')).toMatchObject({
    edge: {
      name: 'front',
      manage: false,
      http: { address: '*', port: 80 },
      files: {
        config: '/etc/haproxy/haproxy.cfg',
        state: '/srv/app/s',
        certificates: '/srv/app/c',
        socket: '/run/h/a.sock',
        masterSocket: '/run/h/m.sock',
      },
      https: { address: '*', port: 443 },
      hsts: { maxAgeDays: 1, includeSubdomains: true },
      log: { to: '127.0.0.1:514', format: 'haproxy' },
      httpKeepAliveMs: 500,
      hardStopAfterMs: 7_200_000,
    },
    environments: [
      {
        prefix: 'shop-prod-',
        hosts: ['shop.example.org'],
        approval: true,
        soak: { forMs: 90_000, errorShare: 0.005, minRequests: 7 },
        drainMs: 0,
      },
      { prefix: 'shop-test-', soak: { forMs: 0, errorShare: 0.05, minRequests: 50 }, drainMs: 300_000 },
    ],
    components: [
      {
        pool: 'api_pool',
        port: 8080,
        health: { intervalMs: 250, fall: 5, rise: 4 },
        routes: [{ prefix: '/api' }, { prefix: '/v2/' }],
        isDefault: true,
        balance: { kind: 'hash-uri', depth: 2 },
        timeouts: { tunnelMs: 3_600_000 },
        run: ['./api'],
        migrate: { command: ['./api', 'migrate'], timeoutMs: 180_000 },
        env: { LEVEL: 'info', EMPTY: '', KEY: { env: 'API_KEY' }, URL: { file: '/srv/app/secrets/url' } },
        startDeadlineMs: 10_000,
        stopGraceMs: 1_000,
      },
      { port: 9000, isDefault: false, migrate: { command: ['./web', 'migrate'], timeoutMs: 600_000 } },
    ],
    artifacts: {
      url: 'https://artifacts.example.org/{component}/{sha}.tar.gz',
      checksum: 'file:///srv/app/sums/{sha}',
      token: { file: '/etc/token' },
      caFile: '/srv/app/roots.pem',
      maxBytes: 300_000_000,
      timeoutMs: 30_000,
    },
    instances: {
      addresses: { address: '127.0.0.1', prefixLength: 32 },
      directory: '/srv/shop',
      addressBook: '/srv/app/.bascule/addresses.json',
      releasesKept: 3,
    },
  });
});

test('an anchor may stand for a value that is written twice', () => {
  const text = `
version: 1
project: hello
edge: { http: 127.0.0.1:8088 }
environments: { prod: { hosts: [localhost] } }
components:
  web: { health: &health { path: /up }, run: [./web], default: true }
  api: { health: *health, run: [./api], routes: [{ prefix: /api }] }
artifacts: { url: "file:./{sha}.tar" }
`;
  const { components } = parseConfiguration(text, '/srv/app/bascule.yaml');
  expect(components.map(({ health }) => health.path)).toEqual(['/up', '/up']);
});

test('a missing file says how to write one', async () => {
  const file = join(folder, 'bascule.yaml');
  await expect(loadConfiguration(file)).rejects.toMatchObject({
    code: 'config-not-found',
    message: `${file} does not exist`,
    remedy: 'Run `bascule init` to write one, or name yours with --config FILE.',
  });
});

test('a folder in place of the file is said to be unreadable', async () => {
  const file = join(folder, 'folder.yaml');
  await mkdir(file);
  await expect(loadConfiguration(file)).rejects.toMatchObject({
    code: 'config-unreadable',
    message: `${file} cannot be read (EISDIR)`,
  });
});

test('errors in a file name it as it was given', async () => {
  const file = join(folder, 'wrong.yaml');
  await writeFile(file, 'version: 1\nproject: [\n');
  await expect(loadConfiguration(file)).rejects.toThrow(BasculeError);
  await expect(loadConfiguration(file)).rejects.toThrow(`${file} has an error:\n${file}:3:1 YAML: `);
});
