import { type FailoverReport, type FailoverVisit, isServed } from '../domain/failover.js';
import type { OperationResult } from '../domain/operation.js';
import { formatClock, formatRelease, formatSeconds } from './format.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

/** How an operation ended, in a sentence; where it did not succeed, what was lost and what to type next. */
export function describeResult(colors: Colors, result: OperationResult, isDryRun: boolean): string {
  const report = result.failover ? `${describeFailover(colors, result.failover)}\n` : '';
  if (result.outcome !== 'succeeded') return `${report}${failure(colors, result)}`;
  return isDryRun ? dryRun(colors, result) : `${report}${success(colors, result)}`;
}

/** The diff of the edge's configuration, and what it would mean. */
function dryRun({ green, red, dim }: Colors, { message, diff = '', changed, durationMs }: OperationResult): string {
  const colored = diff
    .trimEnd()
    .split('\n')
    .map((line) => (line.startsWith('+') ? green(line) : line.startsWith('-') ? red(line) : line));
  const line = `${green('✔')} ${changed ? message : 'nothing would change'}${dim(` · ${formatSeconds(durationMs)}`)}`;
  return [...(diff === '' ? [] : colored), line].join('\n');
}

function success({ green, dim, yellow }: Colors, result: OperationResult): string {
  const { message, from, to, durationMs, changed, warnings } = result;
  const isElsewhere = from.sha !== to.sha || from.color !== to.color;
  const was = changed !== false && isElsewhere && from.sha !== null ? [`was ${formatRelease(from)}`] : [];
  const line = `${green('✔')} ${message}${dim([...was, formatSeconds(durationMs)].map((part) => ` · ${part}`).join(''))}`;
  return [line, ...warnings.map((warning) => `  ${yellow('warning:')} ${warning}`)].join('\n');
}

function failure({ red, bold, dim, cyan, yellow }: Colors, result: OperationResult): string {
  const { operation, outcome, code, message, environment, from, lost, warnings, remedy, durationMs } = result;
  const title =
    outcome === 'needs-operator'
      ? 'needs an operator'
      : code === null || code === 'failed'
        ? 'failed'
        : `failed (${code})`;
  const isServed = outcome === 'failed' && from.sha !== null;
  return [
    `${red('✘')} ${bold(`${operation} ${title}`)}${dim(` · ${formatSeconds(durationMs)}`)}`,
    ...indented(message),
    ...(isServed ? [`  ${environment} serves ${formatRelease(from)} as before`] : []),
    ...lost.map((what) => `  lost: ${what}`),
    ...warnings.map((warning) => `  ${yellow('warning:')} ${warning}`),
    ...(remedy ? [`${cyan('→')} ${remedy}`] : []),
  ].join('\n');
}

/** The table of a failover test: what was done when, and what came of it. */
function describeFailover({ dim, red }: Colors, report: FailoverReport): string {
  const { instance, before, stoppedAt, downAfterMs, expectedDownMs, meanwhile, startedAt, upAfterMs } = report;
  const visits = (all: readonly FailoverVisit[], when: string): string[][] => {
    const [first] = all;
    if (!first) return [];
    const served = all.filter(isServed);
    const servers = [...new Set(served.map(({ server }) => server?.split('/').at(-1) ?? ''))].join(', ');
    const said = `${served.length} of ${all.length} served`;
    return [[formatClock(first.at), `visit ${when}`, served.length === all.length ? said : red(said), dim(servers)]];
  };
  const at = (time: string | null, afterMs: number | null): string =>
    time === null || afterMs === null ? '' : formatClock(new Date(Date.parse(time) + afterMs).toISOString());
  const rows = [
    ...visits(before, 'while all is UP'),
    ...(stoppedAt === null ? [] : [[formatClock(stoppedAt), `stop ${instance} by force`, 'done', '']]),
    ...(downAfterMs === null
      ? []
      : [
          [
            at(stoppedAt, downAfterMs),
            'DOWN on the edge',
            `after ${formatSeconds(downAfterMs)}`,
            dim(`fall × interval is ${formatSeconds(expectedDownMs)}`),
          ],
        ]),
    ...visits(meanwhile, 'while it is down'),
    ...(startedAt === null ? [] : [[formatClock(startedAt), `start ${instance}`, 'done', '']]),
    ...(upAfterMs === null
      ? []
      : [[at(startedAt, upAfterMs), 'UP on the edge', `after ${formatSeconds(upAfterMs)}`, '']]),
  ];
  return columns(rows)
    .map((line) => `  ${line}`)
    .join('\n');
}

const indented = (text: string): string[] => text.split('\n').map((line) => `  ${line}`);
