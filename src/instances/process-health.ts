import { request } from 'undici';
import type { HealthAnswer, HealthRequest } from './driver.js';

/** How long one answer may take. */
const answerWithinMs = 5_000;

/** Asks an instance for its health: 2xx and 3xx are healthy. `detail` is the status, or why there is none. Never throws. */
export async function checkHealth(
  { address, port }: { address: string; port: number },
  { path, host }: HealthRequest,
  signal?: AbortSignal,
): Promise<HealthAnswer> {
  const timeout = AbortSignal.timeout(answerWithinMs);
  try {
    const { statusCode, body } = await request(`http://${address}:${port}${path}`, {
      reset: true,
      headers: { host },
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    await body.dump();
    return { isHealthy: statusCode >= 200 && statusCode < 400, detail: String(statusCode) };
  } catch (error) {
    if (timeout.aborted) return { isHealthy: false, detail: `no answer within ${answerWithinMs / 1_000} s` };
    const { code, message } = error as NodeJS.ErrnoException;
    return { isHealthy: false, detail: code ?? message };
  }
}
