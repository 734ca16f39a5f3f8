import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { accountThumbprint, asPem, registerAccount } from '../../src/acme/account.js';
import { adoptAccount } from '../../src/acme/adopt.js';
import type { Authority } from '../../src/acme/authority.js';
import { answerChallenges } from '../../src/acme/challenges.js';
import { downloadCertificate, finalizeOrder, readDownloaded } from '../../src/acme/finalize.js';
import { beginOrder, closeOrder } from '../../src/acme/order.js';
import { accountFiles, certificateFiles } from '../../src/acme/places.js';
import { checkNames } from '../../src/acme/preflight.js';
import { renewalWindow } from '../../src/acme/renewal.js';
import { renewalMoment, type WantedCertificate } from '../../src/domain/certificates.js';
import { LocalHost } from '../../src/hosts/local.js';
import { writePrivately } from '../../src/hosts/private-files.js';
import { type AcmeUnderTest, issue, startAcme } from '../rig/acme.js';
import { type Endpoint, type Fault, problem } from '../rig/ca-proxy.js';
import { isIssuedBy } from '../rig/pebble.js';
import { isWhole } from '../rig/tier.js';

describe('issuing', () => {
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
      const { facts } = await issue(
        { ...authority, host: new HostWithout(authority.caFile) },
        wanted('elsewhere.test'),
      );
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
    /** In make test one of each step: the order, the challenge, the key, the download. */
    const shown = moments.filter(
      ([endpoint, number]) =>
        isWhole || (number === 1 && ['newOrder', 'challenge', 'finalize', 'certificate'].includes(endpoint)),
    );
    test.each(shown)('ended at the %s (%i), it goes on with the same order', async (endpoint, number) => {
      const name = `${endpoint}-${number}.test`.toLowerCase();
      const { authority, orders } = await issuing(name, `www.${name}`);
      if (number > 1) acme.proxy.inject(endpoint, { change: (body) => body }, number - 1);
      acme.proxy.inject(endpoint, { cut: true }, 1);
      await expect(issue(authority, wanted(name))).rejects.toMatchObject({
        code: 'acme-unavailable',
        isRetryable: true,
      });
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
});

describe('an authority that fails', () => {
  let acme: AcmeUnderTest;
  let count = 0;

  beforeAll(async () => {
    acme = await startAcme();
  });
  afterEach(() => acme.proxy.mend());
  afterAll(async () => await acme?.stop());

  /** An account of its own, and a certificate that nobody asked for yet. */
  async function newCertificate(): Promise<{ authority: Authority; wanted: WantedCertificate; orders: () => number }> {
    count += 1;
    const name = `fault-${count}.test`;
    const authority = await acme.newAuthority();
    await acme.serve(authority, name);
    const before = acme.pebble.orders();
    return { authority, wanted: { name, names: [name], key: 'ecdsa' }, orders: () => acme.pebble.orders() - before };
  }

  const asked = (endpoint: Endpoint) => acme.proxy.payloads(endpoint).length;

  describe('an authority that is out of order', () => {
    const badNonce = problem('badNonce', 400, 'not a good one');
    const everywhere: readonly (readonly [Endpoint, string, Fault, object])[] = [
      [
        'newAccount',
        'overloaded',
        problem('serverInternal', 503, 'overloaded', { headers: { 'retry-after': '7' } }),
        { code: 'acme-unavailable', args: { retryAfterMs: 7_000 } },
      ],
      [
        'newOrder',
        'asked too often',
        problem('rateLimited', 429, 'too many orders', { headers: { 'retry-after': '3600' } }),
        { code: 'acme-rate-limited', args: { retryAfterMs: 3_600_000 } },
      ],
      ['authorization', 'down', problem('serverInternal', 500, 'down'), { code: 'acme-unavailable' }],
      ['finalize', 'behind a proxy', { answer: { status: 502, body: 'no' } }, { code: 'acme-unavailable' }],
      ['newOrder', 'of no nonce ever', badNonce, { code: 'acme-unavailable' }],
      ['finalize', 'of no nonce at the end', badNonce, { code: 'acme-unavailable' }],
    ];
    test.each(everywhere)(
      'at the %s (%s) is asked again later, for the same order',
      async (endpoint, _, fault, error) => {
        const { authority, wanted, orders } = await newCertificate();
        const before = asked(endpoint);
        acme.proxy.inject(endpoint, fault);
        await expect(issue(authority, wanted)).rejects.toMatchObject({ ...error, isRetryable: true });
        // As often as a nonce may be refused, and never in a loop.
        expect(asked(endpoint) - before).toBeLessThanOrEqual(fault === badNonce ? 11 : 1);
        acme.proxy.mend();
        expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
        expect(orders()).toBe(1);
      },
    );
  });

  describe('an authority that says no more than a state needs', () => {
    const used: Readonly<Record<string, readonly string[]>> = {
      ...{ pending: ['authorizations'], ready: ['finalize'], valid: ['certificate'] },
    };
    const orderWith =
      (absent: (names: readonly string[]) => object) =>
      (order: { readonly status: string }): unknown => {
        const kept = ['status', ...(used[order.status] ?? [])];
        const others = ['expires', 'identifiers', 'error', 'profile', 'notAfter', ...Object.values(used).flat()];
        const own = Object.entries(order).filter(([name]) => kept.includes(name));
        return { ...absent(others), ...Object.fromEntries(own) };
      };
    const ways = {
      'sends null for the rest': (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, null])),
      'leaves out the rest': () => ({}),
    };
    test.each(Object.entries(ways))('and %s issues', async (_, absent) => {
      const { authority, wanted } = await newCertificate();
      for (const endpoint of ['newOrder', 'order', 'finalize'] as const) {
        acme.proxy.inject(endpoint, { change: orderWith(absent) });
      }
      acme.proxy.inject('authorization', {
        change: ({ status, challenges }) => ({
          ...absent(['identifier', 'expires', 'challenges', 'wildcard']),
          ...{ status, ...(status === 'pending' && { challenges }) },
        }),
      });
      acme.proxy.inject('directory', {
        change: ({ newNonce, newAccount, newOrder }) => ({
          ...absent(['revokeCert', 'keyChange', 'renewalInfo', 'meta']),
          ...{ newNonce, newAccount, newOrder },
        }),
      });
      expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
    });

    test('and refuses with null in its problem is shown in its words', async () => {
      const { authority, wanted } = await newCertificate();
      await registerAccount(authority);
      const body = { type: 'urn:ietf:params:acme:error:rejectedIdentifier', detail: 'not this one', subproblems: null };
      acme.proxy.inject('newOrder', { answer: { status: 403, body: { ...body, title: null } } });
      await expect(beginOrder(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'acme-refused', message: expect.stringContaining('not this one (rejectedIdentifier)') },
      });
    });

    test('and names no URL for what is asked for is told so by its name', async () => {
      const { authority, wanted } = await newCertificate();
      await registerAccount(authority);
      acme.proxy.inject('directory', { change: (directory) => ({ ...directory, newOrder: null }) });
      await expect(beginOrder(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'acme-answer-unreadable', message: expect.stringContaining('newOrder: missing') },
      });
    });
  });

  describe('an order that', () => {
    const stays = (status: string): Fault => ({ change: (order) => ({ ...order, status }) });

    test.each(['pending', 'processing'])('stays %s is left for now, and gone on with later', async (status) => {
      const { authority, wanted, orders } = await newCertificate();
      await registerAccount(authority);
      await beginOrder(authority, wanted);
      if (status === 'processing') await answerChallenges(authority, wanted.name);
      const before = asked('order');
      acme.proxy.inject('order', stays(status));
      if (status === 'processing') acme.proxy.inject('finalize', stays(status));
      const patience = { timeLimitMs: 1_500 };
      const waiting =
        status === 'pending'
          ? answerChallenges(authority, wanted.name, patience)
          : finalizeOrder(authority, wanted, patience);
      await expect(waiting).rejects.toMatchObject({
        ...{ code: 'acme-order-pending', isRetryable: true },
        message: expect.stringContaining(`the order for ${wanted.name} is ${status}`),
      });
      // 100 ms, 200 ms, 400 ms and so on apart.
      expect(asked('order') - before).toBeLessThanOrEqual(8);
      acme.proxy.mend();
      expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
      expect(orders()).toBe(1);
    });

    test('is to be looked at again at a moment is looked at then, and not before', async () => {
      const { authority, wanted } = await newCertificate();
      await registerAccount(authority);
      await beginOrder(authority, wanted);
      const before = asked('order');
      acme.proxy.inject('order', { ...stays('pending'), headers: { 'retry-after': '3600' } });
      await expect(answerChallenges(authority, wanted.name)).rejects.toMatchObject({
        ...{ code: 'acme-order-pending', args: { retryAfterMs: 3_600_000 } },
      });
      expect(asked('order') - before).toBe(2);
    });

    const endings: readonly (readonly [string, Endpoint, Fault])[] = [
      ['an authorization gone invalid', 'authorization', stays('invalid')],
      ['an authorization taken back', 'authorization', stays('deactivated')],
      ['an authorization run out', 'authorization', stays('expired')],
    ];
    test.each(endings)('has %s is over: the next try begins another', async (_, endpoint, fault) => {
      const { authority, wanted, orders } = await newCertificate();
      acme.proxy.inject(endpoint, fault);
      await expect(issue(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'challenge-failed', isRetryable: false },
        message: expect.stringContaining(wanted.name),
      });
      acme.proxy.mend();
      expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
      expect(orders()).toBe(2);
    });

    test('nobody answers a challenge of fails in the words of the authority', async () => {
      const { authority, wanted, orders } = await newCertificate();
      acme.silence(wanted.name);
      await expect(issue(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'challenge-failed', message: expect.stringMatching(/fault-\d+\.test: .*404.*unauthorized/) },
      });
      await acme.serve(authority, wanted.name);
      expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
      expect(orders()).toBe(2);
    });

    test('is refused in the end is over, and its key is thrown away', async () => {
      const { authority, wanted, orders } = await newCertificate();
      acme.proxy.inject('finalize', problem('badCSR', 400, 'a key that others have'), 1);
      await expect(issue(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'acme-refused', message: expect.stringContaining('a key that others have (badCSR)') },
      });
      expect(await readdir(join(authority.state, 'acme', 'certificates', wanted.name))).toEqual([]);
      expect((await issue(authority, wanted)).facts.names).toEqual(wanted.names);
      expect(orders()).toBe(2);
    });
  });

  describe('names', () => {
    const check = async (authority: Authority, wanted: WantedCertificate) =>
      await checkNames(authority, wanted, {
        edge: { address: '127.0.0.1', port: acme.httpPort },
        publicPort: acme.httpPort,
        thumbprint: await accountThumbprint(authority),
        nameServers: acme.nameServers,
      });
    const isKnownAs = (identity: string) =>
      acme.proxy.inject('directory', {
        change: (directory) => ({ ...directory, meta: { caaIdentities: [identity] } }),
      });

    test('that another authority may certify are not asked for', async () => {
      const { authority, wanted } = await newCertificate();
      acme.nameServer.authorizations.set(wanted.name, [{ tag: 'issue', value: 'elsewhere.example' }]);
      isKnownAs('pebble.example');
      await expect(check(authority, wanted)).rejects.toMatchObject({
        ...{ code: 'certificate-forbidden', message: expect.stringContaining('allows elsewhere.example') },
      });
      acme.nameServer.authorizations.set(wanted.name, [{ tag: 'issue', value: 'Pebble.example; accounturi=x' }]);
      expect(await check(authority, wanted)).toEqual({ warnings: [] });
    });

    test('that lead nowhere, or elsewhere, are not asked for', async () => {
      const { authority, wanted } = await newCertificate();
      await expect(check(await acme.newAuthority(), wanted)).rejects.toMatchObject({
        ...{ code: 'challenge-not-answered', message: expect.stringContaining(wanted.name) },
      });
      acme.nameServer.addresses.delete(wanted.name);
      await expect(check(authority, wanted)).rejects.toMatchObject({ code: 'name-not-found' });
    });
  });

  describe('an account', () => {
    let other: AcmeUnderTest;
    const externalAccount = { keyId: 'kid-1', key: Buffer.alloc(32, 'k').toString('base64url') };
    beforeAll(async () => {
      other = await startAcme({ externalAccounts: { [externalAccount.keyId]: externalAccount.key } });
    });
    afterAll(async () => await other?.stop());

    test('of an authority that wants to know whose it is needs a key that it gave', async () => {
      const authority = await other.newAuthority();
      await expect(registerAccount(authority)).rejects.toMatchObject({ code: 'acme-external-account-needed' });
      await expect(
        registerAccount(authority, { externalAccount: { ...externalAccount, key: 'not base64url!' } }),
      ).rejects.toMatchObject({ code: 'acme-external-account-unusable' });
      const wrong = { ...externalAccount, key: Buffer.alloc(32, 'w').toString('base64url') };
      const refused = await registerAccount(authority, { externalAccount: wrong }).catch((error: Error) => error);
      expect(refused).toMatchObject({ code: 'acme-refused', isRetryable: false });
      expect(String(refused)).not.toContain(wrong.key);
      const { url } = await registerAccount(authority, { externalAccount });
      // Proven once: afterwards the account's own key is enough.
      expect(await registerAccount(authority)).toEqual({ url });
    });

    test('that was asked for when everything stopped is found again', async () => {
      const authority = await other.newAuthority();
      other.proxy.inject('newAccount', { change: (body) => body }, 1);
      other.proxy.inject('newAccount', { cut: true }, 1);
      await expect(registerAccount(authority, { externalAccount })).rejects.toMatchObject({ code: 'acme-unavailable' });
      const { url } = await registerAccount(authority, { externalAccount });
      expect(await registerAccount(authority, { externalAccount })).toEqual({ url });
      expect(other.proxy.answers('newAccount').length).toBeLessThanOrEqual(3);
    });

    test.each(['rsa', 'ec'] as const)('that dehydrated has is taken over with its %s key', async (kind) => {
      const folder = await mkdtemp(join(tmpdir(), 'bascule-dehydrated-'));
      try {
        // Whoever registered it had no external account to show: the authority knows its key.
        const first = await acme.newAuthority();
        const { privateKey } =
          kind === 'rsa'
            ? generateKeyPairSync('rsa', { modulusLength: 2_048 })
            : generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
        await mkdir(accountFiles(first).folder, { recursive: true });
        await writeFile(accountFiles(first).key, asPem(privateKey));
        const { url } = await registerAccount(first);
        const account = join(folder, 'accounts', Buffer.from(`${first.directory}\n`).toString('base64url'));
        await mkdir(account, { recursive: true });
        await writeFile(join(account, 'account_key.pem'), await readFile(accountFiles(first).key));

        const authority = await acme.newAuthority();
        // A key that was only made is given up for it.
        await accountThumbprint(authority);
        const { thumbprint } = await adoptAccount(authority, folder);
        expect(thumbprint).toBe(await accountThumbprint(first));
        expect(await registerAccount(authority)).toEqual({ url });
        expect(await adoptAccount(authority, join(account, 'account_key.pem'))).toEqual({ thumbprint });
        await acme.serve(authority, `taken-over-${kind}.test`);
        const name = `taken-over-${kind}.test`;
        expect((await issue(authority, { name, names: [name], key: 'ecdsa' })).facts.names).toEqual([name]);
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    test('is not given up for another one', async () => {
      const { authority } = await newCertificate();
      await registerAccount(authority);
      const other = await acme.newAuthority();
      await accountThumbprint(other);
      await expect(adoptAccount(authority, accountFiles(other).key)).rejects.toMatchObject({
        code: 'acme-account-in-use',
      });
      await expect(adoptAccount(authority, accountFiles(other).folder)).rejects.toMatchObject({
        code: 'acme-account-key-unusable',
      });
    });
  });
});
