import { hostname } from 'node:os';
import { isAbsolute, join, relative, resolve } from 'node:path';
import type { Client } from '@temporalio/client';
import { closest, distance } from 'fastest-levenshtein';
import type { PollingWorker } from '../client/workers.js';
import { currentUserName } from '../current-user.js';
import { parseOperationId } from '../domain/names.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { readVersion } from '../version.js';
import { heedInterruption } from './interruption.js';
import { leaving } from './leaving-text.js';
import { type LocalNames, readLocalNames } from './local-names.js';
import { Output } from './output.js';
import type { ProcessContext } from './process-context.js';
import { compareVersions, readLatestPoller } from './worker-version.js';

/** Longer than any call is tried again. */
const closeFailedAfterMs = 60_000;

export interface GlobalOptions {
  readonly config?: string;
  readonly project?: string;
  readonly json?: boolean;
  readonly color?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** An operation that Temporal accepted: it goes on whatever becomes of this command. */
export interface AcceptedOperation {
  readonly operation: string;
  /** Null for a change of the edge itself. */
  readonly environment: string | null;
}

/** One run of the command line: its global options, and what every command needs. */
export class Invocation {
  output: Output;
  options: GlobalOptions = {};
  exitCode = 0;
  /** Set as soon as there is one, for whoever has to say how to go on. */
  accepted: AcceptedOperation | null = null;
  /** Resolves when it was said that the worker is of another version, where it is: before anything is drawn. */
  versionCompared: Promise<void> | null = null;
  #names: Promise<LocalNames | null> | null = null;

  /** What it runs in; text leaves by its two streams, see leaving-text.ts. */
  readonly context: ProcessContext;

  constructor(private readonly own: ProcessContext) {
    this.context = withLeavingText(own);
    this.output = new Output(this.context, { json: false, quiet: false, color: true, verbose: false });
  }

  configure(options: GlobalOptions): void {
    this.options = options;
    this.output = new Output(this.context, {
      json: options.json ?? false,
      quiet: options.quiet ?? false,
      color: options.color ?? true,
      verbose: options.verbose ?? false,
    });
  }

  /** Where a question is asked, whose line is edited in place. */
  get terminal(): ProcessContext['stderr'] {
    return this.own.stderr;
  }

  get configurationFile(): string {
    return this.path(this.options.config || this.context.env.BASCULE_CONFIG || 'bascule.yaml');
  }

  /** A path that was typed, as this process finds it. */
  path(typed: string): string {
    return isAbsolute(typed) ? typed : join(relative(process.cwd(), this.context.folder), typed);
  }

  /** Who asks, for the record of the operation. */
  get by(): string {
    return this.context.env.GITHUB_ACTOR || `${currentUserName()}@${hostname()}`;
  }

  /** `--project`, else the one of bascule.yaml. Throws `config-invalid`, `usage`. */
  async project(): Promise<string> {
    const project = this.options.project ?? (await this.names())?.project;
    if (project !== undefined) return project;
    throw new BasculeError('usage', {
      problem: `there is no ${this.configurationFile} that says which project this is about`,
      help: 'Name it with --project NAME, name the file with --config FILE, or write one with `bascule init`.',
    });
  }

  /**
   * The environment that is meant: the given one, where bascule.yaml (when there is one) has it; the only one where
   * none is given. Throws `unknown-environment`, `usage`.
   */
  async environment(given: string | undefined): Promise<string> {
    const known = (await this.names())?.environments ?? null;
    if (given !== undefined) {
      if (known && !known.includes(given)) throw unknownEnvironment(given, known);
      return given;
    }
    const [only, ...more] = known ?? [];
    if (only !== undefined && more.length === 0) return only;
    throw new BasculeError('usage', {
      problem: 'which environment is meant?',
      help: known ? `Name one of: ${known.join(', ')}.` : 'Name it: there is no bascule.yaml here that could tell.',
    });
  }

  /** Names out of the local bascule.yaml, null where it is none of the project's. Throws `config-invalid`. */
  async names(): Promise<LocalNames | null> {
    this.#names ??= this.#readNames();
    return await this.#names;
  }

  /** Runs with a connection to Temporal. An answer that did not come says how things stand. Throws `temporal-unreachable`, `namespace-missing`, `temporal-lost`, `encryption-key-not-on-worker`. */
  async withClient<T>(run: (client: Client) => Promise<T>): Promise<T> {
    const { connectClient, connectionSettings, isUnanswered } = await import('../client/connection.js');
    const { assertWorkerCanRead } = await import('../client/encryption.js');
    const { namingNamespace } = await import('../client/namespace.js');
    const { env } = this.context;
    const { connectionOptions, namespace } = connectionSettings(env);
    this.output.detail(`Temporal: ${connectionOptions.address}, namespace ${namespace}`);
    const stopHeeding = heedInterruption(this);
    const client = await connectClient(env);
    const worker = this.#readWorker(client);
    // Once, alongside what is asked: it keeps nothing waiting.
    this.versionCompared ??= worker.then((seen) => this.#compareVersions(seen));
    try {
      await assertWorkerCanRead(worker, env);
      const result = await namingNamespace({ namespace, address: connectionOptions.address }, () => run(client));
      await this.versionCompared;
      await client.connection.close();
      return result;
    } catch (error) {
      // gRPC may still try a call again, which throws in nobody's hands where its connection was closed.
      setTimeout(() => void client.connection.close(), closeFailedAfterMs).unref();
      if (isBasculeError(error) || !isUnanswered(error)) throw error;
      throw new BasculeError('temporal-lost', { operation: this.accepted?.operation ?? null }, { cause: error });
    } finally {
      await this.versionCompared;
      stopHeeding();
    }
  }

  async #readWorker(client: Client): Promise<PollingWorker | null> {
    const operation = this.accepted && parseOperationId(this.accepted.operation);
    const project = operation?.project ?? this.options.project ?? (await this.names())?.project;
    return project === undefined ? null : await readLatestPoller(client, project);
  }

  #compareVersions(worker: PollingWorker | null): void {
    if (!worker) return;
    this.output.detail(`worker: ${worker.identity}, which polled last ${new Date(worker.polledAt).toISOString()}`);
    const other = worker.version === null ? null : compareVersions(worker.version, readVersion());
    if (other) this.output.warn(other.message, other.remedy);
  }

  async #readNames(): Promise<LocalNames | null> {
    const names = await readLocalNames(this.configurationFile);
    this.output.detail(`bascule.yaml: ${names ? resolve(this.configurationFile) : 'none read'}`);
    if (this.options.project !== undefined) return names?.project === this.options.project ? names : null;
    if (names) return names;
    if (!this.options.config && !this.context.env.BASCULE_CONFIG && !(await exists(this.configurationFile)))
      return null;
    // It is there and does not even name its project: this says what is wrong with it.
    const { loadConfiguration } = await import('../config/load.js');
    await loadConfiguration(this.configurationFile);
    return null;
  }
}

/** A stream is made when it is first asked for, once. */
function withLeavingText(own: ProcessContext): ProcessContext {
  const made = new Map<'stdout' | 'stderr', ProcessContext['stdout']>();
  const stream = (name: 'stdout' | 'stderr') =>
    made.get(name) ?? made.set(name, leaving(own[name])).get(name) ?? own[name];
  return {
    argv: own.argv,
    env: own.env,
    folder: own.folder,
    signals: own.signals,
    exit: own.exit,
    get stdin() {
      return own.stdin;
    },
    get stdout() {
      return stream('stdout');
    },
    get stderr() {
      return stream('stderr');
    },
  };
}

async function exists(file: string): Promise<boolean> {
  const { stat } = await import('node:fs/promises');
  return stat(file).then(
    () => true,
    () => false,
  );
}

function unknownEnvironment(environment: string, known: readonly string[]): BasculeError {
  const nearest = known.length > 0 ? closest(environment, [...known]) : undefined;
  const isNear = nearest !== undefined && distance(environment, nearest) <= Math.max(2, environment.length / 3);
  return new BasculeError('unknown-environment', { environment, known, ...(isNear ? { nearest } : {}) });
}
