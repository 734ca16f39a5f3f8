import { getEventListeners } from 'node:events';
import type { Client } from '@temporalio/client';
import { expect, test, vi } from 'vitest';
import { withSignal } from '../../src/client/abortable.js';

/** As Temporal's: each call listens for the signal, for ever. */
function aClient() {
  let signal: AbortSignal | undefined;
  const withAbortSignal = async (given: AbortSignal, ask: () => Promise<unknown>) => {
    signal = given;
    return await ask();
  };
  const call = () => signal?.addEventListener('abort', () => {});
  return { client: { withAbortSignal } as unknown as Client, call, signal: () => signal };
}

test("a signal of the caller's gathers no listener of Temporal's calls, however many there are", async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const { client, call } = aClient();
  const { signal } = new AbortController();
  const calls = async () => {
    for (let count = 0; count < 50; count += 1) call();
    return getEventListeners(signal, 'abort').length;
  };
  expect(await withSignal(client, signal, calls)).toBe(1);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

test('calls end with the signal, by its reason, also where it had ended before', async () => {
  const { client, signal: given } = aClient();
  const controller = new AbortController();
  await withSignal(client, controller.signal, async () => controller.abort('enough'));
  expect(given()?.reason).toBe('enough');
  await withSignal(client, AbortSignal.abort('before'), async () => {});
  expect(given()?.reason).toBe('before');
});
