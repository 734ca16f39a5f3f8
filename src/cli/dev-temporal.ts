import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { currentUserName, homeFolder } from '../current-user.js';
import { operationsKeptMs } from '../domain/defaults.js';
import { BasculeError } from '../errors.js';
import { installed } from '../installation.js';
import { searchAttributeNames, temporalServerArguments } from '../temporal-server.js';
import { type BackgroundProcess, startInBackground } from './background.js';
import { SupervisedProcess } from './supervised.js';
import { findTemporalOwner, type TemporalOwner } from './temporal-owner.js';
import { startTemporalUi } from './temporal-ui.js';

/** As Temporal's own tools have it. */
const uiPortOffset = 1_000;
const readyWithinMs = 30_000;

export interface DevTemporal {
  readonly address: string;
  /** Null where it was not asked for, and where the server is not ours: nobody knows where its UI is. */
  readonly uiUrl: string | null;
  /** Null where a server answered already: then it is not ours to stop. */
  readonly server: SupervisedProcess | null;
  /** Who runs the server that answered already, where that can be seen. */
  readonly owner: TemporalOwner | null;
  /** Ends the server, where it is ours, and what stands before its UI. */
  stop(): Promise<void>;
}

export interface DevTemporalOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly ui: boolean;
  /** How long a server of ours keeps operations; where none was asked for, at least the default. */
  readonly retentionMs?: number;
  readonly onRestart: (said: string) => Promise<void>;
}

/**
 * Temporal where TEMPORAL_ADDRESS says; started there where nobody answers, with its database in `folder`, and with its
 * UI where `ui` asks for it. Throws `temporal-not-installed`, `temporal-start-failed`, `address-in-use` for the UI's
 * port, and `temporal-unreachable` for an address that is not this machine's.
 */
export async function ensureTemporal(
  folder: string,
  { env, ui, retentionMs, onRestart }: DevTemporalOptions,
): Promise<DevTemporal> {
  const { connectionSettings } = await import('../client/connection.js');
  const { address } = connectionSettings(env).connectionOptions;
  const { isListening, isLoopback, parseAddress } = await import('../listening.js');
  const place = parseAddress(address);
  if (await isListening(place)) {
    const owner = isLoopback(place) ? await findTemporalOwner(place.port) : null;
    return { address, uiUrl: null, server: null, owner, stop: async () => {} };
  }
  if (!isLoopback(place)) throw new BasculeError('temporal-unreachable', { address });
  const { port } = place;
  const program = await findTemporal(env);
  const front = ui ? await startTemporalUi(port + uiPortOffset) : null;
  const args = temporalServerArguments({ port, ui: front?.behind ?? null, dbFile: join(folder, 'temporal.db') });
  try {
    const server = await SupervisedProcess.start({
      what: 'Temporal',
      start: () => startServer(program, args, { folder, env, retentionMs }),
      failure: async ({ log, lastLines }, how) =>
        new BasculeError('temporal-ended', { log, how, lines: await lastLines() }),
      onRestart,
    });
    const stop = async (): Promise<void> => {
      await front?.stop();
      await server.stop();
    };
    return { address, uiUrl: front?.url ?? null, server, owner: null, stop };
  } catch (error) {
    await front?.stop();
    throw error;
  }
}

async function startServer(
  program: string,
  args: readonly string[],
  { folder, env, retentionMs }: Pick<DevTemporalOptions, 'env'> & { folder: string; retentionMs: number | undefined },
): Promise<BackgroundProcess> {
  // Temporal does not start where neither these nor the system's table of users say who runs it.
  const user = { USER: currentUserName(), HOME: homeFolder() ?? folder };
  const log = join(folder, 'temporal.log');
  const server = await startInBackground(program, args, { log, env: { ...user, ...env } });
  try {
    await untilServing(server, env);
    await keepOperations(env, retentionMs);
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Temporal's own default is a day. Where nothing was asked for, a longer time that somebody has set stays. */
async function keepOperations(env: NodeJS.ProcessEnv, askedMs: number | undefined): Promise<void> {
  const { connectClient } = await import('../client/connection.js');
  const { readRetention, setRetention } = await import('../client/namespace.js');
  const client = await connectClient(env);
  try {
    const ms = askedMs ?? operationsKeptMs;
    const found = await readRetention(client);
    if (askedMs === undefined ? found < ms : found !== ms) await setRetention(client, ms);
  } finally {
    await client.connection.close();
  }
}

/** Temporal's CLI: the one that script/setup installed, else that of PATH. Throws `temporal-not-installed`. */
export async function findTemporal(env: NodeJS.ProcessEnv): Promise<string> {
  const own = installed('.tools/bin/temporal');
  const inPath = (env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'temporal'));
  for (const file of [own, ...inPath]) if (await exists(file)) return file;
  throw new BasculeError('temporal-not-installed', { file: own });
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** Waits until it serves and knows the search attributes, which it learns a moment later. */
async function untilServing(server: BackgroundProcess, env: NodeJS.ProcessEnv): Promise<void> {
  const deadline = performance.now() + readyWithinMs;
  while (performance.now() < deadline && server.how === null) {
    if (await knowsSearchAttributes(env)) return;
    await sleep(50);
  }
  throw new BasculeError('temporal-start-failed', { log: server.log, lines: await server.lastLines() });
}

async function knowsSearchAttributes(env: NodeJS.ProcessEnv): Promise<boolean> {
  const { connectClient } = await import('../client/connection.js');
  try {
    const client = await connectClient(env);
    try {
      const { namespace } = client.options;
      const { customAttributes } = await client.connection.operatorService.listSearchAttributes({ namespace });
      return searchAttributeNames.every((name) => name in (customAttributes ?? {}));
    } finally {
      await client.connection.close();
    }
  } catch {
    // Not ready yet; where it never is, its log says why.
    return false;
  }
}
