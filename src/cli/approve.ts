import type { Command } from 'commander';
import { given } from './arguments.js';
import type { Invocation } from './invocation.js';
import { steer } from './steer.js';

export function addApprove(program: Command, invocation: Invocation): void {
  program
    .command('approve')
    .summary('let a deploy go on that waits for it')
    .description('Lets a deploy that waits for approval switch visitors to its release.')
    .usage('[ENV] [options]')
    .argument('[environment]', 'may be left out where there is one')
    .option('--why <text>', 'a reason, for the record')
    .addHelpText('after', '\nExample:\n  $ bascule approve prod --why "looked at it on staging"')
    .action(async (environment: string | undefined, { why }: { why?: string }) => {
      await steer(invocation, 'approve', { environment: await invocation.environment(environment), ...given({ why }) });
    });
}
