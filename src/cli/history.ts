import type { Command } from 'commander';
import type { PastOperation, PastOperations } from '../client/operations-list.js';
import type { EnvironmentView, SideBySideView, Status } from '../domain/inspect.js';
import { shortSha } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { formatAge, formatClock, formatSeconds } from './format.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

export function addHistory(program: Command, invocation: Invocation): void {
  program
    .command('history')
    .summary('the releases that visitors were given')
    .description(
      'The releases that visitors were given and nobody took back, newest first. With --all every operation that began: ' +
        'when, who, what, how it ended and why, for as long as Temporal keeps them.',
    )
    .usage('[ENV] [options]')
    .argument('[environment]', 'may be left out where there is one')
    .option('--all', 'every operation, also what failed or was refused')
    .addHelpText('after', '\nExamples:\n  $ bascule history prod\n  $ bascule history prod --all')
    .action(async (given: string | undefined, { all = false }: { all?: boolean }) => {
      const name = await invocation.environment(given);
      const project = await invocation.project();
      if (all) return await showOperations(invocation, project, name);
      const status = await invocation.withClient((client) => look(client, project, { what: 'status' }));
      const { history } = environmentOf(status, name);
      const { dim, green } = invocation.output.out;
      const rows = history.map(({ at, color, sha }, index) => [
        index === 0 ? green('●') : dim('○'),
        sha,
        color ?? '',
        formatClock(at),
        dim(formatAge(at)),
      ]);
      invocation.output.answer(
        { schemaVersion: 1, project, environment: name, history },
        rows.length === 0 ? `Nothing was ever deployed to ${name}.` : columns(rows).join('\n'),
      );
    });
}

async function showOperations(invocation: Invocation, project: string, environment: string): Promise<void> {
  const { listOperations } = await import('../client/operations-list.js');
  const past = await invocation.withClient((client) => listOperations(client, { project, environment }));
  invocation.output.answer(
    { schemaVersion: 1, project, environment, ...past },
    describeOperations(invocation.output.out, environment, past),
  );
}

/** A line for each operation: when, what, who, and why or why not. What people and programs wrote stays on its line. */
export function describeOperations(
  colors: Colors,
  environment: string,
  { operations, keptDays }: PastOperations,
): string {
  const { dim } = colors;
  const kept =
    keptDays === null
      ? []
      : ['', dim(`Temporal keeps operations for ${keptDays} ${keptDays === 1 ? 'day' : 'days'} after their end.`)];
  if (operations.length === 0) return [`Temporal knows no operation of ${environment}.`, ...kept].join('\n');
  const rows = operations.map(({ kind, sha, startedAt, endedAt, by, why, message, ...one }) => [
    markOf(colors, one.outcome),
    formatClock(startedAt),
    kind,
    sha === null ? '' : shortSha(sha),
    one.code === null ? one.outcome : `${one.outcome} (${one.code})`,
    endedAt === null ? '' : formatSeconds(Date.parse(endedAt) - Date.parse(startedAt)),
    inOneLine(by ?? ''),
    dim(inOneLine([why, one.outcome === 'succeeded' ? null : message].filter((text) => text !== null).join(' · '))),
  ]);
  return [...columns(rows), ...kept].join('\n');
}

function markOf({ green, red, cyan, yellow }: Colors, outcome: PastOperation['outcome']): string {
  if (outcome === 'succeeded') return green('✔');
  if (outcome === 'running') return cyan('…');
  return outcome === 'needs-operator' ? yellow('!') : red('✘');
}

const longestText = 120;

/** The first line, without what a terminal would act on. */
function inOneLine(text: string): string {
  const [line = ''] = text.split('\n');
  const shown = [...line.replace(/\p{Cc}|\p{Cf}/gu, '\ufffd')];
  return shown.length > longestText ? `${shown.slice(0, longestText - 1).join('')}…` : shown.join('');
}

/** One environment out of a status that something is deployed to. Throws `unknown-environment`. */
export function environmentOf({ environments }: Status, name: string): EnvironmentView | SideBySideView {
  const deployed = environments.filter(
    ({ colors, instances }) => colors !== null || instances.some(({ state }) => state !== null),
  );
  const found = deployed.find((environment) => environment.name === name);
  if (found) return found;
  const known = deployed.map((environment) => environment.name);
  throw new BasculeError('unknown-environment', { environment: name, known });
}
