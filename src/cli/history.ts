import type { Command } from 'commander';
import type { EnvironmentView, SideBySideView, Status } from '../domain/inspect.js';
import { BasculeError } from '../errors.js';
import { formatAge, formatClock } from './format.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import { columns } from './table.js';

export function addHistory(program: Command, invocation: Invocation): void {
  program
    .command('history')
    .summary('the releases that visitors were given')
    .description(
      'The releases that visitors were given and nobody took back, newest first. ' +
        'What else was tried stands in Temporal: temporal workflow list --query \'BasculeEnvironment="prod"\'',
    )
    .usage('[ENV]')
    .argument('[environment]', 'may be left out where there is one')
    .addHelpText('after', '\nExample:\n  $ bascule history prod')
    .action(async (given: string | undefined) => {
      const name = await invocation.environment(given);
      const project = await invocation.project();
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
