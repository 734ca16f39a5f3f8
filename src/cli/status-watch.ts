import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Status } from '../domain/inspect.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { describeError } from './failure.js';
import { formatClock } from './format.js';
import type { Invocation } from './invocation.js';

const everyMs = 2_000;
/** Control sequences of ECMA-48: the cursor goes home; what is right of it, and what is below it, is erased. */
const [home, eraseLine, eraseBelow] = ['\x1b[H', '\x1b[K', '\x1b[J'];

/** What is seen at one look: the status, or why it could not be read and since when. */
type Sight =
  | { readonly status: Status }
  | { readonly error: BasculeError; readonly since: Date; readonly last: Status };

/**
 * Shows a status until the command is interrupted: on a terminal in place, elsewhere again when it has changed, with
 * --json as one line each. What can't be read for a while is said and asked again; throws only where the first look fails.
 */
export async function watchStatus(
  invocation: Invocation,
  read: (client: Client) => Promise<Status>,
  describe: (status: Status) => string,
): Promise<void> {
  await invocation.withClient(async (client) => {
    const show = createView(invocation, describe);
    let status = await read(client);
    let since: Date | null = null;
    show({ status });
    for (;;) {
      await sleep(everyMs);
      try {
        status = await read(client);
        since = null;
        show({ status });
      } catch (error) {
        since ??= new Date();
        show({ error: await asUnreadable(error), since, last: status });
      }
    }
  });
}

/** An error that may pass: Temporal or the worker is not there, or could not answer. Throws any other. */
async function asUnreadable(error: unknown): Promise<BasculeError> {
  if (isBasculeError(error)) return error;
  const { connectionSettings, isUnanswered } = await import('../client/connection.js');
  if (!isUnanswered(error)) throw error;
  const { address } = connectionSettings().connectionOptions;
  return new BasculeError('temporal-unreachable', { address }, { cause: error });
}

function createView(invocation: Invocation, describe: (status: Status) => string): (sight: Sight) => void {
  const { output } = invocation;
  const text = (sight: Sight): string => {
    if ('status' in sight) return describe(sight.status);
    const { message, remedy } = describeError(invocation, sight.error);
    const since = formatClock(sight.since.toISOString());
    return `${describe(sight.last)}\n\n${output.out.red(`not readable since ${since}: ${message}`)}\n→ ${remedy}`;
  };
  if (process.stdout.isTTY === true && !output.options.json) {
    process.stdout.write(`${home}${eraseBelow}`);
    return (sight) => {
      const lines = text(sight).split('\n');
      process.stdout.write(`${home}${lines.map((line) => `${line}${eraseLine}\n`).join('')}${eraseBelow}`);
    };
  }
  let shown = '';
  return (sight) => {
    // Ages in the text change by themselves.
    const seen = JSON.stringify('status' in sight ? sight.status : describeError(invocation, sight.error));
    if (seen === shown) return;
    process.stdout.write(output.options.json ? `${seen}\n` : `${shown === '' ? '' : '\n'}${text(sight)}\n`);
    shown = seen;
  };
}
