import type { Command } from 'commander';
import { isOfCertificates, isProvision, parseOperationId } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { durationArgument, given } from './arguments.js';
import { followCertificates } from './certificates.js';
import type { Invocation } from './invocation.js';
import { followToEnd } from './operation.js';
import { followProvision } from './provision.js';

export function addFollow(program: Command, invocation: Invocation): void {
  program
    .command('follow')
    .summary('watch an operation until it has ended')
    .description('Shows what an operation does until it has ended, and ends as the command that started it would.')
    .usage('OPERATION [options]')
    .argument('<operation>', 'its id, such as demo/prod/deploy/7')
    .option(
      '--timeout <duration>',
      'how long to wait for the end; the operation goes on (default: 30m)',
      durationArgument,
    )
    .addHelpText('after', '\nExample:\n  $ bascule follow demo/prod/deploy/7')
    .action(async (operation: string, { timeout }: { timeout?: number }) => {
      if (isProvision(operation)) {
        invocation.accepted = { operation, environment: null };
        await invocation.withClient((client) =>
          followProvision(invocation, client, operation, given({ timeoutMs: timeout })),
        );
        return;
      }
      if (isOfCertificates(operation)) {
        invocation.accepted = { operation, environment: null };
        await invocation.withClient((client) =>
          followCertificates(invocation, client, operation, given({ timeoutMs: timeout })),
        );
        return;
      }
      const name = parseOperationId(operation);
      if (!name) {
        const problem = `${JSON.stringify(operation)} is no operation's id`;
        throw new BasculeError('usage', {
          problem,
          help: 'It looks like demo/prod/deploy/7; `bascule status` shows them.',
        });
      }
      invocation.accepted = { operation, environment: name.environment };
      await invocation.withClient((client) =>
        followToEnd(invocation, client, operation, given({ timeoutMs: timeout })),
      );
    });
}
