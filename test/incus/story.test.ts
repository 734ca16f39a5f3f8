import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resultSchema } from '../../src/cli/output-schema.js';
import type { CertificatesResult, CertificatesStatus } from '../../src/domain/issuance.js';
import { type ArtifactServer, startArtifactServer } from '../rig/artifact-server.js';
import { makeRelease } from '../rig/artifacts.js';
import { ask } from '../rig/ask.js';
import { mustSucceed, until } from '../rig/chaos.js';
import { readHistories } from '../rig/histories.js';
import { type NameServer, startNameServer } from '../rig/name-server.js';
import { type Pebble, startPebble } from '../rig/pebble.js';
import { freeLoopbackRange, freePort } from '../rig/ports.js';
import type { Project } from '../rig/project.js';
import { findingsOf } from '../rig/project-look.js';
import { servedCertificate } from '../rig/served-certificate.js';
import { startVisitors, type Visitors } from '../rig/visitors.js';
import { type BareProject, nodeDevice, type Place, startBareProject } from './rig/projects.js';

// examples/veza.yaml, from a daemon as its package leaves it: each test goes on where the one before has ended.

const example = fileURLToPath(new URL('../../examples/veza.yaml', import.meta.url));
const token = `token-of-the-registry-${randomBytes(8).toString('hex')}`;
const databaseUrl = `postgres://veza:${randomBytes(8).toString('hex')}@db.veza.fr/veza`;
const [first, second] = ['a1a1a1a1', 'b2b2b2b2'] as const;
/** `certificates.domains`. */
const domains = [['staging.veza.fr'], ['veza.fr', 'www.veza.fr'], ['talas.fr', 'www.talas.fr']];
/** The program of each component, as `run` has it. */
const programs = { backend: 'backend-api', stream: 'stream-server', web: 'web' } as const;

let rig: BareProject;
let registry: ArtifactServer;
let names: NameServer;
let pebble: Pebble;
let project: Project;

/** Where visitors come in, packages are had and certificates issued. */
interface Surroundings {
  readonly address: string;
  readonly registry: string;
  readonly authority: Pick<Pebble, 'directory' | 'caFile'>;
}

/** The example, with what cannot be had in a test changed, and nothing else. */
const onThisMachine = (
  yaml: string,
  { address, registry: origin, authority }: Surroundings,
  { image, network, subnet }: Place,
): string =>
  yaml
    // No image server is reached from here, and Debian 13 does not boot on cgroups of version 1.
    .replace('image: images:debian/13', `image: ${image}`)
    // The registry is a server of this machine.
    .replace('https://forgejo.talas.group', origin)
    // Let's Encrypt cannot ask a machine of tests: its own test authority does.
    .replace('ca: letsencrypt', `ca: "${authority.directory}"\n  caFile: ${authority.caFile}`)
    // The machine is somebody's: /etc/veza may be his.
    .replace('/etc/veza/secrets/', 'secrets/')
    // So may port 80 of its other addresses, and the name of a bridge is one of all of Linux.
    .concat(`\nprovision: { listen: ${address}, network: ${network}, subnet: ${subnet} }\n`);

beforeAll(async () => {
  registry = await startArtifactServer({ token, path: '/api/packages/veza/generic' });
  const address = freeLoopbackRange().address(1);
  const nameServer = { address, port: await freePort(address) };
  names = await startNameServer(nameServer.address, nameServer.port);
  for (const name of domains.flat()) names.addresses.set(name, address);
  const nameServers = `${nameServer.address}:${nameServer.port}`;
  pebble = await startPebble({ httpPort: 80, nameServer: nameServers });
  const veza = await readFile(example, 'utf8');
  const surroundings = { address, registry: registry.origin, authority: pebble };
  rig = await startBareProject((_, place) => onThisMachine(veza, surroundings, place), {
    edge: { address, port: 80 },
    env: { BASCULE_NAME_SERVERS: nameServers, VEZA_ARTIFACT_TOKEN: token },
  });
  project = rig.project;
  await mkdir(join(project.directory, 'secrets'));
  await writeFile(join(project.directory, 'secrets/database-url'), `${databaseUrl}\n`, { mode: 0o600 });
  await Promise.all([first, second].map(release));
  await project.startWorker();
});
afterAll(async () => {
  await rig?.stop();
  await Promise.all([registry?.stop(), pebble?.stop(), names?.stop()]);
});

/** Programs that say who they are; the migration notes for whom it ran, and where. */
async function release(sha: string): Promise<void> {
  const { directory } = registry;
  const migrate = `if [ "\${1:-}" = migrate ]; then
  [ -n "$DATABASE_URL" ] && echo "$(id -un) $BASCULE_SHA" >>"$HOME/migrations"
  exit
fi
`;
  await Promise.all(
    Object.entries(programs).map(([component, program]) => {
      const script = `#!/bin/sh\nset -e\n${component === 'backend' ? migrate : ''}exec node server.mjs\n`;
      return makeRelease({ directory, component, sha, files: { [program]: script } });
    }),
  );
}

/** What a command in an instance says. Incus loses a short answer now and then. */
const run = (instance: string, ...argv: readonly string[]) =>
  until(
    `${argv[0]} in ${instance} says something`,
    async () => (await rig.incus('exec', instance, '--', ...argv)) || null,
  );
const visit = (host: string, path = '/') => ask(project.edge, host, path);

/** Who answers, as the demo service says it. */
async function whoAnswers(host: string, path: string): Promise<string> {
  const { status, body } = await visit(host, path);
  if (status !== 200) return String(status);
  const { component, environment, color, sha } = JSON.parse(body) as Record<string, string>;
  return `${environment} ${component} ${color} ${sha}`;
}

async function operate(...args: readonly string[]) {
  const { exitCode, document } = await project.json<unknown>(...args);
  const result = resultSchema.parse(document);
  expect(exitCode, `bascule ${args.join(' ')}: ${result.message}`).toBe(0);
  return result;
}

/** All of prod's pools, each as its visitors come. */
const visitProd = (): Promise<Visitors> =>
  startVisitors({
    target: project.edge,
    maxSeconds: 170,
    streams: [
      { host: 'veza.fr', path: '/', kind: 'keep-alive', perSecond: 10, environment: 'prod' },
      { host: 'www.veza.fr', path: '/', kind: 'new', perSecond: 5, environment: 'prod' },
      { host: 'veza.fr', path: '/api/v1/tracks', kind: 'cookie', perSecond: 10, environment: 'prod' },
      { host: 'veza.fr', path: '/api/v1/tracks', kind: 'new', method: 'POST', perSecond: 5, environment: 'prod' },
      { host: 'veza.fr', path: '/tracks/1/a.m3u8', kind: 'keep-alive', perSecond: 10, environment: 'prod' },
      { host: 'staging.veza.fr', path: '/', kind: 'keep-alive', perSecond: 5, environment: 'staging' },
    ],
  });

async function expectNoneFailed(visitors: Visitors): Promise<void> {
  const { failures, wrongEnvironmentAnswers, sent } = await visitors.stop();
  expect(failures).toEqual([]);
  expect(wrongEnvironmentAnswers).toEqual([]);
  expect(sent).toBeGreaterThan(20);
}

const prodAnswers = (color: string, sha: string) => ({
  backend: `prod backend ${color} ${sha}`,
  stream: `prod stream ${color} ${sha}`,
  web: `prod web ${color} ${sha}`,
});

const lookAtProd = async () => ({
  backend: await whoAnswers('veza.fr', '/api/v1/tracks'),
  stream: await whoAnswers('veza.fr', '/tracks/1/a.m3u8'),
  web: await whoAnswers('www.veza.fr', '/'),
});

test('the example is valid', async () => {
  const { exitCode, stdout, stderr } = await project.bascule('validate');
  expect(exitCode, stdout + stderr).toBe(0);
});

test('provisioning takes the machine to an edge that answers, and again there is nothing to do', async () => {
  const made = await rig.provision();
  expect(made.exitCode, made.message).toBe(0);
  expect(made.changed).toBe(true);
  for (const host of ['veza.fr', 'staging.veza.fr', 'talas.fr', 'www.talas.fr']) {
    expect([host, (await visit(host)).status]).toEqual([host, 503]);
  }
  const again = await rig.provision();
  expect(again).toMatchObject({ exitCode: 0, changed: false });
  expect(again.message).toContain('nothing to do');
});

test('the first releases are deployed to instances that are made for them, with what they need', async () => {
  // The programs are of Node.js, which the image lacks; as an operator may, it is given to all instances by the profile.
  await rig.incus('profile', 'device', 'add', 'bascule', ...nodeDevice);

  await Promise.all([operate('deploy', 'staging', first), operate('deploy', 'prod', first, '--soak', '1s')]);
  expect(await lookAtProd()).toEqual(prodAnswers('green', first));
  expect(await whoAnswers('staging.veza.fr', '/hls/a')).toBe(`staging stream green ${first}`);
  expect(await whoAnswers('staging.veza.fr', '/other')).toBe(`staging web green ${first}`);

  expect(await run('veza-backend-green', 'cat', '/var/lib/veza/backend/migrations')).toBe(`veza-api ${first}`);
  const users = ['backend', 'stream', 'web'].map((component) =>
    run(`veza-${component}-green`, 'ps', '-C', 'node', '-o', 'user:20='),
  );
  expect(await Promise.all(users)).toEqual(['veza-api', 'veza-stream', 'veza-web']);
  expect(await run('veza-web-green', 'sh', '-c', 'grep CapEff "/proc/$(pidof node)/status"')).toMatch(/\b0{13}400$/);
});

test('the next release of prod replaces it, and no request fails', async () => {
  const visitors = await visitProd();
  await operate('deploy', 'prod', second, '--soak', '1s', '--drain', '1s');
  expect(await lookAtProd()).toEqual(prodAnswers('blue', second));
  await expectNoneFailed(visitors);
});

test('the release before serves while an instance is down, and the instance comes back', async () => {
  const { message } = await operate('failover-test', 'prod', 'backend', '--yes');
  expect(message).toContain('was served while veza-backend-blue was down');
  expect(await lookAtProd()).toEqual(prodAnswers('blue', second));
});

test('a rollback serves the release before, and no request fails', async () => {
  const visitors = await visitProd();
  await operate('rollback', 'prod');
  expect(await lookAtProd()).toEqual(prodAnswers('green', first));
  await expectNoneFailed(visitors);
});

test('what the rollback left is cleaned up, and what serves is not', async () => {
  await mustSucceed(project, 'cleanup', 'prod');
  const instances = (await rig.incus('list', '--format', 'csv', '--columns', 'n')).split('\n').toSorted();
  const green = ['', 'staging-'].flatMap((prefix) =>
    Object.keys(programs).map((component) => `veza-${prefix}${component}-green`),
  );
  expect(instances).toEqual([...green, 'veza-haproxy'].toSorted());
  expect(await lookAtProd()).toEqual(prodAnswers('green', first));
});

test('every certificate is obtained, and the edge serves it to who trusts its authority alone', async () => {
  const { exitCode, document } = await project.json<CertificatesResult>('certs', 'issue');
  expect(exitCode, document.message).toBe(0);
  expect(document.warnings).toEqual([]);
  for (const list of domains) {
    for (const name of list) {
      const served = await servedCertificate({ ...project.edge, port: 443 }, name, pebble.issuingRoot);
      expect([name, served?.names]).toEqual([name, list]);
    }
  }
  const status = (await project.json<CertificatesStatus>('certs', 'status')).document;
  expect(status.certificates.map(({ names: of, state }) => [of, state])).toEqual(domains.map((of) => [of, 'valid']));
});

test('hosts with a certificate are served over https, and redirected there but for the challenges', async () => {
  const https = { ...project.edge, port: 443, trusted: [pebble.issuingRoot] };
  expect(JSON.parse((await ask(https, 'staging.veza.fr', '/')).body)).toMatchObject({ sha: first, component: 'web' });
  expect(JSON.parse((await ask(https, 'veza.fr', '/api/v1/me')).body)).toMatchObject({
    sha: first,
    environment: 'prod',
  });
  expect((await ask(https, 'www.talas.fr', '/')).status).toBe(503);
  expect(await visit('staging.veza.fr', '/a?b=c')).toMatchObject({
    status: 308,
    headers: { location: 'https://staging.veza.fr/a?b=c' },
  });
  const challenge = await visit('staging.veza.fr', '/.well-known/acme-challenge/token');
  expect([challenge.status, challenge.body]).toEqual([200, expect.stringMatching(/^token[.]/)]);
});

test('then everything is applied, and doctor finds nothing', async () => {
  const { exitCode, document } = await project.json<{ changed: boolean }>('apply');
  expect([exitCode, document.changed]).toEqual([0, false]);
  expect(await rig.provision()).toMatchObject({ exitCode: 0, changed: false });
  expect(await findingsOf(project)).toEqual([]);
});

test('no secret is in what Temporal keeps', async () => {
  const histories = Object.entries(await readHistories(project.temporal.address));
  expect(histories.length).toBeGreaterThan(10);
  const secrets = [token, databaseUrl, 'PRIVATE KEY'];
  expect(histories.filter(([, text]) => secrets.some((secret) => text.includes(secret)))).toEqual([]);
});
