import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Configuration } from '../../src/domain/configuration.js';
import { identityOf } from '../../src/hosts/process-identity.js';
import { acquireLease, type Lease, type LeaseFile } from '../../src/worker-lease.js';
import { appliedConfiguration } from '../rig/applied.js';

const hourMs = 3_600_000;

let folder = '';
let other: ChildProcess;
let lease: Lease | null = null;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-lease-'));
  other = spawn('sleep', ['1000'], { stdio: 'ignore' });
});
afterEach(async () => {
  vi.useRealTimers();
  await lease?.release();
  lease = null;
  other.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

const file = () => join(folder, '.bascule', 'worker.lease');
const read = async () => JSON.parse(await readFile(file(), 'utf8')) as LeaseFile;

function acquire(): Promise<Lease> {
  const { configuration } = appliedConfiguration({ environments: [], components: [] });
  const instances = { ...configuration.instances, addressBook: join(folder, '.bascule', 'addresses.json') };
  return acquireLease({ ...configuration, instances } as Configuration);
}

/** The lease of another worker that lives, renewed so long ago by the machine, while the time of day says something else. */
async function writeOther(renewed: { agoMs: number; clockSetMs: number }): Promise<void> {
  const identity = await identityOf(other.pid ?? 0);
  const uptimeMs = Number(process.hrtime.bigint() / 1_000_000n);
  const content = {
    ...identity,
    id: 'other',
    host: hostname(),
    renewedAt: new Date(Date.now() - renewed.agoMs - renewed.clockSetMs).toISOString(),
    renewedUptimeMs: uptimeMs - renewed.agoMs,
  };
  await mkdir(join(folder, '.bascule'), { recursive: true });
  await writeFile(file(), JSON.stringify(content));
}

describe('when the clock was set', () => {
  test.each([
    ['back', -hourMs],
    ['forward', hourMs],
  ])('%s an hour, a lease that is renewed is held', async (_, clockSetMs) => {
    await writeOther({ agoMs: 5_000, clockSetMs });
    await expect(acquire()).rejects.toMatchObject({ code: 'worker-running' });
  });

  test('back an hour, the lease of a worker that stopped renewing it is taken over', async () => {
    await writeOther({ agoMs: 31_000, clockSetMs: -hourMs });
    lease = await acquire();
    expect((await read()).pid).toBe(process.pid);
  });
});

test('a lease whose folder was deleted is there again, and the worker keeps it', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  lease = await acquire();
  const lost = vi.fn();
  void lease.lost.then(lost);
  await rm(join(folder, '.bascule'), { recursive: true });
  vi.advanceTimersByTime(5_000);
  await expect.poll(() => existsSync(file())).toBe(true);
  expect(lost).not.toHaveBeenCalled();
});
