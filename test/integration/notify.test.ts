import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { noticeOf } from '../../src/domain/notice.js';
import { notify } from '../../src/notify.js';
import { type Listener, startListener } from '../rig/app.js';

const notice = noticeOf({
  ...{ operation: 'shop/prod/deploy/7', environment: 'prod', kind: 'deploy', outcome: 'succeeded', changed: true },
  ...{ code: null, message: 'prod serves abcdef0 (green)', remedy: null },
} as const);
if (!notice) throw new Error('a deploy is told');
const configuration = { url: { env: 'BASCULE_TEST_NOTIFY_URL' } };

let listener: Listener;
beforeAll(async () => {
  listener = await startListener();
  vi.stubEnv('BASCULE_TEST_NOTIFY_URL', listener.url);
});
afterAll(() => {
  listener?.stop();
  vi.unstubAllEnvs();
});

test('who is out of order is told again', async () => {
  listener.answer(503);
  await notify(configuration, notice);
  expect(listener.heard).toEqual([notice, notice]);
});

test('who refuses is not, and the error does not hold the URL', async () => {
  const before = listener.heard.length;
  listener.answer(404);
  const error = await notify(configuration, notice).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'notice-not-taken', message: expect.stringContaining('it answered 404') });
  expect(listener.heard.length).toBe(before + 1);
  vi.stubEnv('BASCULE_TEST_NOTIFY_URL', 'no-url/secret-of-the-hook');
  const unusable = await notify(configuration, notice).catch((thrown) => thrown);
  expect(unusable.code).toBe('notice-not-taken');
  expect(`${unusable.message} ${unusable.remedy} ${unusable.stack}`).not.toContain('secret-of-the-hook');
});
