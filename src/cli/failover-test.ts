import type { Command } from 'commander';
import { durationArgument, given, optionalFirst } from './arguments.js';
import type { Invocation } from './invocation.js';
import { runOperation } from './operation.js';

interface FailoverTestOptions {
  readonly instance?: string;
  readonly yes?: boolean;
  readonly requestId?: string;
  readonly why?: string;
  readonly detach?: boolean;
  readonly timeout?: number;
}

export function addFailoverTest(program: Command, invocation: Invocation): void {
  program
    .command('failover-test')
    .summary('stop an instance by force and see that visitors are served')
    .description(
      'Ends one instance of a component by SIGKILL, and sees that visitors are served by another one meanwhile: of the ' +
        'same pool, or by the standby. The instance is started again, whatever happens.',
    )
    .usage('[ENV] COMPONENT [options]')
    .argument('[environment]', 'may be left out where there is one')
    .argument('[component]', 'its name in bascule.yaml')
    .option('--instance <name>', 'multi-instance: which one to stop (default: the first)')
    .option('--yes', 'also in production')
    .option('--request-id <id>', 'the same id is the same test, however often it is asked for')
    .option('--why <text>', 'a reason, for the record')
    .option('--detach', 'do not wait for the end')
    .option('--timeout <duration>', 'how long to wait for the end; the test goes on (default: 30m)', durationArgument)
    .addHelpText(
      'after',
      '\nExample:\n  $ bascule failover-test staging api\n  $ bascule failover-test backend --instance backend-api-2',
    )
    .action(async (first: string | undefined, second: string | undefined, options: FailoverTestOptions) => {
      const { environment: named, value: component } = optionalFirst(first, second, 'COMPONENT');
      const environment = await invocation.environment(named);
      const { detach: isDetached, timeout: timeoutMs, ...rest } = options;
      await runOperation(invocation, {
        kind: 'failover-test',
        environment,
        request: { component, ...rest },
        ...given({ isDetached, timeoutMs }),
      });
    });
}
