import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { accountThumbprint, asPem, registerAccount } from '../../src/acme/account.js';
import { adoptAccount } from '../../src/acme/adopt.js';
import type { Authority } from '../../src/acme/authority.js';
import { answerChallenges } from '../../src/acme/challenges.js';
import { finalizeOrder } from '../../src/acme/finalize.js';
import { beginOrder } from '../../src/acme/order.js';
import { accountFiles } from '../../src/acme/places.js';
import { checkNames } from '../../src/acme/preflight.js';
import type { WantedCertificate } from '../../src/domain/certificates.js';
import { type AcmeUnderTest, issue, startAcme } from '../rig/acme.js';
import { type Endpoint, type Fault, problem } from '../rig/ca-proxy.js';

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
    acme.proxy.inject('directory', { change: (directory) => ({ ...directory, meta: { caaIdentities: [identity] } }) });

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
