import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { currentUserName, homeFolder } from '../current-user.js';
import { BasculeError } from '../errors.js';
import { installed } from '../installation.js';
import { searchAttributeNames, temporalServerArguments } from '../temporal-server.js';
import { type BackgroundProcess, startInBackground } from './background.js';
import { startTemporalUi } from './temporal-ui.js';

/** As Temporal's own tools have it. */
const uiPortOffset = 1_000;
const readyWithinMs = 30_000;

export interface DevTemporal {
  readonly address: string;
  /** Null where it was not asked for, and where the server is not ours: nobody knows where its UI is. */
  readonly uiUrl: string | null;
  /** Null where a server answered already: then it is not ours to stop. */
  readonly server: BackgroundProcess | null;
  /** Ends the server, where it is ours, and what stands before its UI. */
  stop(): Promise<void>;
}

/**
 * Temporal where TEMPORAL_ADDRESS says; started there where nobody answers, with its database in `folder`, and with its
 * UI where `ui` asks for it. Throws `temporal-not-installed`, `temporal-start-failed`, `address-in-use` for the UI's
 * port, and `temporal-unreachable` for an address that is not this machine's.
 */
export async function ensureTemporal(
  folder: string,
  env: NodeJS.ProcessEnv,
  { ui }: { readonly ui: boolean },
): Promise<DevTemporal> {
  const { connectionSettings } = await import('../client/connection.js');
  const { address } = connectionSettings(env).connectionOptions;
  const { isListening, isLoopback, parseAddress } = await import('../client/listening.js');
  const place = parseAddress(address);
  if (await isListening(place)) return { address, uiUrl: null, server: null, stop: async () => {} };
  if (!isLoopback(place)) throw new BasculeError('temporal-unreachable', { address });
  const { port } = place;
  const front = ui ? await startTemporalUi(port + uiPortOffset) : null;
  const args = temporalServerArguments({ port, ui: front?.behind ?? null, dbFile: join(folder, 'temporal.db') });
  // Temporal does not start where neither these nor the system's table of users say who runs it.
  const user = { USER: currentUserName(), HOME: homeFolder() ?? folder };
  let server: BackgroundProcess | null = null;
  const stop = async (): Promise<void> => {
    await front?.stop();
    await server?.stop();
  };
  try {
    server = await startInBackground(await findTemporal(env), args, {
      log: join(folder, 'temporal.log'),
      env: { ...user, ...env },
    });
    await untilServing(server, env);
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, uiUrl: front?.url ?? null, server, stop };
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
