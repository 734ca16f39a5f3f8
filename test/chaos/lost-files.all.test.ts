import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from '../rig/ask.js';
import { mustSucceed, until } from '../rig/chaos.js';
import { environmentOf } from '../rig/environment-view.js';
import { type HttpsProject, startHttpsProject } from '../rig/https-project.js';

// The lines of docs/survival.md about files: each is removed under what serves, and what is to be typed is typed.

const sha = 'abcdef0';
let https: HttpsProject;
const folder = (...parts: readonly string[]) => join(https.project.directory, '.bascule', ...parts);
const run = async (...args: readonly string[]) => await https.project.bascule(...args);
const visit = async (host: string) => (await ask(https.project.edge, host, '/')).status;
const serves = async () => await visit('prod.localhost');
/** How much `doctor` finds, but that a test runs as root. */
const doctor = async () => {
  const lines = (await run('doctor')).stdout.split('\n').filter((line) => line.startsWith('✘'));
  return lines.filter((line) => !line.includes('runs as root')).length;
};

beforeAll(async () => {
  https = await startHttpsProject([['shop.test']]);
  await https.project.releaseAll(sha);
  await https.project.startWorker();
  await mustSucceed(https.project, 'apply');
  await mustSucceed(https.project, 'deploy', 'prod', sha);
});
afterAll(async () => await https?.stop());

/** What a deploy says, and what it says after what is to be typed; both while visitors are served. */
async function lose(files: readonly string[], ...typed: readonly (readonly string[])[]) {
  for (const file of files) await rm(file);
  const lost = await serves();
  const first = await run('deploy', 'prod', sha, '--again');
  for (const args of typed) await mustSucceed(https.project, ...args);
  const again = await run('deploy', 'prod', sha, '--again');
  const environment = environmentOf(await https.project.look(), 'prod');
  return {
    ...{ lost, deploy: first.exitCode, again: again.exitCode, serves: await serves() },
    ...{ sha: environment.sha, doctor: await doctor() },
  };
}

const repair = ['apply', '--repair'];
const fine = { lost: 200, again: 0, serves: 200, sha, doctor: 0 };

describe('a file of the edge that is removed', () => {
  const files = ['applied.json', 'active-color-prod', 'active-color-prod.history'];
  test.each(files)('state/%s keeps the edge from being changed until a repair writes it again', async (name) => {
    expect(await lose([folder('edge/state', name)], repair)).toMatchObject({ ...fine, deploy: 1 });
  });

  test('state/generation is written again by the next change', async () => {
    expect(await lose([folder('edge/state/generation')])).toMatchObject({ ...fine, deploy: 0 });
  });

  test('haproxy.cfg keeps the edge from being changed until a repair writes it again', async () => {
    expect(await lose([folder('edge/haproxy.cfg')], repair)).toMatchObject({ ...fine, deploy: 1 });
  });

  test('a certificate is served until the next reload, and obtained again', async () => {
    await rm(folder('edge/certificates/shop.test.pem'));
    expect((await https.served('shop.test'))?.names).toEqual(['shop.test']);
    expect(await doctor()).toBe(1);
    await mustSucceed(https.project, 'deploy', 'prod', sha, '--again');
    expect([await https.served('shop.test'), await visit('shop.test')]).toEqual([null, 308]);
    await mustSucceed(https.project, 'certs', 'issue');
    expect([(await https.served('shop.test'))?.names, await visit('shop.test')]).toEqual([['shop.test'], 308]);
    expect(await doctor()).toBe(0);
  });

  test('the account of an authority is registered again', async () => {
    const [account = ''] = (await readdir(folder('edge/state/acme'))).filter((name) => name.startsWith('account-'));
    await rm(folder('edge/state/acme', account), { recursive: true });
    await mustSucceed(https.project, 'certs', 'issue', '--force');
    expect([await serves(), await doctor()]).toEqual([200, 0]);
  });

  test('the lock, the log and the kept generations are nothing that a change needs', async () => {
    const names = (await readdir(folder('edge'))).filter((name) => /\.lock$|\.log$|cfg\.\d+$/.test(name));
    expect(names).toEqual(expect.arrayContaining(['haproxy.cfg.lock', 'haproxy.log']));
    expect(await lose(names.map((name) => folder('edge', name)))).toMatchObject({ ...fine, deploy: 0 });
  });
});

test('Temporal’s database that is lost takes neither the certificates nor what serves, and renewals are planned again', async () => {
  const before = await https.served('shop.test');
  await https.project.temporal.loseDatabase();
  expect([await serves(), await https.served('shop.test')]).toEqual([200, before]);
  await until('the worker is back', async () => ((await run('status')).exitCode === 0 ? true : null));
  await until('renewals are planned', async () => (await https.status()).nextRenewal);
  expect([await serves(), await doctor()]).toEqual([200, 0]);
  await mustSucceed(https.project, 'deploy', 'prod', sha, '--again');
}, 180_000);

test('an authority that cannot be reached changes nothing for visitors, and is asked again', async () => {
  const before = await https.served('shop.test');
  https.authority.inject('directory', { cut: true });
  await https.project.stopWorker();
  await https.project.startWorker();
  expect([await serves(), await https.served('shop.test')]).toEqual([200, before]);
  expect(await doctor()).toBe(0);
  https.authority.mend();
});
