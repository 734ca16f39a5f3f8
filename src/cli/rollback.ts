import { once } from 'node:events';
import { type Command, Option } from 'commander';
import type { Color } from '../domain/edge-state.js';
import { type EnvironmentView, isFastRollback, type SideBySideView } from '../domain/inspect.js';
import { BasculeError } from '../errors.js';
import { given, shaArgument } from './arguments.js';
import { signalExitCodes } from './exit-codes.js';
import { formatRelease } from './format.js';
import { environmentOf } from './history.js';
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
    .addOption(new Option('--list', 'only show the releases to go back to').conflicts(['to', 'full', 'yes', 'why']))
    .option('--yes', 'do not ask')
    .option('--why <text>', 'a reason, for the record')
    .addHelpText(
      'after',
      '\nExample:\n  $ bascule rollback prod\n  $ bascule rollback prod --list\n  $ bascule rollback prod --to 4f2a91c --yes',
    )
    .action(async (environmentArgument: string | undefined, options: RollbackOptions) => {
      const environment = await invocation.environment(environmentArgument);
      if (options.list) return listReleases(invocation, environment);
      const to = options.to === undefined ? undefined : shaArgument(options.to);
      const { full, why } = options;
      if (!options.yes && isAtTerminal(invocation)) await confirm(invocation, environment, to, full ?? false);
      await runOperation(invocation, { kind: 'rollback', environment, request: given({ to, full, why }) });
    });
}

const isAtTerminal = ({ context, output }: Invocation): boolean =>
  context.stdin.isTTY === true && context.stderr.isTTY === true && !output.options.json;

/** Shows from → to, and how, and asks. Throws `usage` where the answer is no. */
async function confirm(
  invocation: Invocation,
  environment: string,
  to: string | undefined,
  isFull: boolean,
): Promise<void> {
  const project = await invocation.project();
  const status = await invocation.withClient((client) => look(client, project, { what: 'status' }));
  const plan = describePlan(environmentOf(status, environment), to, isFull);
  // Nothing to go back to: the environment says why.
  if (!plan) return;
  invocation.output.note(plan);
  const { createInterface } = await import('node:readline/promises');
  const { stdin, stderr, exit } = invocation.context;
  const question = createInterface({ input: stdin, output: invocation.terminal });
  question.once('SIGINT', () => {
    stderr.write('\n');
    exit(signalExitCodes.SIGINT);
  });
  // Ctrl-D is no answer.
  const closed = once(question, 'close').then(() => null);
  const answer = await Promise.race([question.question('Roll back? [y/N] ').catch(() => null), closed]);
  question.close();
  if (answer === null) stderr.write('\n');
  else if (/^y(es)?$/i.test(answer.trim())) return;
  throw new BasculeError('usage', { problem: 'not rolled back', help: 'Nothing was changed. --yes does not ask.' });
}

/** Null where there is nothing to ask about: nothing to go back to, or it is served already. */
export function describePlan(
  view: EnvironmentView | SideBySideView,
  to: string | undefined,
  isFull: boolean,
): string | null {
  const { name, active, sha, operation, rollback } = view;
  const history: readonly { readonly color: Color | null; readonly sha: string }[] = view.history;
  const stops = operation?.kind === 'deploy' ? `stops ${operation.id} and takes it back` : null;
  if (stops && to === undefined) return `${name}: ${stops}`;
  const wanted = to ?? rollback?.to;
  if (wanted === undefined || (to !== undefined && sha?.startsWith(to))) return null;
  const line = history.slice(1).find((one) => one.sha.startsWith(wanted));
  const target = { sha: line?.sha ?? wanted, color: line?.color ?? null };
  const isFast =
    !isFull &&
    view.colors !== null &&
    target.color !== null &&
    isFastRollback(view.active, view.colors, { ...target, color: target.color });
  const how = isFast ? 'fast: its instances run and are healthy' : 'full: it is deployed again';
  return `${name}: ${formatRelease({ sha, color: active })} → ${formatRelease(target)}, ${how}${stops ? `; ${stops}` : ''}`;
}
