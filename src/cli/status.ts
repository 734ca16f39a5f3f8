import type { Command } from 'commander';
import { environmentOf } from './history.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import { describeStatus } from './status-text.js';

export function addStatus(program: Command, invocation: Invocation): void {
  program
    .command('status')
    .summary('what serves, what runs, what waits')
    .description('What serves visitors, what runs and waits, and where a rollback would go.')
    .usage('[ENV]')
    .argument('[environment]', 'only this one')
    .addHelpText('after', '\nExample:\n  $ bascule status\n  $ bascule status prod --json')
    .action(async (given: string | undefined) => {
      const name = given === undefined ? undefined : await invocation.environment(given);
      const project = await invocation.project();
      const whole = await invocation.withClient((client) => look(client, project, { what: 'status' }));
      const status = name === undefined ? whole : { ...whole, environments: [environmentOf(whole, name)] };
      invocation.output.answer(status, describeStatus(invocation.output.out, status));
    });
}
