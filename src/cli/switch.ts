import type { Command } from 'commander';
import { colorArgument, optionalFirst } from './arguments.js';
import type { Invocation } from './invocation.js';
import { runOperation, showRepair } from './operation.js';

interface SwitchOptions {
  readonly dryRun?: boolean;
  readonly repair?: boolean;
}

export function addSwitch(program: Command, invocation: Invocation): void {
  program
    .command('switch')
    .summary('make a color active that holds the standby')
    .description(
      'Makes a color active that holds the standby, or a release of the history. Anything else is refused: deploy it.',
    )
    .usage('[ENV] COLOR [options]')
    .argument('[environment]', 'may be left out where there is one')
    .argument('[color]', 'blue or green')
    .option('--dry-run', 'only show what would change on the edge')
    .option(
      '--repair',
      'mend what somebody else changed on the edge, and do not ask for servers that are UP; shows first what it changes',
    )
    .addHelpText('after', '\nExample:\n  $ bascule switch prod blue')
    .action(async (first: string | undefined, second: string | undefined, options: SwitchOptions) => {
      const { environment: given, value } = optionalFirst(first, second, 'COLOR');
      const environment = await invocation.environment(given);
      const request = { color: colorArgument(value), ...options };
      if (options.repair && !options.dryRun) await showRepair(invocation, environment, request);
      await runOperation(invocation, {
        kind: 'switch',
        environment,
        request,
        isDryRun: options.dryRun ?? false,
      });
    });
}
