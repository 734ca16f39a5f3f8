import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { until } from '../../rig/chaos.js';
import { incus } from './incusd.js';

export interface Container {
  readonly name: string;
  /** By which this machine reaches it. */
  readonly address: string;
  /** Runs a command in it by Incus's own client, and answers its stdout. */
  run(...argv: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

/** Launches a Debian with systemd and HAProxy, and waits until it has booted and has an address. `config` is Incus's own. */
export async function launchContainer(prefix = 'test', config: readonly string[] = []): Promise<Container> {
  const { env, image } = inject('incusd');
  const name = `${prefix}-${randomBytes(4).toString('hex')}`;
  await incus(env, 'launch', image, name, ...config.flatMap((setting) => ['--config', setting]));
  const run = async (...argv: readonly string[]) => await incus(env, 'exec', name, '--', ...argv);
  await until(`${name} has booted`, async () => {
    const state = await run('systemctl', 'is-system-running').catch(({ stdout }: { stdout: string }) => stdout);
    return ['running', 'degraded'].includes(state);
  });
  const address = await until(`${name} has an address`, async () => {
    const [line = ''] = (await run('ip', '-4', '-o', 'address', 'show', 'eth0')).split('\n');
    return /inet ([0-9.]+)\//.exec(line)?.[1] ?? null;
  });
  return { name, address, run, remove: async () => void (await incus(env, 'delete', '--force', name)) };
}
