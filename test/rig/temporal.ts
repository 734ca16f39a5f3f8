import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import type { InjectedSinks } from '@temporalio/worker';
import { execa } from 'execa';
import {
  searchAttributeNames,
  type TemporalServerOptions,
  temporalServerArguments,
} from '../../src/temporal-server.js';
import type { NoticeSinks } from '../../src/workflows/notices.js';
import { freePort } from './ports.js';

const tools = fileURLToPath(new URL('../../.tools/bin/', import.meta.url));
const readyWithinMs = 30_000;
const stopWithinMs = 10_000;

/** Temporal's CLI as `script/setup` installed it. Throws where it did not. */
export const temporalPath = (): Promise<string> => installedTool('temporal');

/** Temporal's time-skipping test server as `script/setup` installed it. Throws where it did not. */
export const temporalTestServerPath = (): Promise<string> => installedTool('temporal-test-server');

/** For workers that notify nobody of how an operation ended. */
export const withoutNotifications: InjectedSinks<NoticeSinks> = {
  notices: { ended: { fn: () => undefined, callDuringReplay: false } },
};

export interface TemporalServer {
  /** `127.0.0.1:<port>`, the same before and after a restart. */
  readonly address: string;
  readonly port: number;
  /** Where its HTTP API is. */
  readonly httpPort: number;
  readonly dbFile: string;
  pid(): number;
  /** SIGTERM, then SIGKILL after 10 s; removes the database where it was not the caller's. */
  stop(): Promise<void>;
  /** SIGKILL, as a power cut of the machine would; waits until it is gone. */
  kill(): Promise<void>;
  /** SIGKILL, and starts it again on the same ports with an empty database. */
  loseDatabase(): Promise<void>;
  /** Starts it again on the same database and ports, stopping it before where it still runs. */
  restart(): Promise<void>;
}

/**
 * Temporal's dev server on free ports of 127.0.0.1, ready: it serves, and knows the search attributes. Its rates let
 * an activity start within milliseconds, and its database survives SIGKILL.
 */
export async function startTemporal(
  options: { dbFile?: string; ui?: TemporalServerOptions['ui'] } = {},
): Promise<TemporalServer> {
  const executable = await temporalPath();
  const directory = options.dbFile ? dirname(options.dbFile) : await mkdtemp(join(tmpdir(), 'bascule-temporal-'));
  const dbFile = options.dbFile ?? join(directory, 'temporal.sqlite');
  const ports = { grpc: await freePort(), http: await freePort(), metrics: await freePort(), ui: options.ui ?? null };
  const address = `127.0.0.1:${ports.grpc}`;
  const start = async () => {
    const process = startProcess(executable, dbFile, ports);
    await untilReady(process, address, `${dbFile}.log`);
    return { process };
  };
  let running = await start();

  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    running.process.kill(signal);
    const force = setTimeout(() => running.process.kill('SIGKILL'), stopWithinMs);
    await running.process;
    clearTimeout(force);
  };
  return {
    address,
    port: ports.grpc,
    httpPort: ports.http,
    dbFile,
    pid: () => running.process.pid ?? 0,
    kill: () => end('SIGKILL'),
    loseDatabase: async () => {
      await end('SIGKILL');
      await Promise.all(['', '-wal', '-shm'].map((suffix) => rm(`${dbFile}${suffix}`, { force: true })));
      running = await start();
    },
    restart: async () => {
      await end('SIGTERM');
      running = await start();
    },
    stop: async () => {
      await end('SIGTERM');
      if (!options.dbFile) await rm(directory, { recursive: true, force: true });
    },
  };
}

function startProcess(
  executable: string,
  dbFile: string,
  ports: { grpc: number; http: number; metrics: number; ui: TemporalServerOptions['ui'] },
) {
  const log = { file: `${dbFile}.log`, append: true } as const;
  return execa(
    executable,
    temporalServerArguments({
      port: ports.grpc,
      ui: ports.ui,
      httpPort: ports.http,
      metricsPort: ports.metrics,
      dbFile,
    }),
    { stdin: 'ignore', stdout: log, stderr: log, reject: false, forceKillAfterDelay: false },
  );
}

async function untilReady(process: ReturnType<typeof startProcess>, address: string, log: string): Promise<void> {
  const deadline = Date.now() + readyWithinMs;
  let ended = false;
  const noteEnd = process.then(() => {
    ended = true;
  });
  let reason: unknown;
  while (Date.now() < deadline && !ended) {
    try {
      await assertServes(address);
      return;
    } catch (error) {
      reason = error;
      await Promise.race([sleep(25), noteEnd]);
    }
  }
  process.kill('SIGKILL');
  const said = (await readFile(log, 'utf8')).split('\n').slice(-20).join('\n');
  throw new Error(`Temporal's server ${ended ? 'ended' : 'was not ready within 30 s'}: ${said}`, { cause: reason });
}

async function assertServes(address: string): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '2s' });
  try {
    const known = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    const missing = searchAttributeNames.filter((name) => !(name in (known.customAttributes ?? {})));
    if (missing.length > 0) throw new Error(`search attributes not there yet: ${missing.join(', ')}`);
  } finally {
    await connection.close();
  }
}

async function installedTool(name: string): Promise<string> {
  const path = join(tools, name);
  try {
    await access(path);
  } catch (cause) {
    throw new Error(`${path} is missing: run script/setup`, { cause });
  }
  return path;
}
