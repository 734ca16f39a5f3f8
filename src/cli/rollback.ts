import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { EnvironmentView } from '../domain/inspect.js';
import { BasculeError } from '../errors.js';
import { given, shaArgument } from './arguments.js';
import { formatRelease } from './format.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import { runOperation } from './operation.js';
import { listReleases } from './rollback-list.js';

interface RollbackOptions {
  readonly to?: string;
  readonly full?: boolean;
  readonly list?: boolean;
  readonly yes?: boolean;
  readonly why?: string;
}

export function addRollback(program: Command, invocation: Invocation): void {
  program
    .command('rollback')
    .summary('go back to an earlier release')
    .description(
      'Gives visitors the release before the active one: fast, by a switch, where its instances still run and are ' +
        'healthy; else full, by deploying it again. A deploy that runs is stopped and taken back.',
    )
    .usage('[ENV] [options]')
    .argument('[environment]', 'may be left out where there is one')
    .option('--to <sha>', 'the release to go back to (default: the newest below the active one)')
    .option('--full', 'deploy it again even where a switch would do')
    .option('--list', 'only show the releases to go back to')
    .option('--yes', 'do not ask')
    .option('--why <text>', 'a reason, for the record')
    .addHelpText('after', '\nExample:\n  $ bascule rollback prod\n  $ bascule rollback prod --to 4f2a91c --yes')
    .action(async (environmentArgument: string | undefined, options: RollbackOptions) => {
      const environment = await invocation.environment(environmentArgument);
      if (options.list) return listReleases(invocation, environment);
      const to = options.to === undefined ? undefined : shaArgument(options.to);
      const { full, why } = options;
      if (!options.yes && isAtTerminal(invocation)) await confirm(invocation, environment, to, full ?? false);
      await runOperation(invocation, { kind: 'rollback', environment, request: given({ to, full, why }) });
    });
}

const isAtTerminal = ({ output }: Invocation): boolean =>
  process.stdin.isTTY === true && process.stderr.isTTY === true && !output.options.json;

/** Shows from → to, and how, and asks. Throws `usage` where the answer is no. */
async function confirm(
  invocation: Invocation,
  environment: string,
  to: string | undefined,
  isFull: boolean,
): Promise<void> {
  const project = await invocation.project();
  const status = await invocation.withClient((client) => look(client, project, { what: 'status' }));
  const view = status.environments.find((one) => one.name === environment);
  const plan = view && describePlan(view, to, isFull);
  // Nothing to go back to: the environment says why.
  if (!plan) return;
  invocation.output.note(plan);
  const question = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await question.question('Roll back? [y/N] ');
  question.close();
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new BasculeError('usage', { problem: 'not rolled back', help: 'Nothing was changed. --yes does not ask.' });
}

function describePlan(view: EnvironmentView, to: string | undefined, isFull: boolean): string | null {
  const { name, active, sha, operation, rollback, history } = view;
  const stops = operation?.kind === 'deploy' ? `stops ${operation.id} and takes it back` : null;
  if (stops && to === undefined) return `${name}: ${stops}`;
  const target = to === undefined ? rollback?.to : (history.find((line) => line.sha.startsWith(to))?.sha ?? to);
  if (target === undefined) return null;
  const color = history.slice(1).find((line) => line.sha === target)?.color ?? null;
  const isFast = !isFull && rollback?.to === target && rollback.fast;
  const how = isFast ? 'fast: its instances run and are healthy' : 'full: it is deployed again';
  return `${name}: ${formatRelease({ sha, color: active })} → ${formatRelease({ sha: target, color })}, ${how}${stops ? `; ${stops}` : ''}`;
}
