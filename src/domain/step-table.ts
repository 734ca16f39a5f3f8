import type { StepReport } from './edge-change.js';

const marks: Readonly<Record<StepReport['outcome'], string>> = {
  running: '…',
  done: '✔',
  failed: '✘',
  skipped: '-',
  'taken back': '↩',
  'take-back failed': '✘',
};

/**
 * Steps as a workflow's current details. Temporal's UI renders CommonMark, which has no tables: aligned lines in a code
 * block read there, and in a terminal.
 */
export function stepTable(title: string, steps: readonly StepReport[]): string {
  const width = Math.max(0, ...steps.map(({ name }) => name.length));
  const lines = steps.map(({ name, startedAt, durationMs, outcome, note }) => {
    const took = durationMs === null ? '' : `${(durationMs / 1000).toFixed(1)} s`;
    const said = note ? `${outcome}: ${note}` : outcome;
    return `${marks[outcome]} ${name.padEnd(width)}  ${startedAt.slice(11, 19)}  ${took.padStart(8)}  ${said}`;
  });
  // A fence within a note would end the block.
  const text = lines.map((line) => line.replaceAll(/\s+$/g, '').replaceAll('```', "'''")).join('\n');
  return [`**${title}**`, '', '```', text, '```'].join('\n');
}
