import { spawn } from 'node:child_process';
import setup from './global-setup.js';
import { type Incusd, incus } from './incusd.js';

// A run as vitest begins one, with a bit of everything in the middle of it: prints what there is, and waits.

/** What such a run prints. */
export interface EndlessRun {
  /** All of its files. */
  readonly folder: string;
  readonly bridge: string;
  /** On this machine: a process of the tests, and the first one of a container. */
  readonly pids: readonly number[];
}

const found: Incusd[] = [];
await setup({ provide: (_key: string, incusd: Incusd) => void found.push(incusd) } as Parameters<typeof setup>[0]);
const [incusd] = found;
if (!incusd) throw new Error('no daemon was provided');
const { env, image, bridge } = incusd;
await incus(env, 'launch', image, 'left');
await incus(env, 'storage', 'create', 'left', 'btrfs', 'size=256MiB');
const { pid: inContainer } = JSON.parse(await incus(env, 'query', '/1.0/instances/left/state')) as { pid: number };
const program = spawn('sleep', ['infinity'], { detached: true, stdio: 'ignore' });
const run: EndlessRun = {
  folder: process.env.TMPDIR ?? '',
  bridge: bridge.name,
  pids: [inContainer, program.pid ?? 0],
};
process.stdout.write(`${JSON.stringify(run)}\n`);
// Where the test that should kill it is killed itself.
setTimeout(() => process.exit(1), 180_000);
