import { readFileSync } from 'node:fs';

/** What the reporter notes of a run as it goes on, a JSON document a line: a run that is cut off has told so far. */
export type TestEvent =
  | { readonly event: 'began'; readonly test: string }
  | ({ readonly event: 'ended'; readonly test: string; readonly file: string; readonly kind: string } & Outcome)
  /** A file that can't be loaded, a hook that throws, an error that no test awaits. */
  | {
      readonly event: 'broke';
      readonly test: string;
      readonly file: string | null;
      readonly kind: string;
      readonly error: string;
    };

interface Outcome {
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly ms: number;
  /** The first line of what it failed with. */
  readonly error: string | null;
}

export interface Failure {
  readonly test: string;
  readonly file: string | null;
  readonly kind: string;
  readonly error: string;
}

/** What came of a run, or of as much of it as there was. */
export interface RunSummary {
  readonly passed: readonly string[];
  readonly failed: readonly Failure[];
  readonly skipped: number;
  /** Tests that had begun and not ended. */
  readonly running: readonly string[];
  readonly slowest: readonly { readonly test: string; readonly ms: number }[];
}

const slowestShown = 10;

export function summarize(events: readonly TestEvent[]): RunSummary {
  const running = new Set<string>();
  for (const { event, test } of events) {
    if (event === 'began') running.add(test);
    else running.delete(test);
  }
  const ended = events.flatMap((event) => (event.event === 'ended' ? [event] : []));
  return {
    passed: ended.filter(({ state }) => state === 'passed').map(({ test }) => test),
    failed: events.flatMap((event) =>
      event.event === 'broke' || (event.event === 'ended' && event.state === 'failed')
        ? [{ test: event.test, file: event.file, kind: event.kind, error: event.error ?? '' }]
        : [],
    ),
    skipped: ended.filter(({ state }) => state === 'skipped').length,
    running: [...running],
    slowest: ended.toSorted((a, b) => b.ms - a.ms).slice(0, slowestShown),
  };
}

/** The events of a file; of a line that was cut short nothing is known. */
export function readEvents(file: string): readonly TestEvent[] {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as TestEvent);
}

/** `N passed, N failed[, N skipped]` */
export const closingLine = (passed: number, failed: number, skipped: number): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
