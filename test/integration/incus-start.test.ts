import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { IncusClient } from '../../src/hosts/incus-client.js';

// A daemon whose starts hang takes a kernel without keys, which all of the machine would lack: this one only says so.

let folder: string;
let server: Server;
/** What it answers to a start, one after the other; the last one again and again. */
let answers: readonly ('hangs' | 'busy' | 'already running' | 'starts')[];
const waits: string[] = [];
const operation = (status: number) => ({ id: 'one', status_code: status, err: '', metadata: null });
const errors = {
  busy: 'Instance is busy running a "start" operation',
  'already running': 'The instance is already running',
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-incus-start-'));
  let last: (typeof answers)[number] = 'starts';
  server = createServer((request, response) => {
    const say = (answer: object) => response.end(JSON.stringify(answer));
    if (request.url?.includes('/operations/')) {
      waits.push(new URL(request.url, 'http://incus').searchParams.get('timeout') ?? '');
      return say({ type: 'sync', metadata: operation(last === 'hangs' ? 103 : 200) });
    }
    [last = last, ...answers] = answers;
    if (last === 'hangs' || last === 'starts') return say({ type: 'async', metadata: operation(103) });
    return say({ type: 'error', error: errors[last], error_code: 400, metadata: null });
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 'unix.socket'), resolve));
});
beforeEach(() => {
  vi.stubEnv('INCUS_SOCKET', join(folder, 'unix.socket'));
  return () => vi.unstubAllEnvs();
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

const start = async () => {
  const client = new IncusClient({ instance: 'shop-web-blue' });
  await client.start().finally(() => client.close());
};

test('a start that does not end is told apart, with where to look', async () => {
  answers = ['hangs'];
  await expect(start()).rejects.toMatchObject({
    code: 'incus-start-hangs',
    isRetryable: false,
    message: expect.stringContaining('has not started instance shop-web-blue'),
    remedy: expect.stringContaining('kernel.keys.maxkeys'),
  });
  expect(Number(waits.at(-1))).toBeGreaterThan(0);
});

test('one that somebody else has begun is waited for', async () => {
  answers = ['busy', 'already running'];
  await start();
  answers = ['busy', 'starts'];
  await start();
});
