import type { Command } from 'commander';
import type { Invocation } from './invocation.js';
import { runOperation } from './operation.js';

interface CleanupOptions {
  readonly standby?: boolean;
  readonly why?: string;
}

export function addCleanup(program: Command, invocation: Invocation): void {
  program
    .command('cleanup')
    .summary('remove what the inactive color holds')
    .description(
      'Removes failed and stopped instances and releases that were taken back from the inactive color, with their ' +
        'logs. The active color is never touched; a healthy standby stays, where --standby does not name it.',
    )
    .usage('[ENV] [options]')
    .argument('[environment]', 'may be left out where there is one')
    .option('--standby', 'remove a healthy standby too: a rollback then deploys it again')
    .option('--why <text>', 'a reason, for the record')
    .addHelpText('after', '\nExample:\n  $ bascule cleanup staging')
    .action(async (environment: string | undefined, options: CleanupOptions) => {
      await runOperation(invocation, {
        kind: 'cleanup',
        environment: await invocation.environment(environment),
        request: { ...options },
      });
    });
}
