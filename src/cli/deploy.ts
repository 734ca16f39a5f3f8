import type { Command } from 'commander';
import { BasculeError } from '../errors.js';
import { durationArgument, given, optionalFirst, shaArgument } from './arguments.js';
import type { Invocation } from './invocation.js';
import { runOperation } from './operation.js';

interface DeployOptions {
  readonly waitForApproval?: boolean;
  readonly soak?: number;
  readonly drain?: number;
  readonly again?: boolean;
  readonly skipMigrate?: boolean;
  readonly requestId?: string;
  readonly why?: string;
  readonly detach?: boolean;
  readonly timeout?: number;
}

export function addDeploy(program: Command, invocation: Invocation): void {
  program
    .command('deploy')
    .summary('put a release in front of visitors')
    .description(
      'Puts a release on the inactive color, proves it there, and gives it the visitors. ' +
        'A failure before the switch leaves visitors where they are; one after it takes them back.',
    )
    .usage('[ENV] SHA [options]')
    .argument('[environment]', 'may be left out where there is one')
    .argument('[sha]', 'what to deploy: 7 to 40 hexadecimal digits')
    .option('--wait-for-approval', 'wait before the switch until `bascule approve`')
    .option('--soak <duration>', 'how long the new release is watched with visitors', durationArgument)
    .option('--drain <duration>', 'how long old connections may last at most', durationArgument)
    .option('--again', 'also where this sha is active already: a changed secret gets in force')
    .option('--skip-migrate', 'do not run the migrations')
    .option('--request-id <id>', 'the same id is the same deploy, however often it is asked for')
    .option('--why <text>', 'a reason, for the record')
    .option('--detach', 'do not wait for the end')
    .option('--timeout <duration>', 'how long to wait for the end; the deploy goes on (default: 30m)', durationArgument)
    .addHelpText('after', '\nExample:\n  $ bascule deploy prod $(git rev-parse HEAD) --soak 2m')
    .action(async (first: string | undefined, second: string | undefined, options: DeployOptions) => {
      const { environment: named, value } = optionalFirst(first, second, 'SHA');
      if (second === undefined && (await invocation.names())?.environments.includes(value)) {
        throw new BasculeError('usage', { problem: 'SHA is missing', help: `Type: bascule deploy ${value} SHA` });
      }
      const sha = shaArgument(value);
      const environment = await invocation.environment(named);
      const { soak: soakMs, drain: drainMs, detach: isDetached, timeout: timeoutMs, ...rest } = options;
      await runOperation(invocation, {
        kind: 'deploy',
        environment,
        request: { sha, ...rest, ...given({ soakMs, drainMs }) },
        ...given({ isDetached, timeoutMs }),
      });
    });
}
