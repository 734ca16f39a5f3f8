import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { endingSchema, resultSchema, statusSchema } from '../../src/cli/output-schema.js';
import { type App, startApp } from '../rig/app.js';
import { ask } from '../rig/ask.js';
import { writeCertificates } from '../rig/certificates.js';
import { freePort } from '../rig/ports.js';
import { type Project, startProject } from '../rig/project.js';

const [first, second] = ['a1a1a1a1', 'b2b2b2b2'];

describe('an edge with https, a site of somebody else and lines of the operator', () => {
  let project: Project;
  let port: number;
  let authorities: readonly string[];

  beforeAll(async () => {
    port = await freePort();
    project = await startProject({
      configure: (yaml) =>
        `${yaml.replace(/^ {2}http: .*$/m, `$&\n  https: 127.0.0.1:${port}\n  errors: { 503: sorry.html }\n  extra: { frontend: front.cfg }`)}
external:
  soon: { hosts: [soon.localhost], respond: 503 }
`,
    });
    await writeFile(join(project.directory, 'sorry.html'), `It's "us", not you: $HOME\n`);
    await writeFile(join(project.directory, 'front.cfg'), 'http-response set-header X-Operator first\n');
    await Promise.all([first, second].map((sha) => project.releaseAll(sha)));
    await project.startWorker();
    await succeed('apply');
  });
  afterAll(async () => await project?.stop());

  it('starts without a certificate, deploys and switches all the same', async () => {
    await succeed('deploy', 'prod', first, '--soak', '0s');
    await succeed('deploy', 'prod', second, '--soak', '0s');
    expect((await ask(project.edge, 'localhost', '/')).status).toBe(308);
    await expect(visit('localhost', '/')).rejects.toThrow();
  });

  it('serves the release over https once there is a certificate and HAProxy was reloaded', async () => {
    const certificates = join(project.directory, '.bascule/edge/certificates');
    authorities = await writeCertificates(certificates, [
      ['localhost', 'prod.localhost', 'staging.localhost', 'soon.localhost'],
    ]);
    await succeed('deploy', 'prod', first, '--soak', '0s');
    const answer = await visit('localhost', '/');
    expect(answer).toMatchObject({ status: 200, operator: 'first' });
    expect(JSON.parse(answer.body)).toMatchObject({ sha: first, environment: 'prod' });
    expect(await visit('soon.localhost', '/')).toMatchObject({
      status: 503,
      body: expect.stringContaining('nothing here yet'),
    });
    expect(await visit('staging.localhost', '/')).toMatchObject({ status: 503, body: `It's "us", not you: $HOME\n` });
  });

  it('gets a changed line of the operator by apply, which shows it first', async () => {
    await writeFile(join(project.directory, 'front.cfg'), 'http-response set-header X-Operator second\n');
    expect(statusSchema.parse((await project.json<unknown>('status')).document).isConfigurationApplied).toBe(false);
    const { stdout } = await project.bascule('apply', '--dry-run');
    expect(stdout).toMatch(/^-http-response set-header X-Operator first$/m);
    expect(stdout).toMatch(/^\+http-response set-header X-Operator second$/m);
    await succeed('apply');
    expect(await visit('localhost', '/')).toMatchObject({ operator: 'second' });
  });

  it('refuses a line that HAProxy does not know, quotes it, and goes on as before', async () => {
    await writeFile(join(project.directory, 'front.cfg'), 'http-response set-haeder X-Operator third\n');
    const { exitCode, document } = await project.json<unknown>('apply');
    const { code, message } = resultSchema.parse(document);
    expect({ exitCode, code }).toEqual({ exitCode: 1, code: 'haproxy-refused' });
    expect(message).toMatch(/line \d+: http-response set-haeder X-Operator third/);
    expect(await visit('localhost', '/')).toMatchObject({ status: 200, operator: 'second' });
  });

  async function succeed(...args: readonly string[]): Promise<void> {
    const { exitCode, stdout, stderr } = await project.bascule(...args);
    expect(exitCode, `${stderr}\n${stdout}`).toBe(0);
  }

  /** As a client that trusts only the edge's own certificates. */
  async function visit(host: string, path: string) {
    return await new Promise<{ status: number; body: string; operator: unknown }>((resolve, reject) => {
      const asking = request({
        host: '127.0.0.1',
        port,
        path,
        servername: host,
        headers: { Host: host },
        ca: [...(authorities ?? [])],
        agent: false,
        timeout: 10_000,
      });
      asking.on('timeout', () => asking.destroy(new Error('no answer within 10 s')));
      asking.on('error', reject);
      asking.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString(),
            operator: response.headers['x-operator'],
          }),
        );
      });
      asking.end();
    });
  }
});

describe('instances side by side (multi-instance)', () => {
  let project: Project;
  const apps = new Map<string, App>();

  beforeAll(async () => {
    const port = await freePort();
    project = await startProject({
      configure: (yaml) => {
        const [, http] = / http: (\S+)/.exec(yaml) ?? [];
        const [, addresses] = / addresses: (\S+)/.exec(yaml) ?? [];
        return `version: 1
project: lab
edge: { http: "${http}" }
topology: multi-instance
components:
  api:
    port: ${port}
    instances: [api-1, api-2]
    health: { path: /health, interval: 100ms }
    balance: { cookie: SERVERID }
instances: { addresses: ${addresses} }
`;
      },
    });
    await project.startWorker();
    const { exitCode, stderr } = await project.bascule('apply');
    expect(exitCode, stderr).toBe(0);
    const addresses = JSON.parse(await readFile(join(project.directory, '.bascule/addresses.json'), 'utf8')) as Record<
      string,
      { address: string; port: number }
    >;
    for (const [name, place] of Object.entries(addresses))
      apps.set(name, await startApp(place.address, place.port, name));
  });
  afterAll(async () => {
    await Promise.all([...apps.values()].map((app) => app.stop()));
    await project?.stop();
  });

  const health = async () => {
    const [only] = statusSchema.parse((await project.json<unknown>('status')).document).environments;
    return only?.colors === null ? only.instances.map(({ instance, health: seen }) => `${instance} ${seen}`) : [];
  };

  it('are shown in status as the edge sees them', async () => {
    await vi.waitFor(async () => expect(await health()).toEqual(['api-1 UP L7OK', 'api-2 UP L7OK']), {
      timeout: 20_000,
      interval: 200,
    });
    expect((await project.bascule('status')).stdout).toMatch(
      /default {2}every host\n {2}api +api-1 +127\.\S+ +UP L7OK/,
    );
  });

  it('keep a visitor with the one that the cookie names, and take over when it dies', async () => {
    const visit = await ask(project.edge, 'any.test', '/');
    const [cookie = ''] = visit.headers['set-cookie'] ?? [];
    const visitor = { Cookie: cookie.split(';')[0] ?? '' };
    for (let request = 0; request < 5; request += 1) {
      expect((await ask(project.edge, 'any.test', '/', visitor)).body).toBe(visit.body);
    }
    await apps.get(visit.body)?.stop();
    const other = visit.body === 'api-1' ? 'api-2' : 'api-1';
    for (let request = 0; request < 5; request += 1) {
      expect(await ask(project.edge, 'any.test', '/', visitor)).toMatchObject({ status: 200, body: other });
    }
  });

  it.each(['deploy default 1234567', 'rollback', 'switch green', 'cleanup', 'history'])(
    'have nothing to do with bascule %s, which says so',
    async (command) => {
      const { exitCode, document } = await project.json<unknown>(...command.split(' '));
      expect(exitCode).toBe(2);
      expect(endingSchema.parse(document)).toMatchObject({
        code: 'unknown-environment',
        remedy: expect.stringContaining('`bascule apply` and `bascule status` are for it'),
      });
    },
  );
});
