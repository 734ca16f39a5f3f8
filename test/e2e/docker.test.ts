import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  /** What `up` starts has none. */
  readonly profiles?: readonly string[];
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
    const started = Object.keys(services).filter((name) => services[name]?.profiles === undefined);
    expect(started.toSorted()).toEqual([
      ...['postgresql', 'temporal', 'temporal-namespace', 'temporal-schema', 'worker'],
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
    const settings = parse(await read('docker/temporal-dynamic-config.yaml')) as Record<string, [{ value: unknown }]>;
    const args = temporalServerArguments({ port: 1, ui: null, dbFile: '' });
    const ofDev = args.filter((_, index) => args[index - 1] === '--dynamic-config-value');
    expect(Object.entries(settings).map(([name, [{ value }]]) => `${name}=${JSON.stringify(value)}`)).toEqual(ofDev);
  });
});

describe('Dockerfile', () => {
  test('copies nothing that the builder is not sent', async () => {
    const sent = (await read('.dockerignore')).split('\n').map((line) => line.replace(/^!/, ''));
    const copied = (await read('Dockerfile'))
      .split('\n')
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(/\s+/).slice(1, -1));
    expect(copied).toContain('src');
    for (const path of copied) {
      expect(sent).toContain(path);
      await access(join(root, path));
    }
  });
});
