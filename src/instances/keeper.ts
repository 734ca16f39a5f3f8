import { defaults } from '../domain/defaults.js';
import { isBasculeError } from '../errors.js';
import { rotateLog } from './log.js';
import { restartInstance } from './process.js';
import { type Instance, readProcess } from './record.js';

/** Back-off between two starts of a process that ends again and again. */
const firstDelayMs = 1_000;
const longestDelayMs = 60_000;

/** Who ran as long as this has its back-off forgotten. */
const steadyMs = 60_000;

export interface KeptInstance {
  readonly instance: Instance;
  readonly run: readonly string[];
  /** The component's own `env`; secrets are read when it is started. */
  readonly readEnv: () => Promise<Readonly<Record<string, string>>>;
}

export interface KeeperEvent {
  readonly instance: string;
  /** What kept a pass from its work on this instance, null where the instance was started again. */
  readonly error: Error | null;
}

/** Keeps recorded instances running: what was healthy once and ended by itself is started again. */
export class InstanceKeeper {
  readonly #delays = new Map<string, { delayMs: number; startedAt: number }>();

  /** Looks at each instance once, starts again what has ended, rotates logs; answers what was done and what failed. */
  async keepRunning(kept: readonly KeptInstance[]): Promise<readonly KeeperEvent[]> {
    const events = await Promise.all(kept.map((one) => this.#keep(one)));
    return events.filter((event) => event !== null);
  }

  async #keep(kept: KeptInstance): Promise<KeeperEvent | null> {
    const { name } = kept.instance;
    try {
      await rotateLog(kept.instance, { maxBytes: defaults.logBytes, files: defaults.logFiles });
      return (await this.#restart(kept)) ? { instance: name, error: null } : null;
    } catch (error) {
      // Refused by the fence: an operation came first, and the instance is its business.
      if (isBasculeError(error) && error.code === 'instance-fenced') return null;
      return { instance: name, error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  async #restart({ instance, run, readEnv }: KeptInstance): Promise<boolean> {
    const { owner, sha, sha256, process: ended, ...found } = await readProcess(instance);
    if (owner === null || sha === null || sha256 === null || ended === null) return false;
    if (found.isAlive || found.wanted === 'stopped' || found.isFailed || !found.isProven) return false;
    if (!this.#isDue(instance.name)) return false;
    await restartInstance(instance, { owner, sha, sha256, run, env: await readEnv(), ended });
    return true;
  }

  #isDue(name: string): boolean {
    const now = performance.now();
    const before = this.#delays.get(name);
    if (before && now < before.startedAt + before.delayMs) return false;
    const wasSteady = before !== undefined && now - before.startedAt > steadyMs + before.delayMs;
    const delayMs = before && !wasSteady ? Math.min(before.delayMs * 2, longestDelayMs) : firstDelayMs;
    this.#delays.set(name, { delayMs, startedAt: now });
    return true;
  }
}
