import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Color } from '../../src/domain/edge-state.js';

const server = fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url));

/** The demo service as a process of its own: what can be killed, or stopped in the middle. */
export interface ServiceProcess {
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void;
  /** Ends it, also where it is stopped. */
  stop(): Promise<void>;
}

/** Returns when it listens. */
export async function startService(at: { address: string; port: number }, color: Color): Promise<ServiceProcess> {
  const service = execa(process.execPath, [server], {
    env: { HOST: at.address, PORT: String(at.port), BASCULE_COLOR: color },
    reject: false,
  });
  await once(service.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return {
    kill: (signal) => void service.kill(signal),
    stop: async () => {
      service.kill('SIGKILL');
      await service;
    },
  };
}
