import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ReleaseLine } from '../../src/domain/rolling.js';
import type { Edge } from '../../src/haproxy/edge.js';
import { readReleases, recordReleases } from '../../src/haproxy/releases.js';
import { LocalHost } from '../../src/hosts/local.js';
import { admitInstance, claimInstance, reserveInstance, retakeInstance } from '../../src/instances/claims.js';
import { type Instance, instanceFiles, readProcess } from '../../src/instances/record.js';

const [before, deploy] = ['lab/default/deploy/1@a', 'lab/default/deploy/2@b'];
const [drain, undo] = [`${deploy}/drain`, `${deploy}/undo/drain`];
const fenced = { code: 'instance-fenced' };

let folder: string;
let instance: Instance;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-'));
  instance = {
    ...{ host: new LocalHost(), name: 'api-1', environment: 'default', component: 'api', color: null },
    ...{ address: '127.0.0.1', port: 1, directory: folder, edgeConfig: null },
  };
  await hold(`owner=${before}\nwanted=running\nproven=yes\n`);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function hold(record: string): Promise<void> {
  await mkdir(instanceFiles(instance).folder, { recursive: true });
  await writeFile(instanceFiles(instance).record, record);
}

const look = async () => {
  const { owner, wanted, isDrained } = await readProcess(instance);
  return { owner, wanted, isDrained };
};

describe('an instance side by side', () => {
  test('is taken while it serves, and goes on running', async () => {
    await reserveInstance(instance, { expected: before, owner: drain });
    expect(await look()).toEqual({ owner: drain, wanted: 'running', isDrained: true });
    await reserveInstance(instance, { expected: before, owner: drain });
    await claimInstance(instance, { expected: drain, owner: deploy });
    expect(await look()).toEqual({ owner: deploy, wanted: 'stopped', isDrained: true });
  });

  test('is not drained for who comes late, when it was stopped, replaced, or is another operation’s', async () => {
    await reserveInstance(instance, { expected: before, owner: drain });
    await claimInstance(instance, { expected: drain, owner: deploy });
    await expect(reserveInstance(instance, { expected: before, owner: drain })).rejects.toMatchObject(fenced);
    await hold('owner=lab/default/deploy/3@c\nwanted=running\nproven=yes\n');
    const held = await readFile(instanceFiles(instance).record, 'utf8');
    await expect(reserveInstance(instance, { expected: before, owner: drain })).rejects.toMatchObject(fenced);
    await expect(admitInstance(instance, deploy)).rejects.toMatchObject(fenced);
    await expect(
      retakeInstance(instance, { expected: before, owner: undo, claims: [deploy, drain] }),
    ).rejects.toMatchObject(fenced);
    expect(await readFile(instanceFiles(instance).record, 'utf8')).toBe(held);
  });

  test('has visitors again only where it runs and was healthy', async () => {
    await hold(`owner=${deploy}\nwanted=running\nproven=no\ntraffic=drained\n`);
    await expect(admitInstance(instance, deploy)).rejects.toMatchObject(fenced);
    await hold(`owner=${deploy}\nwanted=running\nproven=yes\ntraffic=drained\n`);
    await admitInstance(instance, deploy);
    expect(await look()).toEqual({ owner: deploy, wanted: 'running', isDrained: false });
  });

  test.each([drain, deploy])('is drained again by a take-back that finds it with %s', async (claim) => {
    await hold(`owner=${claim}\nwanted=running\nproven=yes\ntraffic=admitted\n`);
    await retakeInstance(instance, { expected: before, owner: undo, claims: [deploy, drain] });
    expect(await look()).toEqual({ owner: undo, wanted: 'running', isDrained: true });
    await expect(admitInstance(instance, deploy)).rejects.toMatchObject(fenced);
  });

  test('serves on where a take-back finds that nobody came to it, and is kept from who was about to', async () => {
    const take = { expected: before, owner: undo, claims: [deploy, drain] };
    await retakeInstance(instance, take);
    expect(await look()).toEqual({ owner: undo, wanted: 'running', isDrained: false });
    await retakeInstance(instance, take);
    expect((await look()).isDrained).toBe(false);
    await expect(reserveInstance(instance, { expected: before, owner: drain })).rejects.toMatchObject(fenced);
  });
});

describe('the releases of instances side by side', () => {
  const lines = (...shas: readonly string[]): readonly ReleaseLine[] =>
    shas.map((sha) => ({ at: '2026-01-01T00:00:00.000Z', sha }));
  const edge = (): Edge => ({
    host: new LocalHost(),
    project: 'lab',
    configuration: {
      ...{ name: 'local', host: { driver: 'local' }, manage: true, http: { address: '127.0.0.1', port: 1 } },
      files: {
        ...{ config: join(folder, 'edge/haproxy.cfg'), state: join(folder, 'state') },
        ...{ certificates: folder, socket: join(folder, 'socket'), masterSocket: join(folder, 'master') },
      },
      ...{ httpKeepAliveMs: 5_000, hardStopAfterMs: 60_000 },
    },
  });
  const record = (owner: string, expected: readonly (string | null)[], ...shas: readonly string[]) =>
    recordReleases(edge(), { environment: 'default', owner, expected, lines: lines(...shas) });

  test('are written by who found the one before, once, and taken back', async () => {
    await record(before, [null], 'aaaaaaa');
    await record(deploy, [before], 'bbbbbbb', 'aaaaaaa');
    await record(deploy, [before], 'ccccccc');
    expect(await readReleases(edge(), 'default')).toEqual({ owner: deploy, lines: lines('bbbbbbb', 'aaaaaaa') });
    await record(undo, [deploy, before], 'aaaaaaa');
    expect(await readReleases(edge(), 'default')).toEqual({ owner: undo, lines: lines('aaaaaaa') });
  });

  test('are not written by who comes late', async () => {
    await record(before, [null], 'aaaaaaa');
    await record(undo, [deploy, before], 'aaaaaaa');
    await expect(record(deploy, [before], 'bbbbbbb')).rejects.toMatchObject({ code: 'edge-claimed' });
    expect((await readReleases(edge(), 'default')).lines).toEqual(lines('aaaaaaa'));
  });

  test('that are damaged are named, with the file', async () => {
    await record(before, [null], 'aaaaaaa');
    const file = join(folder, 'state/releases-default');
    await writeFile(file, 'yesterday\n');
    await expect(readReleases(edge(), 'default')).rejects.toMatchObject({
      code: 'edge-state-unreadable',
      message: expect.stringContaining(file),
    });
  });
});
