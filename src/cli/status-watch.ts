import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Status } from '../domain/inspect.js';
import { describeError } from './failure.js';
import { formatAge, formatClock } from './format.js';
import { heedInterruption } from './interruption.js';
import type { Invocation } from './invocation.js';
import { fittedRows, LiveArea } from './live-area.js';
import type { Colors, Output } from './output.js';

const everyMs = 2_000;

/** What is known after a look: the status, or why it cannot be read, since when, and what was read last. */
export interface Sight {
  readonly status: Status;
  readonly readAt: Date;
  readonly trouble: Trouble | null;
}

interface Trouble {
  readonly since: Date;
  /** As `--json` has it. */
  readonly document: ReturnType<typeof describeError>;
}

/**
 * Shows a status until the command is interrupted: on a terminal in place, elsewhere again when it has changed, with
 * --json as one line each. What can't be read for a while is said, and asked again; throws only where the first look
 * fails.
 */
export async function watchStatus(
  invocation: Invocation,
  read: (client: Client) => Promise<Status>,
  describe: (status: Status) => string,
): Promise<void> {
  heedInterruption(invocation, { isEndless: true });
  const show = createView(invocation.output, describe);
  const seen: { last: Sight | null } = { last: null };
  const tell = (sight: Sight): void => {
    seen.last = sight;
    show(sight);
  };
  for (;;) {
    try {
      await invocation.withClient(async (client) => {
        for (;;) {
          const status = await read(client);
          await invocation.versionCompared;
          tell({ status, readAt: new Date(), trouble: null });
          await sleep(everyMs);
        }
      });
    } catch (error) {
      if (!seen.last) throw error;
      const since = seen.last.trouble?.since ?? new Date();
      tell({ ...seen.last, trouble: { since, document: describeError(invocation, error) } });
      // Then with a connection of its own: one that was lost tries again ever more seldom.
      await sleep(everyMs);
    }
  }
}

function createView(output: Output, describe: (status: Status) => string): (sight: Sight) => void {
  if (output.options.json) return onChange(output, (sight) => `${JSON.stringify(documentOf(sight))}\n`);
  if (output.stdout.isTTY !== true || !output.canRedraw) {
    return onChange(output, (sight, isFirst) => plainText(sight, isFirst, describe));
  }
  return inPlace(output, describe);
}

function inPlace({ out: colors, stdout }: Output, describe: (status: Status) => string): (sight: Sight) => void {
  let area: LiveArea | null = null;
  let shown: Sight | null = null;
  const draw = (): void => {
    if (!shown || !area) return;
    const lines = describe(shown.status).split('\n');
    area.draw(fittedRows(lines, describeFooter(colors, shown), stdout.rows || 24));
  };
  stdout.on('resize', () => {
    area?.clearScreen();
    draw();
  });
  return (sight) => {
    area ??= new LiveArea(stdout);
    shown = sight;
    draw();
  };
}

/** Writes a sight where it differs from the one before: ages in the text change by themselves, and do not count. */
function onChange({ stdout }: Output, textOf: (sight: Sight, isFirst: boolean) => string): (sight: Sight) => void {
  let written: string | null = null;
  return (sight) => {
    const seen = JSON.stringify(documentOf(sight));
    if (seen === written) return;
    stdout.write(textOf(sight, written === null));
    written = seen;
  };
}

/** The status, or how it could not be read, with the time since when. */
export function documentOf({ status, trouble }: Sight): object {
  return trouble === null ? status : { ...trouble.document, since: trouble.since.toISOString() };
}

/** For a file or a pipe: each time with the clock above it, but the first. */
export function plainText(sight: Sight, isFirst: boolean, describe: (status: Status) => string): string {
  const { status, readAt, trouble } = sight;
  if (trouble) return `\n${formatClock(trouble.since.toISOString())}  cannot be read: ${said(trouble)}\n`;
  return `${isFirst ? '' : `\n${formatClock(readAt.toISOString())}\n`}${describe(status)}\n`;
}

/** Below the status on a terminal: how fresh it is, and why it is not. */
export function describeFooter({ dim, red }: Colors, { readAt, trouble }: Sight, now: Date = new Date()): string[] {
  const at = formatClock(readAt.toISOString(), now);
  if (!trouble) return ['', dim(`read at ${at} · Ctrl-C ends this`)];
  const since = trouble.since.toISOString();
  const head = `cannot be read since ${formatClock(since, now)} (${formatAge(since, now)}), tried again; above is what was read at ${at}`;
  return ['', red(head), ...said(trouble).split('\n')];
}

const said = ({ document: { message, remedy } }: Trouble): string =>
  remedy === '' ? message : `${message}\n→ ${remedy}`;
