import { PassThrough, type Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Dispatcher, request } from 'undici';
import WebSocket from 'ws';
import * as z from 'zod';
import { type IncusPlace, inFull } from '../domain/incus-place.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { type IncusRemote, openRemote } from './incus-remote.js';

/** A command that runs in an instance. */
export interface IncusProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Rejects as `IncusClient` does where the daemon was lost meanwhile: then nobody knows how it ended. */
  readonly exitCode: Promise<number>;
}

export interface IncusFile {
  readonly type: 'file' | 'symlink' | 'directory';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** The target of a link, the names in a folder joined by newlines. */
  readonly content: Buffer;
}

interface Ask {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

const answerSchema = z.object({
  type: z.enum(['sync', 'async', 'error']),
  error: z.string().optional(),
  error_code: z.number().optional(),
  metadata: z.unknown(),
});

const operationSchema = z.object({
  id: z.string(),
  status_code: z.number(),
  err: z.string(),
  metadata: z.record(z.string(), z.unknown()).nullable(),
});

type Operation = z.infer<typeof operationSchema>;

const secretsSchema = z.object({ fds: z.object({ '0': z.string(), '1': z.string(), '2': z.string() }) });
const instanceSchema = z.object({ status: z.string() });
const stateSchema = z.object({
  network: z.record(z.string(), z.object({ addresses: z.array(z.object({ address: z.string() })) })).nullable(),
});
const endedSchema = z.object({ return: z.number() });

/** Exit codes that the daemon answers as errors. */
const codesInWords: ReadonlyMap<string, number> = new Map([
  ['Command not executable', 126],
  ['Command not found', 127],
]);

/** Of an operation that did what it was asked for. */
const succeeded = 200;
/** Of one that has not ended. */
const running = 103;
/** Longer than a start takes on a busy machine: the image was unpacked before. */
const startWithinS = 90;
const busyPollMs = 1_000;
/** Longer than a busy daemon takes to answer what it does not wait for. */
const answerWithinMs = 30_000;
/** What a socket may have to send before a writer waits. */
const unsentBytes = 1_000_000;
const unsentPollMs = 5;

/**
 * Incus's REST API (https://linuxcontainers.org/incus/docs/main/rest-api/), as far as an instance is concerned.
 *
 * All of it throws `incus-unreachable`, `incus-not-trusted`, `incus-instance-missing`, `incus-instance-stopped`,
 * `incus-refused`, and those of `openRemote`.
 */
export class IncusClient {
  private opening: Promise<IncusRemote> | null = null;

  constructor(readonly place: IncusPlace) {}

  /** Asks for what is answered at once, and answers its metadata. `path` begins behind `/1.0`. */
  async ask(path: string, ask: Ask = {}): Promise<unknown> {
    return (await this.send(path, ask)).metadata;
  }

  /** As `ask`; null where there is no such thing. */
  async find(path: string): Promise<unknown> {
    const { statusCode, body } = await this.raw(path, {});
    const text = await body.text();
    return statusCode === 404 ? null : this.answerOf(path, statusCode, text).metadata;
  }

  /** Asks for what takes its time, and waits until it is done. `path` begins behind `/1.0`. */
  async change(path: string, ask: Ask): Promise<void> {
    const { type, metadata } = await this.send(path, ask);
    if (type === 'async') await this.ended(path, operationSchema.parse(metadata), ask);
  }

  /** Starts or unfreezes the instance, or waits for who does; done where it runs. Throws `incus-start-hangs` too. */
  async start(action: 'start' | 'unfreeze' = 'start'): Promise<void> {
    const path = `${this.instancePath}/state`;
    const deadline = performance.now() + startWithinS * 1_000;
    for (;;) {
      try {
        const { metadata } = await this.send(path, { method: 'PUT', body: { action, timeout: -1 } });
        await this.ended(path, operationSchema.parse(metadata), { withinS: startWithinS });
        return;
      } catch (error) {
        if (refusedFor(error, /already running/i) !== null) return;
        if (refusedFor(error, /is busy running/i) === null) throw error;
        if (performance.now() > deadline) throw this.hangs();
      }
      await sleep(busyPollMs);
    }
  }

  /** As `change`, of the instance itself. */
  async changeInstance(path: string, ask: Ask): Promise<void> {
    await this.change(`${this.instancePath}${path}`, ask);
  }

  /** As `ask`, of the instance itself: `path` begins behind its name. */
  async askInstance(path: string, ask: Ask = {}): Promise<unknown> {
    return await this.ask(`${this.instancePath}${path}`, ask);
  }

  /**
   * Starts a command, as root and without a shell. It goes on where this process dies, until it notices that nobody holds
   * the other ends of its streams; the daemon ends it then with SIGKILL.
   */
  async exec(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<IncusProcess> {
    const path = `${this.instancePath}/exec`;
    const body = { command, environment, 'wait-for-websocket': true, interactive: false };
    const { metadata } = await this.send(path, { method: 'POST', body });
    const operation = operationSchema.parse(metadata);
    const { fds } = secretsSchema.parse(operation.metadata);
    const exitCode = this.exitCode(path, operation);
    // Whoever waits for the streams learns it there first.
    exitCode.catch(() => undefined);
    const [stdin, stdout, stderr] = await Promise.all([
      this.connect(operation, fds['0'], sinkOf),
      this.connect(operation, fds['1'], sourceOf),
      this.connect(operation, fds['2'], sourceOf),
    ]);
    return { stdin, stdout, stderr, exitCode };
  }

  /** A file of the instance, null where there is none. What /proc and /sys show has no content here. */
  async readFile(path: string, signal?: AbortSignal): Promise<IncusFile | null> {
    const { statusCode, headers, body } = await this.raw(`${this.instancePath}/files`, {
      query: { path },
      ...(signal ? { signal } : {}),
    });
    const content = Buffer.from(await body.arrayBuffer());
    if (statusCode === 404) {
      // An instance that is not there answers so too.
      await this.askInstance('/state');
      return null;
    }
    if (/not a directory/.test(content.toString()) && statusCode !== 200) return null;
    if (statusCode !== 200) throw this.refusal(`read ${path}`, statusCode, content.toString());
    const header = (name: string): string => String(headers[`x-incus-${name}`] ?? '');
    const type = z.enum(['file', 'symlink', 'directory']).parse(header('type'));
    const names = type === 'directory' ? Buffer.from(namesIn(content.toString()).join('\n')) : content;
    return {
      type,
      mode: Number.parseInt(header('mode'), 8),
      uid: Number(header('uid')),
      gid: Number(header('gid')),
      content: names,
    };
  }

  /** Writes a file of the instance, in place: who reads it meanwhile may see a part of it. Its folder has to be there. */
  async pushFile(
    path: string,
    content: string | Buffer | Readable,
    file: { readonly mode: number; readonly uid?: number; readonly gid?: number; readonly signal?: AbortSignal },
  ): Promise<void> {
    const { mode, uid = 0, gid = 0, signal } = file;
    const { statusCode, body } = await this.raw(`${this.instancePath}/files`, {
      method: 'POST',
      query: { path },
      content,
      headers: {
        'content-type': 'application/octet-stream',
        'x-incus-type': 'file',
        'x-incus-mode': `0${mode.toString(8)}`,
        'x-incus-uid': String(uid),
        'x-incus-gid': String(gid),
      },
      ...(signal ? { signal } : {}),
    });
    const answer = await body.text();
    if (statusCode !== 200) throw this.refusal(`write ${path}`, statusCode, answer);
  }

  /** Whether it runs. Throws `incus-instance-missing`. */
  async isRunning(): Promise<boolean> {
    return instanceSchema.parse(await this.askInstance('')).status === 'Running';
  }

  /** The addresses that it has now. */
  async addresses(): Promise<readonly string[]> {
    const { network } = stateSchema.parse(await this.askInstance('/state'));
    return Object.values(network ?? {}).flatMap(({ addresses }) => addresses.map(({ address }) => address));
  }

  /** Lets go of idle connections. */
  async close(): Promise<void> {
    await (await this.opening)?.dispatcher.destroy();
    this.opening = null;
  }

  private get instancePath(): string {
    return `/instances/${encodeURIComponent(this.place.instance)}`;
  }

  private async send(path: string, ask: Ask): Promise<z.infer<typeof answerSchema>> {
    const { statusCode, body } = await this.raw(path, {
      ...ask,
      ...(ask.body === undefined ? {} : { content: JSON.stringify(ask.body) }),
    });
    return this.answerOf(path, statusCode, await body.text());
  }

  private answerOf(path: string, statusCode: number, text: string): z.infer<typeof answerSchema> {
    const answer = parseAnswer(text);
    if (answer === null || answer.type === 'error') throw this.refusal(path, statusCode, text);
    return answer;
  }

  private async raw(
    path: string,
    ask: Omit<Ask, 'body'> & {
      readonly content?: string | Buffer | Readable;
      readonly headers?: Readonly<Record<string, string>>;
      readonly waits?: boolean;
    },
  ): Promise<Dispatcher.ResponseData> {
    const remote = await this.open();
    const query = new URLSearchParams({ project: inFull(this.place).project, ...ask.query });
    try {
      return await request(`${remote.origin}/1.0${path}?${query}`, {
        method: ask.method ?? 'GET',
        dispatcher: remote.dispatcher,
        body: ask.content ?? null,
        headersTimeout: ask.waits ? 0 : answerWithinMs,
        bodyTimeout: 0,
        ...(ask.headers ? { headers: ask.headers } : {}),
        ...(ask.signal ? { signal: ask.signal } : {}),
      });
    } catch (error) {
      ask.signal?.throwIfAborted();
      throw this.unreachable(remote, error);
    }
  }

  /** That a command was not found, or may not be run, is its exit code, as a shell has it. */
  private async exitCode(path: string, started: Operation): Promise<number> {
    try {
      return endedSchema.parse((await this.ended(path, started)).metadata).return;
    } catch (error) {
      const reason = isBasculeError(error) && 'reason' in error.args ? String(error.args.reason) : '';
      const code = codesInWords.get(reason);
      if (code === undefined) throw error;
      return code;
    }
  }

  /** Waits until an operation has done what it was asked for. */
  private async ended(
    path: string,
    { id }: Operation,
    { signal, withinS = -1 }: { signal?: AbortSignal; withinS?: number } = {},
  ): Promise<Operation> {
    const { statusCode, body } = await this.raw(`/operations/${id}/wait`, {
      query: { timeout: String(withinS) },
      waits: true,
      ...(signal ? { signal } : {}),
    });
    const text = await body.text().catch(async (error: unknown) => {
      throw this.unreachable(await this.open(), error);
    });
    const answer = parseAnswer(text);
    if (answer?.type !== 'sync') throw this.refusal(path, statusCode, text);
    const operation = operationSchema.parse(answer.metadata);
    if (operation.status_code === succeeded) return operation;
    if (operation.status_code === running) throw this.hangs();
    throw this.refusal(path, operation.status_code, JSON.stringify({ type: 'error', error: operation.err }));
  }

  private async connect<T>({ id }: Operation, secret: string, asStream: (socket: WebSocket) => T): Promise<T> {
    const remote = await this.open();
    const query = new URLSearchParams({ project: inFull(this.place).project, secret });
    const url = `${remote.origin.replace(/^http/, 'ws')}/1.0/operations/${id}/websocket?${query}`;
    const socket = new WebSocket(url, { ...remote.sockets, perMessageDeflate: false });
    // Before it is open: what comes first would be lost.
    const stream = asStream(socket);
    return await new Promise((resolve, reject) => {
      socket.once('open', () => resolve(stream));
      socket.on('error', (error) => reject(this.unreachable(remote, error)));
    });
  }

  private async open(): Promise<IncusRemote> {
    this.opening ??= openRemote(this.place.remote);
    try {
      return await this.opening;
    } catch (error) {
      // What is missing may be there the next time.
      this.opening = null;
      throw error;
    }
  }

  private unreachable(remote: IncusRemote, error: unknown): BasculeError {
    if (isBasculeError(error)) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new BasculeError(
      'incus-unreachable',
      { ...inFull(this.place), remote: remote.name, place: remote.place, reason },
      { cause: error },
    );
  }

  private hangs(): BasculeError {
    return new BasculeError('incus-start-hangs', { ...inFull(this.place), timeoutMs: startWithinS * 1_000 });
  }

  private refusal(what: string, status: number, text: string): BasculeError {
    const answer = parseAnswer(text);
    const reason = answer?.error || `status ${status}`;
    const place = inFull(this.place);
    const code = answer?.error_code ?? status;
    if (code === 401 || code === 403) return new BasculeError('incus-not-trusted', { ...place, reason });
    if (code === 404 && /(?:Instance|Project) not found/i.test(reason))
      return new BasculeError('incus-instance-missing', place);
    if (/Instance is not running/i.test(reason)) return new BasculeError('incus-instance-stopped', place);
    return new BasculeError('incus-refused', { ...place, what, reason });
  }
}

/** What Incus said, where it refused something for this reason. */
export function refusedFor(error: unknown, reason: RegExp): string | null {
  if (!isBasculeError(error) || !('reason' in error.args)) return null;
  const said = String(error.args.reason);
  return reason.test(said) ? said : null;
}

function parseAnswer(text: string): z.infer<typeof answerSchema> | null {
  try {
    return answerSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

const namesIn = (text: string): readonly string[] => z.array(z.string()).parse(parseAnswer(text)?.metadata);

/** What comes over a socket, until the empty text by which the daemon says that there is no more. */
function sourceOf(socket: WebSocket): Readable {
  const source = new PassThrough();
  socket.on('message', (data: Buffer, isBinary) => {
    if (isBinary) source.write(data);
    else source.end();
  });
  socket.on('close', () => source.end());
  source.on('close', () => socket.close());
  return source;
}

/** The daemon takes an empty text for the end. */
function sinkOf(socket: WebSocket): Writable {
  const afterSending = (callback: () => void): void => {
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount > unsentBytes) {
      setTimeout(() => afterSending(callback), unsentPollMs);
    } else callback();
  };
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      // A command may end without having read all of it.
      if (socket.readyState === WebSocket.OPEN) socket.send(chunk);
      afterSending(callback);
    },
    final(callback) {
      if (socket.readyState === WebSocket.OPEN) socket.send('');
      callback();
    },
    destroy(error, callback) {
      socket.close();
      callback(error);
    },
  });
}
