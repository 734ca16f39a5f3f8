import type { Command } from 'commander';
import { given } from './arguments.js';
import type { Invocation } from './invocation.js';
import { steer } from './steer.js';

export function addAbort(program: Command, invocation: Invocation): void {
  program
    .command('abort')
    .summary('stop what runs, and take it back')
    .description('Stops what runs in an environment and takes it back: visitors get what they had before.')
    .usage('[ENV] [options]')
    .argument('[environment]', 'may be left out where there is one')
    .option('--why <text>', 'a reason, for the record')
    .addHelpText('after', '\nExample:\n  $ bascule abort prod --why "wrong release"')
    .action(async (environment: string | undefined, { why }: { why?: string }) => {
      await steer(invocation, 'abort', { environment: await invocation.environment(environment), ...given({ why }) });
    });
}
