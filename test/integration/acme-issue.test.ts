import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { registerAccount } from '../../src/acme/account.js';
import { answerChallenges } from '../../src/acme/challenges.js';
import { downloadCertificate, finalizeOrder, readDownloaded } from '../../src/acme/finalize.js';
import { beginOrder, closeOrder } from '../../src/acme/order.js';
import { certificateFiles } from '../../src/acme/places.js';
import { renewalWindow } from '../../src/acme/renewal.js';
import { renewalMoment, type WantedCertificate } from '../../src/domain/certificates.js';
import { LocalHost } from '../../src/hosts/local.js';
import { writePrivately } from '../../src/hosts/private-files.js';
import { type AcmeUnderTest, issue, startAcme } from '../rig/acme.js';
import type { Endpoint } from '../rig/ca-proxy.js';
import { isIssuedBy } from '../rig/pebble.js';

const wanted = (name: string, more: Partial<WantedCertificate> = {}): WantedCertificate => ({
  name,
  names: [name, `www.${name}`],
  key: 'ecdsa',
  ...more,
});

describe('an authority as it comes', () => {
  let acme: AcmeUnderTest;
  beforeAll(async () => {
    acme = await startAcme({
      asItComes: true,
      environment: { PEBBLE_VA_SLEEPTIME: '1', PEBBLE_WFE_NONCEREJECT: '40' },
    });
  });
  afterAll(async () => await acme.stop());

  test('that waits, and refuses good nonces, issues what was asked for', async () => {
    const authority = await acme.newAuthority();
    await acme.serve(authority, 'slow.test', 'www.slow.test');
    const { facts, file } = await issue(authority, wanted('slow.test'));
    const pem = await readFile(file, 'utf8');
    expect(facts).toMatchObject({ names: ['slow.test', 'www.slow.test'], key: 'ECDSA prime256v1' });
    expect(isIssuedBy(acme.pebble.issuingRoot, pem)).toBe(true);
    expect(new X509Certificate(pem).checkPrivateKey(createPrivateKey(pem))).toBe(true);
    expect(acme.pebble.orders()).toBe(1);
  });
});

describe('one that is fast', () => {
  let acme: AcmeUnderTest;
  beforeAll(async () => {
    acme = await startAcme();
  });
  afterAll(async () => await acme.stop());

  const issuing = async (...names: readonly string[]) => {
    const authority = await acme.newAuthority();
    await acme.serve(authority, ...names);
    const before = acme.pebble.orders();
    return { authority, orders: () => acme.pebble.orders() - before };
  };

  test('nobody but the owner may read what is secret, and nothing half-written stays', async () => {
    const { authority } = await issuing('modes.test', 'www.modes.test');
    await issue(authority, wanted('modes.test'));
    const entries = await readdir(join(authority.state, 'acme'), { recursive: true, withFileTypes: true });
    const modes = await Promise.all(
      entries.map(async (entry) => ({
        name: entry.name,
        mode: (await stat(join(entry.parentPath, entry.name))).mode & 0o777,
        expected: entry.isDirectory() ? 0o700 : 0o600,
      })),
    );
    expect(modes.filter(({ mode, expected }) => mode !== expected)).toEqual([]);
    expect(modes.map(({ name }) => name)).toEqual(expect.arrayContaining(['key.pem', 'next.pem', 'order.json']));
    expect(modes.filter(({ name }) => name.endsWith('.partial'))).toEqual([]);
  });

  test('the roots that its server is trusted by lie beside bascule.yaml, whatever host the edge has', async () => {
    const { authority } = await issuing('elsewhere.test', 'www.elsewhere.test');
    const { facts } = await issue({ ...authority, host: new HostWithout(authority.caFile) }, wanted('elsewhere.test'));
    expect(facts.names).toContain('elsewhere.test');
  });

  // Each of them is asked for at least once on the way; what it was asked for is done, and the answer is lost.
  const moments: readonly (readonly [Endpoint, number])[] = [
    ['newAccount', 1],
    ['newAccount', 2],
    ['newOrder', 1],
    ['order', 1],
    ['authorization', 1],
    ['authorization', 3],
    ['challenge', 1],
    ['challenge', 2],
    ['order', 2],
    ['finalize', 1],
    ['order', 4],
    ['certificate', 1],
  ];
  test.each(moments)('ended at the %s (%i), it goes on with the same order', async (endpoint, number) => {
    const name = `${endpoint}-${number}.test`.toLowerCase();
    const { authority, orders } = await issuing(name, `www.${name}`);
    if (number > 1) acme.proxy.inject(endpoint, { change: (body) => body }, number - 1);
    acme.proxy.inject(endpoint, { cut: true }, 1);
    await expect(issue(authority, wanted(name))).rejects.toMatchObject({ code: 'acme-unavailable', isRetryable: true });
    acme.proxy.mend();
    const { facts } = await issue(authority, wanted(name));
    expect(facts.names).toEqual([name, `www.${name}`]);
    expect(orders()).toBe(1);
  });

  test('each step may be done again, and gives the same', async () => {
    const { authority, orders } = await issuing('again.test', 'www.again.test');
    const first = await issue(authority, wanted('again.test'));
    const again = await issue(authority, wanted('again.test'));
    expect(again).toEqual(first);
    expect(await readDownloaded(authority, { name: 'again.test', sha256: first.sha256 })).toBe(
      await readFile(first.file, 'utf8'),
    );
    expect(orders()).toBe(1);
    await closeOrder(authority, 'again.test');
    await closeOrder(authority, 'again.test');
    expect(await readdir(join(authority.state, 'acme', 'certificates', 'again.test'))).toEqual([]);
  });

  test('an order that was lost is found behind many others', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `many-${index}.test`);
    const { authority, orders } = await issuing(...names);
    await issue(authority, { name: 'many-0.test', names: ['many-0.test'], key: 'ecdsa' });
    acme.proxy.inject('newOrder', { cut: true }, 1);
    const lost: WantedCertificate = { name: 'lost', names: ['many-7.test'], key: 'ecdsa' };
    await expect(beginOrder(authority, lost)).rejects.toMatchObject({ code: 'acme-unavailable' });
    for (const name of names.slice(1, 7)) await beginOrder(authority, { name, names: [name], key: 'ecdsa' });
    expect(orders()).toBe(8);
    expect(await beginOrder(authority, lost)).toMatchObject({ isResumed: true, names: ['many-7.test'] });
    expect(orders()).toBe(8);
  });

  test('other names, or a finished order, begin a new one', async () => {
    const { authority, orders } = await issuing('other.test', 'www.other.test');
    const first = await issue(authority, wanted('other.test'));
    await beginOrder(authority, wanted('other.test', { names: ['other.test'] }));
    expect(orders()).toBe(2);
    await closeOrder(authority, 'other.test');
    const second = await issue(authority, wanted('other.test'));
    expect(orders()).toBe(3);
    expect(second.facts.serial).not.toBe(first.facts.serial);
    const keyOf = async (file: string) => createPrivateKey(await readFile(file, 'utf8')).export({ format: 'jwk' });
    await expect(keyOf(first.file)).rejects.toThrow('ENOENT');
  });

  test('an RSA key where that was asked for, beside the other one', async () => {
    const { authority, orders } = await issuing('both.test', 'www.both.test');
    const ecdsa = await issue(authority, wanted('both.test'));
    const rsa = await issue(authority, { ...wanted('both.test'), name: 'both.test+rsa2048', key: 'rsa2048' });
    expect([ecdsa.facts.key, rsa.facts.key]).toEqual(['ECDSA prime256v1', 'RSA 2048']);
    expect(orders()).toBe(2);
  });

  test('an authority that gives the order of another certificate is waited for', async () => {
    const { authority } = await issuing('shared.test', 'www.shared.test');
    await issue(authority, { name: 'any', names: ['shared.test'], key: 'ecdsa' });
    const begun = await beginOrder(authority, wanted('shared.test'));
    acme.proxy.inject('newOrder', { change: (body) => body, headers: { location: begun.url } }, 1);
    await expect(
      beginOrder(authority, { ...wanted('shared.test'), name: 'second', key: 'rsa2048' }),
    ).rejects.toMatchObject({
      code: 'acme-order-pending',
      isRetryable: true,
    });
    await answerChallenges(authority, 'shared.test');
    await finalizeOrder(authority, wanted('shared.test'));
    await downloadCertificate(authority, wanted('shared.test'));
  });

  test('side by side each gets its own', async () => {
    const names = Array.from({ length: 6 }, (_, index) => `side-${index}.test`);
    const { authority, orders } = await issuing(...names);
    const issued = await Promise.all(names.map((name) => issue(authority, { name, names: [name], key: 'ecdsa' })));
    expect(issued.map(({ facts }) => facts.names)).toEqual(names.map((name) => [name]));
    expect(orders()).toBe(6);
    const accounts = (await readdir(join(authority.state, 'acme'))).filter((name) => name.startsWith('account-'));
    expect(accounts).toHaveLength(1);
  });

  test('names of an order are looked at no more when one of them could not be, until the next try', async () => {
    const { authority, orders } = await issuing('one.test', 'www.one.test', 'next.test', 'www.next.test');
    await registerAccount(authority);
    await beginOrder(authority, wanted('one.test'));
    acme.proxy.inject('authorization', { answer: { status: 503 } }, 1);
    acme.proxy.inject('authorization', { change: (body) => ({ ...body, status: 'pending' }) });
    let polls = 0;
    const onPoll = (): void => {
      polls += 1;
    };
    await expect(answerChallenges(authority, 'one.test', { onPoll })).rejects.toMatchObject({
      code: 'acme-unavailable',
    });
    const pollsUntilThen = polls;
    acme.proxy.mend();
    await issue(authority, wanted('next.test'));
    expect(polls).toBe(pollsUntilThen);
    await issue(authority, wanted('one.test'));
    expect(orders()).toBe(2);
  });

  test.each(['finalize', 'download'])(
    'an order whose key is damaged before the %s gives way to another',
    async (step) => {
      const name = `damaged-${step}.test`;
      const { authority, orders } = await issuing(name, `www.${name}`);
      await registerAccount(authority);
      const { url } = await beginOrder(authority, wanted(name));
      await answerChallenges(authority, name);
      if (step === 'download') await finalizeOrder(authority, wanted(name));
      const { key } = certificateFiles(authority.state, name).ofOrder(url);
      await writePrivately(key, 'no key\n');
      await expect(issue(authority, wanted(name))).rejects.toMatchObject({
        ...{ code: 'acme-file-damaged', isRetryable: false },
        message: expect.stringContaining(key),
      });
      const { facts } = await issue(authority, wanted(name));
      expect(facts.names).toEqual([name, `www.${name}`]);
      expect(orders()).toBe(2);
    },
  );

  test('an authority that cannot say when to renew is not asked again for hours; the age counts until then', async () => {
    const { authority } = await issuing('ari.test', 'www.ari.test');
    const { facts, file } = await issue(authority, wanted('ari.test'));
    const renewalInfo = authority.directory.replace(/dir$/, 'renewal-info/');
    acme.proxy.inject('directory', { change: (body) => ({ ...body, renewalInfo }) });
    acme.proxy.inject('renewalInfo', { answer: { status: 500 } }, 1);
    const suggestedWindow = { start: '2026-01-01T00:00:00Z', end: '2026-01-02T00:00:00Z' };
    const answer = { status: 200, headers: { 'retry-after': '0' }, body: { suggestedWindow } };
    acme.proxy.inject('renewalInfo', { answer }, 1);
    acme.proxy.inject('renewalInfo', { answer: { status: 500 } });
    const asked = () => acme.proxy.payloads('renewalInfo').length;
    const before = asked();

    const window = await renewalWindow(authority, { name: 'ari.test', file });
    expect(await renewalWindow(authority, { name: 'ari.test', file })).toBe(window);
    expect([window, asked() - before]).toEqual([null, 1]);
    const [from, until] = [Date.parse(facts.notBefore), Date.parse(facts.notAfter)];
    expect(renewalMoment(facts, window)).toBe(until - (until - from) / 3);

    // What it has said for another one counts on while it fails.
    const said = await renewalWindow(authority, { name: 'other.test', file });
    expect(await renewalWindow(authority, { name: 'other.test', file })).toEqual(said);
    expect([said, asked() - before]).toEqual([suggestedWindow, 3]);
    acme.proxy.mend();
  });
});

/** A host that lacks a file which the worker's machine has. */
class HostWithout extends LocalHost {
  constructor(private readonly missing: string | undefined) {
    super();
  }

  override async readText(path: string): Promise<string | null> {
    return path === this.missing ? null : await super.readText(path);
  }
}
