import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeCertificates, writeIssuedCertificates } from '../rig/certificates.js';
import type { CommandResult } from '../rig/command.js';
import { type Haproxy, haproxyPlaces, startHaproxy } from '../rig/haproxy.js';
import { freePort } from '../rig/ports.js';
import { type Project, startProject } from '../rig/project.js';

// A Temporal that others reach as well: it wants a certificate of whoever connects, and a key with each call.

const apiKey = 'canary-api-key-90d2f7';

let proxy: Haproxy;
let project: Project;

beforeAll(async () => {
  const places = await haproxyPlaces();
  await writeIssuedCertificates(places.folder, 'authority.example', ['temporal.example', 'worker.example']);
  await writeCertificates(places.folder, [['stranger.example']]);
  const port = await freePort();
  const pem = (name: string) => join(places.folder, `${name}.example.pem`);
  project = await startProject({
    env: {
      TEMPORAL_ADDRESS: `127.0.0.1:${port}`,
      TEMPORAL_API_KEY: apiKey,
      TEMPORAL_TLS_SERVER_NAME: 'temporal.example',
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: pem('authority'),
      TEMPORAL_TLS_CLIENT_CERT_PATH: pem('worker'),
      TEMPORAL_TLS_CLIENT_KEY_PATH: pem('worker'),
    },
  });
  proxy = await startHaproxy(
    places,
    `global
  stats socket ${places.socket} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 2m
  timeout server 2m
frontend guarded
  bind 127.0.0.1:${port} ssl crt ${pem('temporal')} ca-file ${pem('authority')} verify required alpn h2
  http-request return status 200 hdr content-type application/grpc hdr grpc-status 16 unless { req.hdr(authorization) -m str "Bearer ${apiKey}" }
  default_backend temporal
backend temporal
  server temporal ${project.temporal.address} proto h2
`,
  );
});
afterAll(async () => {
  await project.stop();
  await proxy.stop();
});

/** The command as somebody types it whose environment is another one. */
function withEnvironment(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<CommandResult> {
  const own = { ...project.env };
  Object.assign(project.env, env);
  const { ended } = project.start(...args);
  Object.assign(project.env, own);
  return ended;
}

test('command and worker show their certificate and their key, as TEMPORAL_* says', async () => {
  await project.releaseAll('a1a1a1a1');
  await project.startWorker();
  expect((await project.bascule('apply')).exitCode).toBe(0);
  expect((await project.bascule('deploy', 'prod', 'a1a1a1a1', '--soak', '0s')).exitCode).toBe(0);
});

test('whoever shows none that is known gets nowhere, and is told', async () => {
  const cases = [
    [strangersCertificate(), 5, 'does not answer at'],
    [{ TEMPORAL_TLS_SERVER_NAME: 'other.example' }, 5, 'does not answer at'],
    [{ TEMPORAL_API_KEY: 'canary-wrong-key' }, 5, 'does not let this one in'],
    [{ TEMPORAL_TLS_CLIENT_CERT_PATH: '/nowhere.pem' }, 2, "no such file or directory, open '/nowhere.pem'"],
  ] as const;
  const expectAnswer = async (...[env, exitCode, said, command]: [...(typeof cases)[number], string[]]) => {
    const { stdout, ...answer } = await withEnvironment(env, ...command, '--verbose');
    expect(answer).toEqual({ exitCode, stderr: expect.stringContaining(said) });
    expect(answer.stderr + stdout).not.toContain('canary');
  };
  await project.stopWorker();
  const workers = async () => {
    for (const one of cases.slice(2)) await expectAnswer(...one, ['worker']);
  };
  await Promise.all([workers(), ...cases.map((one) => expectAnswer(...one, ['deploy', 'prod', 'b2b2b2b2']))]);
});

function strangersCertificate() {
  const pem = join(proxy.folder, 'stranger.example.pem');
  return { TEMPORAL_TLS_CLIENT_CERT_PATH: pem, TEMPORAL_TLS_CLIENT_KEY_PATH: pem };
}

test('the key is in no log', async () => {
  expect(await project.workerLog()).not.toContain('canary');
});
