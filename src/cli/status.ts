import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Status } from '../domain/inspect.js';
import { readVersion } from '../version.js';
import { environmentOf } from './history.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import { describeStatus } from './status-text.js';
import { watchStatus } from './status-watch.js';

export function addStatus(program: Command, invocation: Invocation): void {
  program
    .command('status')
    .summary('what serves, what runs, what waits')
    .description('What serves visitors, what runs and waits, and where a rollback would go.')
    .usage('[ENV] [options]')
    .argument('[environment]', 'only this one')
    .option('--watch', 'show it again as it changes, until Ctrl-C; with --json a line each time')
    .addHelpText('after', '\nExample:\n  $ bascule status\n  $ bascule status prod --json\n  $ bascule status --watch')
    .action(async (given: string | undefined, { watch }: { readonly watch?: boolean }) => {
      const name = given === undefined ? undefined : await invocation.environment(given);
      const project = await invocation.project();
      const read = async (client: Client) => {
        const whole = await look(client, project, { what: 'status' });
        return name === undefined ? whole : { ...whole, environments: [environmentOf(whole, name)] };
      };
      const describe = (status: Status) => describeStatus(invocation.output.out, status, readVersion());
      if (watch) return watchStatus(invocation, read, describe);
      const status = await invocation.withClient(read);
      invocation.output.answer(status, describe(status));
    });
}
