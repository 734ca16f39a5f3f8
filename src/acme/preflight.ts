import { randomBytes } from 'node:crypto';
import { promises as dns } from 'node:dns';
import { type RequestOptions, request } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WantedCertificate } from '../domain/certificates.js';
import type { BindAddress } from '../domain/configuration.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { accountKey } from './account.js';
import { type Authority, nameOf } from './authority.js';
import { isAbsent, whyForbidden } from './caa.js';
import { Session } from './session.js';

interface NamesCheck {
  /** Where the edge listens for http. */
  readonly edge: BindAddress;
  /** Of the account's key, by which the edge has to answer. */
  readonly thumbprint: string;
  /** `<address>` or `<address>:<port>` of the name servers to ask, else the machine's. */
  readonly nameServers?: readonly string[];
  /** At which the public address is asked, 80 where it is left out. */
  readonly publicPort?: number;
  readonly signal?: AbortSignal;
}

const lookUp = { timeout: 2_000, tries: 2 };
const answerWithinMs = 5_000;
const largestAnswer = 1_000;

/**
 * Looks, before the authority is asked, at what it is going to find: that it is allowed to issue for the names, that they
 * have an address, and that the edge answers its challenges. What cannot be found out is a warning.
 *
 * @throws `certificate-forbidden`, `name-not-found`, `challenge-not-answered`, and those of `Session`
 */
export async function checkNames(
  authority: Authority,
  { names }: Pick<WantedCertificate, 'names'>,
  check: NamesCheck,
): Promise<{ readonly warnings: readonly string[] }> {
  const resolver = new dns.Resolver(lookUp);
  if (check.nameServers) resolver.setServers(check.nameServers);
  const session = await Session.open(authority, { key: await accountKey(authority), account: null }, check.signal);
  const { meta } = await session.directory();

  const warnings: string[] = [];
  const unlessSilent = async <T>(name: string, what: string, ask: () => Promise<T>): Promise<T | null> => {
    try {
      return await ask();
    } catch (error) {
      check.signal?.throwIfAborted();
      warnings.push(`${name}: ${what} could not be asked of DNS: ${describe(error)}`);
      return null;
    }
  };

  const identities = (meta.caaIdentities ?? []).map((identity) => identity.toLowerCase());
  const forbidden = await Promise.all(
    names.map(async (name) => {
      if (identities.length === 0) return null;
      return await unlessSilent(name, 'CAA', () => whyForbidden(resolver, name, identities));
    }),
  );
  throwIfAny(forbidden, (problems) => new BasculeError('certificate-forbidden', { ca: nameOf(authority), problems }));

  const addresses = await Promise.all(
    names.map(async (name) => await unlessSilent(name, 'its address', () => addressesOf(resolver, name))),
  );
  const nowhere = names.map((name, index) => (addresses[index]?.length === 0 ? name : null));
  throwIfAny(nowhere, (missing) => new BasculeError('name-not-found', { names: missing }));

  const { address, port } = check.edge;
  const inside = { address: address === '*' ? '127.0.0.1' : address, port };
  const fromInside = () => authority.host.connect(inside);
  const unanswered = await Promise.all(names.map(async (name) => await probe(inside, name, check, fromInside)));
  throwIfAny(unanswered, (problems) => new BasculeError('challenge-not-answered', { ...inside, problems }));

  const outside = await Promise.all(
    names.map(async (name, index) => {
      const [first] = addresses[index] ?? [];
      return first ? await probe({ address: first, port: check.publicPort ?? 80 }, name, check) : null;
    }),
  );
  for (const problem of outside) {
    // A router may not let it back in.
    if (problem !== null)
      warnings.push(`${problem} (asked from here at its public address; the authority may see it otherwise)`);
  }
  return { warnings };
}

function throwIfAny(found: readonly (string | null)[], error: (found: readonly string[]) => BasculeError): void {
  const problems = found.filter((each) => each !== null);
  if (problems.length > 0) throw error(problems);
}

/** Addresses of a name, those of IPv4 first. Throws where no name server answers. */
async function addressesOf(resolver: dns.Resolver, name: string): Promise<readonly string[]> {
  const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const addresses = found.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
  const failed = found.flatMap((each) => (each.status === 'rejected' && !isAbsent(each.reason) ? [each.reason] : []));
  if (addresses.length === 0 && failed.length > 0) throw failed[0];
  return addresses;
}

/** Why a challenge for a name is not answered; null where it is. The token is one that nobody asked for. */
async function probe(
  { address, port }: BindAddress,
  name: string,
  check: NamesCheck,
  createConnection?: () => Duplex,
): Promise<string | null> {
  const token = `bascule-${randomBytes(16).toString('base64url')}`;
  const path = `/.well-known/acme-challenge/${token}`;
  const at = `http://${name}${path} at ${address}:${port}`;
  try {
    const { status, body } = await ask(
      { host: address, port, path, headers: { Host: name }, ...(createConnection && { createConnection }) },
      check.signal,
    );
    if (status !== 200) return `${at} answered ${status}`;
    if (body.trim() === `${token}.${check.thumbprint}`) return null;
    return `${at} answered something else than the account's key asks for`;
  } catch (error) {
    check.signal?.throwIfAborted();
    return `${at} did not answer: ${describe(error)}`;
  }
}

function ask(
  target: RequestOptions,
  signal: AbortSignal | undefined,
): Promise<{ readonly status: number; readonly body: string }> {
  const limit = AbortSignal.timeout(answerWithinMs);
  return new Promise((resolve, reject) => {
    const asking = request({
      ...target,
      ...(target.createConnection ? {} : { agent: false }),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    asking.on('error', reject);
    asking.on('response', (response) => {
      let body = '';
      response.setEncoding('latin1');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > largestAnswer) response.destroy(new Error('too long an answer'));
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asking.end();
  });
}

function describe(error: unknown): string {
  if (isBasculeError(error)) return error.message;
  if (error instanceof Error && 'code' in error && error.code === 'ABORT_ERR')
    return `not within ${answerWithinMs / 1_000} s`;
  return error instanceof Error ? error.message : String(error);
}
