import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { temporalServerArguments } from '../../src/temporal-server.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (file: string): Promise<string> => readFile(join(root, file), 'utf8');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-docker-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Service {
  readonly image: string;
  readonly build?: object;
  readonly restart: string;
  /** As docker-compose 1 writes them, and as docker compose 2 does. */
  readonly ports?: readonly (string | { readonly host_ip?: string })[];
  readonly healthcheck?: object;
  readonly environment?: Record<string, string>;
  readonly depends_on?: Record<string, { readonly condition: string }>;
}

/** `docker-compose config` with these lines in .env. */
async function composed(env: readonly string[]) {
  const file = join(folder, 'env');
  await writeFile(file, env.join('\n'));
  const args = ['--file', join(root, 'docker-compose.yml'), '--env-file', file, 'config'];
  return await execa('docker-compose', args, { cwd: folder, reject: false, env: { COMPOSE_PROJECT_NAME: 'bascule' } });
}

describe('docker-compose.yml', () => {
  test('has no default password, and says what to write where', async () => {
    const { exitCode, stderr } = await composed([]);
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('put POSTGRES_PASSWORD=... into .env');
  });

  test('pins its images, checks the health of what stays, and is published on loopback alone', async () => {
    const { exitCode, stdout, stderr } = await composed([
      'POSTGRES_PASSWORD=correct-horse',
      'BASCULE_PROJECT=/srv/shop',
    ]);
    expect(exitCode, stderr).toBe(0);
    const { services } = parse(stdout) as { services: Record<string, Service> };
    expect(Object.keys(services).toSorted()).toEqual([
      ...['postgresql', 'temporal', 'temporal-namespace', 'temporal-schema', 'temporal-ui', 'worker'],
    ]);
    for (const [name, service] of Object.entries(services)) {
      expect(service.image, name).toMatch(/:\d+\.\d+(\.\d+)?(-[a-z]+)?$/);
      for (const port of service.ports ?? [])
        expect(typeof port === 'string' ? port : `${port.host_ip}:`, name).toMatch(/^127\.0\.0\.1:/);
      const stays = service.restart === 'unless-stopped';
      expect(service.healthcheck !== undefined, `${name} has a health check`).toBe(stays);
      for (const [needed, { condition }] of Object.entries(service.depends_on ?? {})) {
        const isHealthy = services[needed]?.restart === 'unless-stopped';
        expect(condition, `${name} on ${needed}`).toBe(
          isHealthy ? 'service_healthy' : 'service_completed_successfully',
        );
      }
    }
    expect(stdout).toContain('/srv/shop');
  });

  test('gives Temporal the dynamic settings of `bascule dev`', async () => {
    const settings = parse(await read('docker/temporal-dynamic-config.yaml')) as Record<string, [{ value: number }]>;
    const args = temporalServerArguments({ port: 1, uiPort: null, dbFile: '' });
    const ofDev = args.filter((_, index) => args[index - 1] === '--dynamic-config-value');
    expect(Object.entries(settings).map(([name, [{ value }]]) => `${name}=${value}`)).toEqual(ofDev);
  });
});

/** The instructions of the Dockerfile, each with its stage; a continued line is one. */
async function instructions() {
  const lines = (await read('Dockerfile')).replaceAll(/\\\n\s*/g, '').split('\n');
  let stage = '';
  return lines
    .filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => {
      const [word = '', ...rest] = line.split(/\s+/);
      if (word === 'FROM') stage = rest[2] ?? 'final';
      return { stage, word, rest };
    });
}

describe('Dockerfile', () => {
  test('its steps, but those of apt-get, make in a plain folder a worker with a project to run', {
    timeout: 120_000,
  }, async () => {
    const at = (stage: string, path: string): string => join(folder, stage, path);
    const isThere = new Set((await read('.dockerignore')).split('\n').map((line) => line.replace(/^!/, '')));
    const left: string[] = [];
    const workdir: Record<string, string> = {};
    for (const { stage, word, rest } of await instructions()) {
      const cwd = at(stage, workdir[stage] ?? '/');
      await mkdir(cwd, { recursive: true });
      if (word === 'WORKDIR') workdir[stage] = rest[0] ?? '';
      else if (word === 'COPY') {
        const from = /^--from=(.+)$/.exec(rest[0] ?? '')?.[1];
        const sources = rest.slice(from === undefined ? 0 : 1, -1);
        for (const source of sources) {
          // Else it would not be in what the builder is sent.
          if (from === undefined) expect(isThere).toContain(source);
          const origin = from === undefined ? join(root, source) : at(from, source);
          const target = rest.at(-1) ?? '';
          const to = resolve(cwd, target);
          await cp(origin, target.endsWith('/') ? join(to, origin.slice(dirname(origin).length)) : to, {
            recursive: true,
          });
        }
      } else if (word === 'RUN' && rest[0] !== 'apt-get' && rest[0] !== 'chown') {
        await execa({
          cwd,
          shell: true,
        })`${rest.map((part) => (part.startsWith('/') ? at(stage, part) : part)).join(' ')}`;
      } else if (word !== 'FROM') left.push(`${word} ${rest.join(' ')}`);
    }
    expect(left.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      ...['RUN apt-get', 'RUN chown', 'ENV PATH=/opt/bascule/bin:$PATH', 'USER node'],
      ...['ENTRYPOINT ["bascule"]', 'CMD ["worker",'],
    ]);
    const bascule = (...args: readonly string[]) =>
      execa(at('final', '/opt/bascule/bin/bascule'), args, { cwd: at('final', '/project'), reject: false });
    expect(await bascule('--version')).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/\d+\.\d+\.\d+/) });
    expect(await bascule('validate')).toMatchObject({ exitCode: 0 });
    // That its worker starts here shows that nothing which it needs was left out: it comes as far as Temporal.
    const worker = await execa(at('final', '/opt/bascule/bin/bascule'), ['worker'], {
      ...{ cwd: at('final', '/project'), reject: false, timeout: 30_000, env: { TEMPORAL_ADDRESS: '127.0.0.1:1' } },
    });
    expect(worker).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('127.0.0.1:1') });
  });
});
