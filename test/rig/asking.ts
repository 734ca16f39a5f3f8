import { setTimeout as sleep } from 'node:timers/promises';
import { asRefusal } from '../../src/client/refusal.js';
import type { Accepted, OperationAnswer } from '../../src/domain/operation.js';
import { BasculeError } from '../../src/errors.js';
import { type Answer, type Ask, numberOf } from './expectation.js';
import type { Client } from './schedule.js';

type Kind = Ask['kind'];

/** How one environment is reached: by Updates, as the command line does, or by signals, as Temporal's UI does. */
export interface Transport {
  update(kind: Kind, argument: object): Promise<Accepted>;
  signal(kind: Kind, argument: object): Promise<void>;
  result(operation: string): Promise<OperationAnswer>;
  /** Id of the rollback with a number. */
  rollbackId(number: number): string;
}

/** Asks an environment as the clients of a schedule do, and says what they are answered. */
export class Asking {
  /** Number of the last operation that is known. */
  number = 0;

  constructor(private readonly transport: Transport) {}

  async ask(who: Client, ask: Ask): Promise<Answer> {
    const isSignal = who === 'operator' && ['rollback', 'approve', 'abort'].includes(ask.kind);
    const answer = await (isSignal && this.number > 0 ? this.signal(ask) : this.update(ask));
    if (answer !== 'nothing said' && 'operation' in answer) {
      this.number = Math.max(this.number, numberOf(answer.operation));
    }
    return answer;
  }

  /** As early as the operation runs: an approval that comes before it is waited for counts too. */
  async approve(operation: string, stopped: AbortSignal): Promise<void> {
    while (!stopped.aborted) {
      if (!('refused' in (await this.update({ kind: 'approve', operation })))) return;
      await sleep(50);
    }
  }

  private async update({ kind, ...argument }: Ask): Promise<Exclude<Answer, string>> {
    try {
      const { operation, joined } = await this.transport.update(kind, argument);
      return { operation, joined };
    } catch (error) {
      const refusal = asRefusal(error);
      if (!(refusal instanceof BasculeError) || refusal.code !== 'refused') throw error;
      return { refused: (refusal as BasculeError<'refused'>).args.code };
    }
  }

  /** A signal is not answered; whether it became an operation shows in the environment. */
  private async signal({ kind, ...argument }: Ask): Promise<Answer> {
    const { transport, number } = this;
    await transport.signal(kind, argument);
    if (kind !== 'rollback') return 'nothing said';
    // Who asks at the same moment may be the one before.
    for (const next of [number + 1, number + 2]) {
      const operation = transport.rollbackId(next);
      if ((await transport.result(operation)).state !== 'unknown') return { operation, joined: false };
    }
    return 'nothing said';
  }
}
