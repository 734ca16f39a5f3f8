import { setTimeout as sleep } from 'node:timers/promises';
import type { BasculeError } from '../errors.js';
import type { BackgroundProcess } from './background.js';

/** What ends more often than this within a minute ends for a reason. */
const mostRestarts = 5;
const withinMs = 60_000;
const pauseMs = 500;

export interface Supervision {
  /** For a person: `the worker`. */
  readonly what: string;
  readonly start: () => Promise<BackgroundProcess>;
  /** The error with which it is given up. */
  readonly failure: (ended: BackgroundProcess, how: string) => Promise<BasculeError>;
  /** Called after each restart. */
  readonly onRestart: (said: string) => Promise<void>;
}

/** A background process that is started again where it ends by itself: killed, or out of memory. */
export class SupervisedProcess {
  #current: BackgroundProcess;
  #isStopped = false;
  #starting: Promise<unknown> = Promise.resolve();

  private constructor(
    first: BackgroundProcess,
    private readonly supervision: Supervision,
  ) {
    this.#current = first;
  }

  static async start(supervision: Supervision): Promise<SupervisedProcess> {
    return new SupervisedProcess(await supervision.start(), supervision);
  }

  /** The process that runs, or ran last. */
  get current(): BackgroundProcess {
    return this.#current;
  }

  /** Never resolves. Throws `failure` where it has ended too often, and what `start` throws. */
  async keepRunning(): Promise<never> {
    const { what, failure, onRestart } = this.supervision;
    let restarts: number[] = [];
    for (;;) {
      const how = await this.#current.ended;
      const now = performance.now();
      restarts = restarts.filter((at) => now - at < withinMs);
      if (restarts.length >= mostRestarts) throw await failure(this.#current, how);
      restarts.push(now);
      await sleep(pauseMs);
      if (this.#isStopped) return await new Promise<never>(() => {});
      await this.#startAgain();
      await onRestart(`${what} ended (${how}) and was started again; its log is ${this.#current.log}`);
    }
  }

  /** Ends it, and whatever is being started. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#starting.catch(() => undefined);
    await this.#current.stop();
  }

  async #startAgain(): Promise<void> {
    const starting = this.supervision.start();
    this.#starting = starting;
    this.#current = await starting;
  }
}
