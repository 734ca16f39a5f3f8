import type { OperationResult } from '../domain/operation.js';
import { formatRelease, formatSeconds } from './format.js';
import type { Colors } from './output.js';

/** How an operation ended, in a sentence; where it did not succeed, what was lost and what to type next. */
export function describeResult(colors: Colors, result: OperationResult, isDryRun: boolean): string {
  if (result.outcome !== 'succeeded') return failure(colors, result);
  return isDryRun ? dryRun(colors, result) : success(colors, result);
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

const indented = (text: string): string[] => text.split('\n').map((line) => `  ${line}`);
