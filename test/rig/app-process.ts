import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const service = fileURLToPath(new URL('../../examples/app/server.mjs', import.meta.url));
const listensWithinMs = 10_000;

/** The demo service as a process of its own; `sha` in its answers is the instance's name. */
export interface AppProcess {
  /** Dies at once, as in a crash: its kernel closes its connections. */
  kill(): Promise<void>;
  /** Does nothing any more, while its connections stay open. */
  hang(): void;
  /** Its health path answers 500 from now on; all else goes on. */
  failHealth(): Promise<void>;
}

/** @param folder one of its own */
export async function startAppProcess(
  folder: string,
  { address, port, name }: { readonly address: string; readonly port: number; readonly name: string },
): Promise<AppProcess> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await copyFile(service, join(folder, 'server.mjs'));
  const child = spawn(process.execPath, ['server.mjs'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { HOST: address, PORT: String(port), BASCULE_SHA: name },
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await once(child.stdout, 'data', { signal: AbortSignal.timeout(listensWithinMs) });
  return {
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
    hang: () => {
      child.kill('SIGSTOP');
    },
    failHealth: async () => await writeFile(join(folder, 'unhealthy'), ''),
  };
}
