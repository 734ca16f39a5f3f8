import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { readSecret } from './config/secrets.js';
import type { NotifyConfiguration } from './domain/configuration.js';
import type { Notice } from './domain/notice.js';
import { BasculeError } from './errors.js';

const withinMs = 10_000;
const triesAfterMs = [0, 1_000, 10_000];

/**
 * Tells whom `notify.url` names, as JSON by POST. Tries three times where nobody answers, or answers 5xx or 429.
 *
 * @throws `notice-not-taken` without the URL, which is a secret; `secret-missing`
 */
export async function notify({ url: source }: NotifyConfiguration, notice: Notice): Promise<void> {
  const url = await readSecret(source, 'notify.url');
  let reason = '';
  for (const afterMs of triesAfterMs) {
    await sleep(afterMs, undefined, { ref: false });
    const answered = await post(url, notice);
    if (answered === null) return;
    reason = answered.reason;
    if (!answered.isOfTheMoment) break;
  }
  throw new BasculeError('notice-not-taken', { operation: notice.operation, reason });
}

/** Why it was not taken; null where it was. */
async function post(url: string, notice: Notice): Promise<{ reason: string; isOfTheMoment: boolean } | null> {
  try {
    const { statusCode, body } = await request(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(notice),
      signal: AbortSignal.timeout(withinMs),
    });
    await body.dump();
    if (statusCode < 400) return null;
    return { reason: `it answered ${statusCode}`, isOfTheMoment: statusCode >= 500 || statusCode === 429 };
  } catch (error) {
    // Its message may quote the URL.
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
    return { reason: code, isOfTheMoment: code !== 'UND_ERR_INVALID_ARG' && code !== 'ERR_INVALID_URL' };
  }
}
