import { readFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { createSecureContext, rootCertificates } from 'node:tls';
import type acme from 'acme-client';
import type * as z from 'zod';
import { BasculeError, type RetryAfter } from '../errors.js';
import { hasSystemCode } from '../system-error.js';
import { type Authority, nameOf } from './authority.js';
import { type Directory, directoryObject, parseObject } from './objects.js';
import { errorOf, errorOfConnection, oneLine, type RawAnswer, readProblem, retryAfter } from './problem.js';

/** The part of acme-client that signs and sends; it hides the headers that orders are found and waited for by. */
interface SigningClient {
  maxBadNonceRetries: number;
  request(url: string, method: string, options?: Record<string, unknown>): Promise<RawAnswer>;
  getDirectory(): Promise<unknown>;
  signedRequest(
    url: string,
    payload: object | null,
    options: { kid: string | null; nonce: string | null; includeExternalAccountBinding: boolean },
  ): Promise<RawAnswer>;
}

export interface Credentials {
  /** PEM. */
  readonly key: string;
  /** URL of the account; null while it is not known. */
  readonly account: string | null;
  readonly externalAccount?: { readonly keyId: string; readonly key: string };
}

/** An answer that was no error. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly location: string | null;
  readonly retry: RetryAfter;
  /** URL of the next page, where there is one. */
  readonly next: string | null;
}

const showDirectory = 'show its directory';
const answerWithinMs = 30_000;
/** Pebble refuses one of twenty good nonces, and a restarted authority all that it gave out. */
const nonceTries = 10;
const largestAnswer = 1_000_000;

/** Loaded by the first who asks an authority: it takes a worker a sixth of its start, and most have nothing to ask. */
export async function loadClient(): Promise<typeof acme> {
  const { default: client } = await import('acme-client');
  // Whoever called waits, and knows for how long: a retry here would hide that, and would not survive a restart.
  Object.assign(client.axios.defaults, { acmeSettings: { retryMaxAttempts: 0 } });
  return client;
}

/** Connections that are kept open, by the roots that they trust. */
const agents = new Map<string, Agent>();

/** Asks an authority; an error is thrown as what it means. */
export class Session {
  readonly #client: SigningClient;
  readonly #nonces: string[] = [];

  private constructor(
    { Client }: Pick<typeof acme, 'Client'>,
    readonly authority: Authority,
    private readonly credentials: Credentials,
    private readonly agent: Agent,
    private readonly signal: AbortSignal | undefined,
  ) {
    const { key, externalAccount } = credentials;
    const client = new Client({
      directoryUrl: authority.directory,
      accountKey: key,
      ...(externalAccount && { externalAccountBinding: { kid: externalAccount.keyId, hmacKey: externalAccount.key } }),
    });
    // Not among its types.
    this.#client = (client as unknown as { http: SigningClient }).http;
    this.#client.maxBadNonceRetries = nonceTries;
    this.#limitRequests();
  }

  /** Throws `acme-ca-file-missing`. */
  static async open(authority: Authority, credentials: Credentials, signal?: AbortSignal): Promise<Session> {
    return new Session(await loadClient(), authority, credentials, await agentOf(authority), signal);
  }

  /** Throws `acme-answer-unreadable`, `acme-untrusted`, `acme-unavailable`. */
  async directory(): Promise<Directory> {
    return this.read(showDirectory, directoryObject, await this.#ask(showDirectory, () => this.#client.getDirectory()));
  }

  /** The URL at which something is asked for. Throws as `directory`, and `acme-answer-unreadable` where it names none. */
  async directoryUrl(member: 'newNonce' | 'newAccount' | 'newOrder' | 'revokeCert'): Promise<string> {
    const url = (await this.directory())[member];
    if (url === undefined) throw this.#unreadable(showDirectory, `${member}: missing`);
    return url;
  }

  /** Sends a signed request, or a POST-as-GET where there is nothing to send (RFC 8555, 6.3). */
  async post(
    act: string,
    url: string,
    payload: object | null,
    { asNew = false }: { readonly asNew?: boolean } = {},
  ): Promise<Answer> {
    // Not by the client, which would say no more than that it failed.
    if (this.#nonces.length === 0) await this.directoryUrl('newNonce');
    const options = {
      kid: asNew ? null : this.credentials.account,
      nonce: this.#nonces.pop() ?? null,
      includeExternalAccountBinding: asNew && this.credentials.externalAccount !== undefined,
    };
    return this.#answer(act, await this.#ask(act, () => this.#client.signedRequest(url, payload, options)));
  }

  /** Asks without a signature, as for renewal information. */
  async get(act: string, url: string): Promise<Answer> {
    return this.#answer(act, await this.#ask(act, () => this.#client.request(url, 'get')));
  }

  /** What an answer holds. Throws `acme-answer-unreadable`. */
  read<T extends z.ZodType>(act: string, schema: T, body: unknown): z.infer<T> {
    const { data, error } = parseObject(schema, body);
    if (data !== undefined) return data;
    const [issue] = error?.issues ?? [];
    throw this.#unreadable(act, issue ? `${issue.path.join('.') || 'its answer'}: ${issue.message}` : 'nothing');
  }

  #unreadable(act: string, reason: string): BasculeError {
    return new BasculeError('acme-answer-unreadable', { ca: nameOf(this.authority), act, reason: oneLine(reason) });
  }

  #answer(act: string, answer: RawAnswer): Answer {
    const error = errorOf(this.authority, act, answer);
    if (error) throw error;
    const { status, headers, data } = answer;
    const location = headers.location;
    return {
      status,
      body: data,
      location: typeof location === 'string' ? location : null,
      retry: retryAfter(headers),
      next: nextPage(headers.link),
    };
  }

  async #ask<T>(act: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      this.signal?.throwIfAborted();
      throw errorOfConnection(this.authority, act, error);
    }
  }

  /** Every request has a time limit, trusts the right roots, and keeps the nonce of its answer for the next one. */
  #limitRequests(): void {
    const client = this.#client;
    const request = client.request.bind(client);
    client.request = async (url, method, options = {}) => {
      const limit = AbortSignal.timeout(answerWithinMs);
      const answer = await request(url, method, {
        ...options,
        httpsAgent: this.agent,
        signal: this.signal ? AbortSignal.any([this.signal, limit]) : limit,
        maxContentLength: largestAnswer,
        maxRedirects: method === 'get' ? 3 : 0,
      });
      // Asked on the way to something else; acme-client would not say more than that it failed.
      const aside = url === this.authority.directory ? showDirectory : method === 'head' ? 'give a nonce' : null;
      const error = aside === null ? null : errorOf(this.authority, aside, answer);
      if (error) throw error;
      // That of a refusal of a nonce is taken by the try that follows at once.
      const nonce = answer.headers['replay-nonce'];
      const isKept = method === 'post' && typeof nonce === 'string' && !isNonceRefused(answer);
      if (isKept) this.#nonces.push(nonce);
      return answer;
    };
  }
}

async function agentOf({ caFile }: Authority): Promise<Agent> {
  const roots = caFile === undefined ? '' : await readRoots(caFile);
  const known = agents.get(roots);
  if (known) return known;
  // Read once: `ca` would have all roots read again for each connection, which takes longer than the rest of it.
  const trust = roots === '' ? {} : { secureContext: createSecureContext({ ca: [...rootCertificates, roots] }) };
  const agent = new Agent({ keepAlive: true, ...trust });
  agents.set(roots, agent);
  return agent;
}

/** Of this machine, which asks the authority. */
async function readRoots(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) throw new BasculeError('acme-ca-file-missing', { file });
    throw error;
  }
}

const isNonceRefused = ({ data }: RawAnswer): boolean => readProblem(data).type?.endsWith(':badNonce') ?? false;

/** Of a Link header (RFC 8288): `<URL>;rel="next"`. */
function nextPage(header: unknown): string | null {
  const links = [header].flat().filter((each) => typeof each === 'string');
  return /<([^>]*)>\s*;\s*rel="?next"?/.exec(links.join(','))?.[1] ?? null;
}
