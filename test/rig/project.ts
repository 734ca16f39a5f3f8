import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { execa } from 'execa';
import { connectClient, isUnanswered } from '../../src/client/connection.js';
import { inspectProject, ping } from '../../src/client/inspect.js';
import type { Status } from '../../src/domain/inspect.js';
import { hasSystemCode } from '../../src/system-error.js';
import { makeRelease, type Release } from './artifacts.js';
import { type CommandResult, runCommand } from './command.js';
import { freeLoopbackRange, freePort } from './ports.js';
import { startTemporal, type TemporalServer } from './temporal.js';
import { scaled } from './tier.js';

const bascule = fileURLToPath(new URL('../../dist/bascule', import.meta.url));
const example = fileURLToPath(new URL('../../examples/local.yaml', import.meta.url));
/** What hands this process's own streams on to a program. */
const needsProcess: ReadonlySet<string> = new Set(['exec']);
const workerReadyWithinMs = scaled(60_000);
const answersWithinMs = scaled(20_000);
const workerLogsWithinMs = 10_000;

/** Where src/activities/fail-point.ts reads where a worker is to be killed or stopped. */
export const failPointFile = (directory: string): string => join(directory, 'fail-point');

export interface RunningCommand {
  kill(signal: NodeJS.Signals): void;
  /** Waits until a stream of it holds this; fails where it ends before. */
  printed(text: RegExp, stream?: 'stdout' | 'stderr'): Promise<void>;
  /** `exitCode` is -1 where a signal ended it. */
  readonly ended: Promise<CommandResult>;
}

/** A project in a folder of its own, with a Temporal server, and a worker that can be killed and started again. */
export interface Project {
  readonly directory: string;
  /** Where visitors come in. */
  readonly edge: { readonly address: string; readonly port: number };
  readonly temporal: TemporalServer;
  readonly env: Readonly<Record<string, string>>;
  /** The command as a user types it, within this process where it can be. */
  bascule(...args: readonly string[]): Promise<CommandResult>;
  /** The same, for one that is to be killed. */
  start(...args: readonly string[]): RunningCommand;
  /** The same with `--json`; its document. */
  json<T>(
    ...args: readonly string[]
  ): Promise<{ readonly exitCode: number; readonly document: T; readonly stderr: string }>;
  /** What `bascule status --json` prints, without the start of a command. */
  look(): Promise<Status>;
  release(release: Omit<Release, 'directory'>): Promise<void>;
  /** A release of every component. */
  releaseAll(sha: string, options?: Pick<Release, 'unhealthy' | 'crash' | 'files'>): Promise<void>;
  /** Returns when it answers. `main` is the command of another version. */
  startWorker(main?: string): Promise<void>;
  /** Returns at once. */
  spawnWorker(main?: string): ChildProcess;
  /** SIGKILL. */
  killWorker(): Promise<void>;
  stopWorker(): Promise<void>;
  /** Whether the worker that was started last still runs. */
  workerRuns(): boolean;
  workerLog(): Promise<string>;
  stop(): Promise<void>;
}

export interface ProjectOptions {
  /** Changes examples/local.yaml, whose addresses are free ones already. */
  readonly configure?: (yaml: string) => string;
  readonly temporal?: TemporalServer;
  /** Where visitors come in, which `configure` has the edge listen at; a free port of this machine where it is left out. */
  readonly edge?: Project['edge'];
  readonly env?: Readonly<Record<string, string>>;
  /** Its workers can be killed or stopped where `setFailPoint` says. */
  readonly failPoints?: boolean;
}

export async function startProject(options: ProjectOptions = {}): Promise<Project> {
  const directory = await mkdtemp(join(tmpdir(), 'bascule-'));
  const temporal = options.temporal ?? (await startTemporal());
  const range = freeLoopbackRange().cidr;
  const edge = options.edge ?? { address: '127.0.0.1', port: await freePort() };
  const free = (await readFile(example, 'utf8'))
    .replace('http: 127.0.0.1:8088', `http: 127.0.0.1:${edge.port}`)
    .replace('127.77.0.0/16', range);
  const yaml = options.configure?.(free) ?? free;
  await writeFile(join(directory, 'bascule.yaml'), yaml);
  const env = { TEMPORAL_ADDRESS: temporal.address, NO_COLOR: '1', BASCULE_CONFIG: '', ...options.env };
  let worker: ChildProcess | null = null;
  const log = join(directory, 'worker.log');

  const start = (args: readonly string[]): RunningCommand => {
    const command = execa(bascule, args, {
      cwd: directory,
      env,
      reject: false,
      stdin: 'ignore',
    });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      command[name].on('data', (chunk) => {
        output[name] += String(chunk);
      });
    }
    return {
      kill: (signal) => void command.kill(signal),
      async printed(text, stream = 'stdout') {
        while (!text.test(output[stream])) {
          const hasEnded = await Promise.race([
            once(command[stream], 'data').then(() => false),
            command.then(() => true),
          ]);
          if (hasEnded) throw new Error(`it ended, and had not printed ${text}: ${output[stream]}`);
        }
      },
      ended: command.then(({ exitCode, stdout, stderr }) => ({ exitCode: exitCode ?? -1, stdout, stderr })),
    };
  };
  const run = (args: readonly string[]): Promise<CommandResult> =>
    needsProcess.has(args[0] ?? '')
      ? start(args).ended
      : runCommand(args, { folder: directory, env: { ...process.env, ...env } });
  const end = async (signal: NodeJS.Signals) => {
    const ending = worker;
    worker = null;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill(signal);
    await once(ending, 'exit');
  };
  const project: Project = {
    directory,
    edge,
    temporal,
    env,
    bascule: (...args) => run(args),
    start: (...args) => start(args),
    async json<T>(...args: readonly string[]) {
      const { exitCode, stdout, stderr } = await run([...args, '--json']);
      return { exitCode, document: JSON.parse(stdout) as T, stderr };
    },
    look: () => look(env.TEMPORAL_ADDRESS, yaml),
    async release(release) {
      await makeRelease({ ...release, directory });
    },
    async releaseAll(sha, more = {}) {
      await Promise.all(['api', 'web'].map((component) => makeRelease({ directory, component, sha, ...more })));
    },
    async startWorker(main) {
      const before = (await readLog(log)).length;
      await untilWorkerAnswers(
        () => isPinged(env, yaml),
        project.spawnWorker(main),
        async () => (await readLog(log)).slice(before),
      );
    },
    spawnWorker(main = bascule) {
      worker = spawn('sh', ['-c', 'exec "$0" worker >>worker.log 2>&1', main], {
        cwd: directory,
        env: {
          ...process.env,
          ...env,
          ...(options.failPoints ? { BASCULE_FAIL_POINT: failPointFile(directory) } : {}),
        },
        stdio: 'ignore',
      });
      return worker;
    },
    killWorker: () => end('SIGKILL'),
    stopWorker: () => end('SIGTERM'),
    workerRuns: () => worker !== null && worker.exitCode === null && worker.signalCode === null,
    workerLog: () => readFile(log, 'utf8'),
    async stop() {
      await end('SIGKILL');
      if (!options.temporal) await temporal.stop();
      await killAllOf(directory);
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
  return project;
}

async function look(address: string, yaml: string): Promise<Status> {
  const connection = await Connection.connect({ address });
  try {
    return await inspectProject(new Client({ connection }), projectOf(yaml), { what: 'status' });
  } finally {
    await connection.close();
  }
}

async function readLog(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    // No worker has logged anything yet.
    if (hasSystemCode(error, 'ENOENT')) return '';
    throw error;
  }
}

/** By its log, which costs nothing; where the disk is full nothing is logged. */
async function untilWorkerAnswers(
  isAnswered: () => Promise<boolean>,
  worker: ChildProcess,
  logged: () => Promise<string>,
): Promise<void> {
  const start = Date.now();
  while (Date.now() - start < workerReadyWithinMs && worker.exitCode === null) {
    const isThere = (await logged()).includes('"state":"RUNNING"') || Date.now() - start > workerLogsWithinMs;
    // Its first answer takes longer than commands wait for one, on a busy machine.
    if (isThere && (await isAnswered())) return;
    await sleep(50);
  }
  throw new Error(`the worker does not answer: ${(await logged()).slice(-5_000)}`);
}

async function isPinged(env: NodeJS.ProcessEnv, yaml: string): Promise<boolean> {
  const client = await connectClient({ ...process.env, ...env });
  try {
    await client.withDeadline(Date.now() + answersWithinMs, () => ping(client, projectOf(yaml)));
    return true;
  } catch (error) {
    if (isUnanswered(error)) return false;
    throw error;
  } finally {
    await client.connection.close();
  }
}

const projectOf = (yaml: string): string => /^project: (\S+)$/m.exec(yaml)?.[1] ?? '';

/** Ends every process that runs in this folder or from a file of it: HAProxy and the instances go on without a worker. */
export async function killAllOf(directory: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    if (pid === process.pid || !(await belongsTo(pid, directory))) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
}

async function belongsTo(pid: number, directory: string): Promise<boolean> {
  try {
    const [folder, command] = await Promise.all([
      readlink(`/proc/${pid}/cwd`),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    return folder.startsWith(directory) || command.includes(directory);
  } catch {
    // It ended meanwhile, or is another user's.
    return false;
  }
}
