import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CertificatesResult } from '../../src/domain/issuance.js';
import { mustSucceed, say } from '../rig/chaos.js';
import { type HttpsProject, startHttpsProject } from '../rig/https-project.js';

/** How many are obtained at a time, of other names each time. */
const counts = [1, 10, 50];
const namesOf = (count: number) => Array.from({ length: count }, (_, index) => `site-${index}-of-${count}.test`);

let https: HttpsProject;

beforeAll(async () => {
  https = await startHttpsProject(
    counts.flatMap(namesOf).map((name) => [name]),
    // It refuses some good nonces, as it comes; what it would wait for nobody learns from.
    { environment: { PEBBLE_WFE_NONCEREJECT: '5' } },
  );
  await https.project.startWorker();
  await mustSucceed(https.project, 'apply', '--skip-certificates');
});
afterAll(async () => await https?.stop());

test.each(counts)('%i of them are obtained side by side, and each is served for its name', async (count) => {
  const names = namesOf(count);
  const before = https.pebble.orders();
  const { exitCode, document } = await https.project.json<CertificatesResult>('certs', 'issue', ...names);
  expect([exitCode, document.message]).toEqual([0, expect.stringContaining('served')]);
  expect(https.pebble.orders() - before).toBe(count);
  const served = await Promise.all(names.map(https.served));
  expect(served.map((one) => one?.names)).toEqual(names.map((name) => [name]));
  const reloads = new Set(document.certificates.map(({ generation }) => generation)).size;
  say(`${count} certificates in ${document.durationMs} ms, ${reloads} reloads`);
  // Those that wait are installed together.
  if (count > 1) expect(reloads).toBeLessThan(count);
});
