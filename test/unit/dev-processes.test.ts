import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { BackgroundProcess } from '../../src/cli/background.js';
import { SupervisedProcess } from '../../src/cli/supervised.js';
import { ownerOf } from '../../src/cli/temporal-owner.js';
import { BasculeError } from '../../src/errors.js';
import { temporalServerArguments } from '../../src/temporal-server.js';

// Only the global timers are faked.
vi.mock('node:timers/promises', () => ({
  setTimeout: (ms: number) => new Promise((resolve) => void setTimeout(resolve, ms)),
}));
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A process that ends when it is told to. */
function makeProcess() {
  let end = (_: string): void => {};
  const ended = new Promise<string>((resolve) => {
    end = resolve;
  });
  const stop = vi.fn(async () => end('by SIGTERM'));
  const process: BackgroundProcess = { log: 'x.log', pid: 1, ended, how: null, lastLines: async () => ['last'], stop };
  return { process, end: () => end('by SIGKILL'), stop };
}

async function supervise() {
  const started: ReturnType<typeof makeProcess>[] = [];
  const said: string[] = [];
  const supervised = await SupervisedProcess.start({
    what: 'the worker',
    start: async () => {
      started.push(makeProcess());
      return started.at(-1)?.process as BackgroundProcess;
    },
    failure: async ({ log, lastLines }, how) =>
      new BasculeError('worker-ended', { log, how, lines: await lastLines() }),
    onRestart: async (text) => void said.push(text),
  });
  return { supervised, started, said };
}

test('a process that was killed is started again, which is said; one that is stopped is not', async () => {
  const { supervised, started, said } = await supervise();
  const keeping = supervised.keepRunning();
  started[0]?.end();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(started).toHaveLength(2);
  expect(said).toEqual(['the worker ended (by SIGKILL) and was started again; its log is x.log']);
  await supervised.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(started).toHaveLength(2);
  expect(started[1]?.stop).toHaveBeenCalled();
  expect(await Promise.race([keeping, Promise.resolve('pending')])).toBe('pending');
});

test('one that ends again and again is given up after five restarts within a minute, and says why it ended', async () => {
  const { supervised, started } = await supervise();
  const keeping = supervised.keepRunning().catch((error: unknown) => error);
  for (let ends = 0; ends < 6; ends += 1) {
    started.at(-1)?.end();
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(started).toHaveLength(6);
  expect(await keeping).toMatchObject({ code: 'worker-ended', args: { how: 'by SIGKILL', lines: ['last'] } });
});

test('one that ends now and then is never given up', async () => {
  const { supervised, started } = await supervise();
  void supervised.keepRunning();
  for (let ends = 0; ends < 20; ends += 1) {
    started.at(-1)?.end();
    await vi.advanceTimersByTimeAsync(20_000);
  }
  expect(started).toHaveLength(21);
});

test.each([
  ['/srv/shop/.bascule/temporal.db', '`bascule dev` in /srv/shop'],
  ['/var/lib/bascule-shop/temporal.db', 'the unit bascule-shop-temporal.service'],
  ['/tmp/x/t.db', 'a server with its database in /tmp/x'],
])("Temporal's dev server with its database at %s is known as %s", (dbFile, name) => {
  const commandLine = ['temporal', ...temporalServerArguments({ port: 7233, ui: null, dbFile })];
  expect(ownerOf(12, commandLine, 7233)).toEqual({ name, pid: 12, dbFile });
  expect(ownerOf(12, commandLine, 7234)).toBeNull();
});
