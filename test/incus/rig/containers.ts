import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { afterAll, beforeEach, inject, vi } from 'vitest';
import { until } from '../../rig/chaos.js';
import { placeEdges } from '../../rig/test-host.js';
import { incus } from './incusd.js';

export interface Container {
  readonly name: string;
  /** By which this machine reaches it. */
  readonly address: string;
  /** Runs a command in it by Incus's own client, and answers its stdout. */
  run(...argv: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

/** Has this file's tests find the daemon of this run where a user's commands look for one. */
export function useIncusd(): void {
  beforeEach(() => {
    for (const [name, value] of Object.entries(inject('incusd').env)) vi.stubEnv(name, value);
    return () => vi.unstubAllEnvs();
  });
}

/** Incus's own client for the daemon of this run. */
export const runIncus = async (...args: readonly string[]): Promise<string> =>
  await incus(inject('incusd').env, ...args);

/** Launches a Debian with systemd and HAProxy, and waits until it has booted and has an address. `config` is Incus's own. */
export async function launchContainer(prefix = 'test', config: readonly string[] = []): Promise<Container> {
  const name = `${prefix}-${randomBytes(4).toString('hex')}`;
  await runIncus('launch', inject('incusd').image, name, ...config.flatMap((setting) => ['--config', setting]));
  const run = async (...argv: readonly string[]) => await runIncus('exec', name, '--', ...argv);
  await until(`${name} has booted`, async () => {
    const state = await run('systemctl', 'is-system-running').catch(({ stdout }: { stdout: string }) => stdout);
    return ['running', 'degraded'].includes(state);
  });
  const address = await until(`${name} has an address`, async () => {
    const [line = ''] = (await run('ip', '-4', '-o', 'address', 'show', 'eth0')).split('\n');
    return /inet ([0-9.]+)\//.exec(line)?.[1] ?? null;
  });
  return { name, address, run, remove: async () => void (await runIncus('delete', '--force', name)) };
}

/**
 * Has the edges of this file's tests in a container that has this machine's folder for temporary files: tests of an edge on
 * this machine, which look at its files, are run on one of Incus so.
 */
export async function placeEdgesInContainer(): Promise<void> {
  const { env, bridge } = inject('incusd');
  Object.assign(process.env, env);
  const container = await launchContainer('acts', ['security.privileged=true']);
  afterAll(() => container.remove());
  const place = [`source=${tmpdir()}`, `path=${tmpdir()}`];
  await runIncus('config', 'device', 'add', container.name, 'files', 'disk', ...place);
  placeEdges({ instance: container.name, address: container.address, bridge: bridge.address });
}
