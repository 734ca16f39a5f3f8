import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Status } from '../../src/domain/inspect.js';
import type { CertificatesResult } from '../../src/domain/issuance.js';
import type { Notice } from '../../src/domain/notice.js';
import { servedSerial } from '../../src/haproxy/certificates.js';
import { LocalHost } from '../../src/hosts/local.js';
import { type Listener, startListener } from '../rig/app.js';
import { ask } from '../rig/ask.js';
import { problem, startCaProxy } from '../rig/ca-proxy.js';
import { findElsewhere, secretsOf } from '../rig/certificate-secrets.js';
import { writeCertificates } from '../rig/certificates.js';
import { connectTemporal, mustSucceed, until } from '../rig/chaos.js';
import type { CommandResult } from '../rig/command.js';
import { type HttpsProject, readPem, startHttpsProject } from '../rig/https-project.js';
import { isIssuedBy } from '../rig/pebble.js';

const shop = ['shop.test', 'www.shop.test'];
const blog = ['blog.test'];

let https: HttpsProject;
/** Whom `notify` names. */
let listener: Listener;
/** By which the authority knows whose account it is. */
const externalAccount = { keyId: 'kid-1', key: Buffer.from('canary-of-an-external-account-key').toString('base64url') };
const said: CommandResult[] = [];
const run = async (...args: readonly string[]) => {
  const result = await https.project.bascule(...args);
  said.push(result);
  return result;
};
const runJson = async (...args: readonly string[]) => {
  const { exitCode, stdout } = await run(...args, '--json');
  return { exitCode, document: JSON.parse(stdout) as CertificatesResult };
};
const told = (notice: Partial<Notice>) =>
  vi.waitFor(() => expect(listener.heard).toContainEqual(expect.objectContaining(notice)), 20_000);
const visit = (host: string, path = '/') => ask(https.project.edge, host, path);

beforeAll(async () => {
  // As it comes it waits before it looks at a challenge, here shorter, and refuses one of twenty good nonces.
  listener = await startListener();
  https = await startHttpsProject([shop], {
    asItComes: true,
    environment: { PEBBLE_VA_SLEEPTIME: '1' },
    externalAccounts: { [externalAccount.keyId]: externalAccount.key },
    env: { EAB_KEY: externalAccount.key, NOTIFY_URL: listener.url },
    more: `  eab: { keyId: ${externalAccount.keyId}, key: { env: EAB_KEY } }\nnotify: { url: { env: NOTIFY_URL } }\n`,
  });
  await https.project.releaseAll('abcdef0');
  await https.project.startWorker();
});
afterAll(async () => {
  await https?.stop();
  listener?.stop();
});

describe('the first apply', () => {
  test('obtains what is missing, and the edge serves it to who trusts its authority alone', async () => {
    const { exitCode, stderr } = await run('apply');
    expect(stderr).toContain('there is no certificate yet for shop.test: it is obtained first');
    expect(exitCode).toBe(0);
    await mustSucceed(https.project, 'deploy', 'prod', 'abcdef0');
    const served = await https.served('www.shop.test');
    expect(served).toMatchObject({ names: shop });
    expect(await https.served('shop.test')).toEqual(served);
    expect(await https.served('prod.localhost')).toBeNull();
    expect(https.pebble.orders()).toBe(1);
    expect(isIssuedBy(https.pebble.issuingRoot, await readPem(https, 'shop.test'))).toBe(true);
  });

  test('redirects the hosts that have one by now, and no other', async () => {
    expect(await visit('www.shop.test')).toMatchObject({ status: 308 });
    expect(await visit('prod.localhost')).toMatchObject({ status: 200 });
  });

  test('is told to whom `notify` names, as the deploy is', async () => {
    await told({ kind: 'certificates', outcome: 'succeeded', environment: null });
    await told({ operation: 'demo/prod/deploy/1', outcome: 'succeeded', text: '✔ demo: prod serves abcdef0 (green)' });
  });

  test('leaves keys that nobody else can read, and nothing half-done', async () => {
    const folder = join(https.project.directory, '.bascule/edge');
    const files = await readdir(folder, { recursive: true, withFileTypes: true });
    const secret: string[] = [];
    for (const file of files.filter((entry) => entry.isFile())) {
      const path = join(file.parentPath, file.name);
      if (!(await readFile(path, 'utf8')).includes('PRIVATE KEY')) continue;
      secret.push(path.slice(folder.length + 1).replace(/account-[0-9a-f]+/, 'account'));
      expect([path, ((await stat(path)).mode & 0o777).toString(8)]).toEqual([path, '600']);
    }
    expect(secret.toSorted()).toEqual(['certificates/shop.test.pem', 'state/acme/account/key.pem']);
  });

  test('has them looked at every day, and `certs status` says what there is', async () => {
    const status = await https.status();
    expect(status).toMatchObject({ ca: https.authority.directory, isPaused: false });
    expect(Date.parse(status.nextRenewal ?? '') - Date.now()).toBeLessThan(26 * 60 * 60_000);
    expect(status.certificates).toMatchObject([{ name: 'shop.test', names: shop, state: 'valid' }]);
    expect(status.certificates[0]?.certificate).toMatchObject(await served('shop.test'));
  });

  test('leaves nothing to do', async () => {
    const { exitCode, stdout } = await run('certs', 'issue');
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('nothing is due')]);
    expect(https.pebble.orders()).toBe(1);
  });
});

describe('a new host', () => {
  test('that the authority refuses is not routed, and the command says so in its words', async () => {
    await https.configure([shop, blog]);
    https.authority.inject('newOrder', problem('rejectedIdentifier', 403, 'blog.test is on the list of bad names'), 1);
    const { exitCode, stdout } = await run('apply');
    expect(exitCode).toBe(1);
    expect(stdout).toContain('blog.test is on the list of bad names (rejectedIdentifier)');
    expect(await visit('blog.test')).toMatchObject({ status: 503 });
    expect(await served('shop.test')).toBeDefined();
    await told({ kind: 'certificates', outcome: 'failed', code: 'acme-refused' });
  });

  test('and its certificate arrive together', async () => {
    expect((await run('apply')).exitCode).toBe(0);
    expect((await served('blog.test')).names).toEqual(blog);
    expect(await visit('blog.test')).toMatchObject({ status: 308 });
  });

  test('is routed without where that is asked for', async () => {
    await https.configure([shop, blog, ['docs.test']]);
    expect((await run('apply', '--skip-certificates')).exitCode).toBe(0);
    expect(await visit('docs.test')).toMatchObject({ status: 200 });
    const status = await https.status();
    expect(status.certificates.map(({ name, state }) => [name, state])).toContainEqual(['docs.test', 'missing']);
    const { exitCode, stdout } = await run('doctor');
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining('the certificate of docs.test is missing')]);
  });
});

describe('one that can not be had', () => {
  test('keeps others from being begun, or not, as is asked for', async () => {
    const { authority, configure } = https;
    await configure([shop, blog, ['a.test'], ['b.test']]);
    await mustSucceed(https.project, 'apply', '--skip-certificates');
    authority.inject('newOrder', problem('rejectedIdentifier', 403, 'not these'));
    const { exitCode, document } = await runJson('certs', 'issue', '--keep-going');
    authority.mend();
    expect([exitCode, document.code]).toEqual([1, 'acme-refused']);
    expect(document.certificates.map(({ name, outcome }) => [name, outcome]).toSorted()).toEqual([
      ['a.test', 'failed'],
      ['b.test', 'failed'],
    ]);
    const again = await runJson('certs', 'issue', 'b.test');
    expect([again.exitCode, again.document.changed]).toEqual([0, true]);
    expect((await served('b.test')).names).toEqual(['b.test']);
  });

  test('that is asked for too often is asked for again when the authority says so', async () => {
    const limited = problem('rateLimited', 429, 'too many orders', { headers: { 'retry-after': '2' } });
    https.authority.inject('newOrder', limited, 1);
    const { exitCode } = await run('certs', 'issue', 'a.test');
    expect(exitCode).toBe(0);
    expect(https.authority.payloads('newOrder').at(-1)).toEqual(https.authority.payloads('newOrder').at(-2));
  });

  test('of a name that leads nowhere is not asked for', async () => {
    await https.configure([shop, blog, ['a.test'], ['b.test'], ['gone.test']]);
    https.names.addresses.delete('gone.test');
    await mustSucceed(https.project, 'apply', '--skip-certificates');
    const orders = https.pebble.orders();
    const { exitCode, stdout } = await run('certs', 'issue');
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining('gone.test')]);
    expect(https.pebble.orders()).toBe(orders);
  });

  test('of a name that is not asked for at all is refused', async () => {
    const { exitCode, stderr, stdout } = await run('certs', 'issue', 'other.test');
    expect([exitCode, stdout + stderr]).toEqual([2, expect.stringContaining('asks for no certificate other.test')]);
  });
});

describe('a renewal', () => {
  test('comes when the authority wants it, and what was served before is kept', async () => {
    const before = await served('shop.test');
    const suggestedWindow = { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' };
    const renewalInfo = https.authority.directory.replace(/dir$/, 'renewal-info/');
    https.authority.inject('directory', { change: (directory) => ({ ...directory, renewalInfo }) });
    https.authority.inject('renewalInfo', { answer: { status: 200, body: { suggestedWindow } } });
    const { exitCode, document } = await runJson('certs', 'renew', 'shop.test');
    https.authority.mend();
    expect([exitCode, document.certificates.map(({ name }) => name)]).toEqual([0, ['shop.test']]);
    const after = await served('shop.test');
    expect(after.serial).not.toBe(before.serial);
    expect(https.authority.payloads('newOrder').at(-1)).toMatchObject({ replaces: expect.any(String) });
    const kept = await readFile(
      join(https.project.directory, '.bascule/edge/certificates/.shop.test.pem.kept'),
      'utf8',
    );
    expect(kept).toContain('PRIVATE KEY');
  });

  test('leaves what is not due', async () => {
    const { stdout } = await run('certs', 'renew', 'blog.test');
    expect(stdout).toContain('nothing is due');
  });

  test('by force is a new one', async () => {
    const before = await served('blog.test');
    expect((await run('certs', 'renew', 'blog.test', '--force')).exitCode).toBe(0);
    expect((await served('blog.test')).serial).not.toBe(before.serial);
  });
  test('by the Schedule is followed as any other, and told where it did not succeed', async () => {
    const temporal = await connectTemporal(https.project);
    await temporal.client.schedule.getHandle('demo/certificates').trigger();
    const id = await until('the Schedule has begun a run', async () => {
      const query = 'WorkflowId STARTS_WITH "demo/certificates/renew/scheduled"';
      for await (const { workflowId } of temporal.client.workflow.list({ query })) return workflowId;
      return null;
    });
    await temporal.close();
    const { exitCode, stdout } = await run('follow', id);
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining('no address in DNS for gone.test')]);
    await told({ operation: id, outcome: 'failed', code: 'name-not-found' });
  });
});

test('a revoked one is known as such by its authority, and is served until the next', async () => {
  const before = await served('blog.test');
  const { exitCode, stdout } = await run('certs', 'revoke', 'blog.test', '--reason', 'keyCompromise');
  expect([exitCode, stdout]).toEqual([0, expect.stringContaining('certs issue blog.test --force')]);
  expect(await https.pebble.statusOf(before.serial)).toBe('Revoked');
  expect((await served('blog.test')).serial).toBe(before.serial);
});

describe('files that HAProxy refuses', () => {
  const place = (name: string) => join(https.project.directory, '.bascule/edge/certificates', name);
  const files = () => [place('README'), place('b.test.pem')];

  test('are named by whoever looks, and before anything is changed', async () => {
    const pem = await readPem(https, 'b.test');
    await writeFile(place('b.test.pem'), pem.slice(pem.indexOf('-----BEGIN CERTIFICATE-----')));
    await writeFile(place('README'), 'Do not touch.');
    const status = await https.status();
    expect(status.refused.map(({ file }) => file)).toEqual(files());
    expect(status.certificates.map(({ name, state }) => [name, state])).toContainEqual(['b.test', 'unreadable']);
    const commands = [
      ['certs', 'status'],
      ['certs', 'adopt'],
      ['doctor'],
      ['deploy', 'prod', 'abcdef0', '--again'],
      ['apply'],
    ];
    for (const command of commands) {
      const { exitCode, stdout, stderr } = await run(...command);
      const missing = files().filter((file) => !`${stdout}${stderr}`.includes(`${file}: it holds no`));
      expect([command, exitCode === 0, missing]).toEqual([command, command[0] === 'certs', []]);
    }
    const { environments } = (await https.project.json<Status>('status')).document;
    expect(environments.find(({ name }) => name === 'prod')).toMatchObject({ sha: 'abcdef0' });
  });

  test('and are not its own keep the authority from being asked', async () => {
    const orders = https.pebble.orders();
    const { exitCode, stdout } = await run('certs', 'issue', 'b.test');
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining(place('README'))]);
    expect(stdout).not.toContain(place('b.test.pem'));
    expect(https.pebble.orders()).toBe(orders);
    await rm(place('README'));
  });

  test('and are its own are replaced', async () => {
    const { exitCode, document } = await runJson('certs', 'issue', 'b.test');
    expect([exitCode, document.changed], document.message).toEqual([0, true]);
    expect((await served('b.test')).names).toEqual(['b.test']);
    expect(await readFile(place('.b.test.pem.refused'), 'utf8')).not.toContain('PRIVATE KEY');
    expect((await https.status()).refused).toEqual([]);
  });
});

test('with two kinds of keys a visitor gets the one that he takes', async () => {
  await https.configure([['both.test']], '  keys: [ecdsa, rsa2048]\n');
  await mustSucceed(https.project, 'apply', '--skip-certificates');
  const { exitCode, document } = await runJson('certs', 'issue', 'both.test');
  expect(exitCode, document.message).toBe(0);
  const { https: bind } = https;
  const serials = await Promise.all(
    (['ecdsa', 'rsa2048'] as const).map((key) => servedSerial(new LocalHost(), bind, 'both.test', key)),
  );
  const obtained = document.certificates.toSorted((a, b) => a.name.localeCompare(b.name));
  expect(obtained.map(({ certificate }) => certificate?.key)).toEqual(['ECDSA prime256v1', 'RSA 2048']);
  expect(obtained.map(({ certificate }) => certificate?.serial)).toEqual(serials);
});

describe('the next look', () => {
  const hour = 60 * 60_000;
  const schedule = async () => {
    const temporal = await connectTemporal(https.project);
    try {
      return await temporal.client.schedule.getHandle('demo/certificates').describe();
    } finally {
      await temporal.close();
    }
  };
  const folder = () => join(https.project.directory, '.bascule/edge/certificates');

  test('comes twelve times in the life of a certificate that lives two days, and when that is due', async () => {
    await https.configure([['both.test'], ['short.test']]);
    await writeCertificates(folder(), [['short.test']]);
    expect((await run('certs', 'adopt')).exitCode).toBe(0);
    const { spec, action, info } = await schedule();
    expect(spec.intervals).toMatchObject([{ every: 4 * hour }]);
    expect(action.args).toMatchObject([{ kind: 'renew', patienceMs: 2 * hour }]);
    const due = Date.now() + 32 * hour;
    const gaps = info.nextActionTimes.map(
      (time, index) => Number(time) - Number(info.nextActionTimes[index - 1] ?? time),
    );
    expect(Math.max(...gaps)).toBeLessThanOrEqual(4 * hour);
    expect(info.nextActionTimes.some((time) => Math.abs(Number(time) - due) < hour / 2)).toBe(true);
    expect(Date.parse((await https.status()).nextRenewal ?? '') - Date.now()).toBeLessThanOrEqual(4 * hour);
  });

  test('comes when an authority that has had too many requests wants it, by its own date; paused stays paused', async () => {
    const temporal = await connectTemporal(https.project);
    await temporal.client.schedule.getHandle('demo/certificates').pause('on holiday');
    await temporal.close();
    const at = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 24 * hour);
    const headers = { 'retry-after': at.toUTCString() };
    https.authority.inject('newOrder', problem('rateLimited', 429, 'too \u001b[31mmany\u0007 orders', { headers }));
    const { exitCode, document } = await runJson('certs', 'issue', 'short.test', '--force');
    https.authority.mend();
    const moment = at.toISOString().replace('.000Z', 'Z');
    expect([exitCode, document.code]).toEqual([1, 'acme-rate-limited']);
    expect(document.message).toContain('too  [31mmany  orders');
    expect(document.remedy).toContain(moment);
    expect(document.certificates.map(({ retryAt }) => retryAt)).toContain(moment);
    const { info, state } = await schedule();
    expect(info.nextActionTimes).toContainEqual(at);
    expect(state).toMatchObject({ paused: true, note: 'on holiday' });
    // What is planned by then keeps it.
    expect((await run('certs', 'adopt')).exitCode).toBe(0);
    expect((await schedule()).info.nextActionTimes).toContainEqual(at);
  });

  test('comes once a day again where every certificate lives long', async () => {
    expect((await run('certs', 'issue', 'short.test', '--force')).exitCode).toBe(0);
    expect((await schedule()).spec.intervals).toMatchObject([{ every: 24 * hour }]);
    await https.configure([['both.test']], '  keys: [ecdsa, rsa2048]\n');
  });
});

test('certificates and an account of another client are taken over as they are', async () => {
  const folder = join(https.project.directory, '.bascule/edge');
  const [account = ''] = await readdir(join(folder, 'state/acme')).then((names) =>
    names.filter((name) => name.startsWith('account-')),
  );
  const earlier = join(folder, 'dehydrated');
  await rename(join(folder, 'state/acme', account), earlier);
  await rename(join(earlier, 'key.pem'), join(earlier, 'account_key.pem'));
  const before = await served('both.test');
  const { exitCode, document } = await runJson('certs', 'adopt', '--account-key', earlier);
  expect([exitCode, document.warnings]).toEqual([0, []]);
  expect(document.kept.map(({ name }) => name).toSorted()).toEqual(['both.test', 'both.test+rsa2048']);
  // What it had is not due, and the next one is obtained by its account, which needs no proof of whose it is.
  await https.configure([['both.test'], ['new.test']], '  keys: [ecdsa, rsa2048]\n');
  expect((await run('apply')).exitCode).toBe(0);
  expect(await served('both.test')).toEqual(before);
  expect((await served('new.test')).names).toEqual(['new.test']);
});

test('another authority, as after one that is for trials, is written into bascule.yaml and asked at once', async () => {
  const before = await served('new.test');
  // The same one by another address is another one to Bascule, where it has no account yet.
  const other = await startCaProxy(https.pebble);
  try {
    const file = join(https.project.directory, 'bascule.yaml');
    const text = await readFile(file, 'utf8');
    const { directory, caFile } = https.authority;
    const eab = `  eab: { keyId: ${externalAccount.keyId}, key: { env: EAB_KEY } }\n`;
    await writeFile(file, text.replace(directory, other.directory).replace(caFile, other.caFile).concat(eab));
    const { exitCode, stdout } = await run('certs', 'issue', 'new.test', '--force');
    expect(exitCode, stdout).toBe(0);
    expect((await served('new.test')).serial).not.toBe(before.serial);
    expect((await run('apply')).exitCode).toBe(0);
  } finally {
    await other.stop();
  }
});

test('no key, no request and no token is anywhere but in the folder of the edge', async () => {
  const secrets = await secretsOf(https);
  const kinds = new Set(secrets.map(([what]) => what.replace(/account-[0-9a-f]+/, 'account')));
  expect([...kinds]).toEqual(
    expect.arrayContaining([
      'the key in certificates/new.test.pem',
      'the key in certificates/.shop.test.pem.kept',
      'the key in state/acme/account/key.pem',
      'a request that was signed',
      'a token',
    ]),
  );
  const eab = ['the external account’s key', externalAccount.key] as const;
  const hook = ['the URL of `notify`', new URL(listener.url).pathname] as const;
  expect(await findElsewhere(https, [...secrets, eab, hook], said)).toEqual([]);
  // What was looked through is what was meant.
  const shown = await findElsewhere(https, [['a name', 'www.shop.test']], said);
  expect(shown).toEqual(
    expect.arrayContaining([
      'a name: what commands said',
      'a name: history of demo/certificates/shop.test',
      `a name: ${https.project.temporal.dbFile}`,
    ]),
  );
});

async function served(name: string) {
  const found = await https.served(name);
  if (!found) throw new Error(`no certificate is served for ${name}`);
  return found;
}
