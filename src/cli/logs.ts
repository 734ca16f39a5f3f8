import type { Command } from 'commander';
import type { Color } from '../domain/edge-state.js';
import { BasculeError } from '../errors.js';
import { colorArgument, countArgument, durationArgument, given, optionalFirst } from './arguments.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';

interface LogsOptions {
  readonly color?: Color;
  readonly instance?: string;
  readonly tail: number;
  readonly since?: number;
  readonly follow?: boolean;
}

export function addLogs(program: Command, invocation: Invocation): void {
  program
    .command('logs')
    .summary("an instance's log")
    .description('The log of a component: of the active color, where no color is named.')
    .usage('[ENV] COMPONENT [options]')
    .argument('[environment]', 'may be left out where there is one')
    .argument('[component]', 'its name in bascule.yaml')
    .option('--color <color>', 'blue or green (default: the active one)', colorArgument)
    .option('--instance <name>', 'multi-instance: which one (default: the first)')
    .option('--tail <lines>', 'how many lines', countArgument, 100)
    .option('--since <duration>', 'only what was written since then', durationArgument)
    .option('--follow', 'go on with what is written from now on')
    .addHelpText('after', '\nExample:\n  $ bascule logs prod api --since 10m --follow')
    .action(async (first: string | undefined, second: string | undefined, options: LogsOptions) => {
      const { environment: named, value: component } = optionalFirst(first, second, 'COMPONENT');
      const { output } = invocation;
      if (options.follow && output.options.json) {
        throw new BasculeError('usage', {
          problem: '--json is one document, and --follow has no end',
          help: 'Use one of them.',
        });
      }
      const environment = await invocation.environment(named);
      const project = await invocation.project();
      await invocation.withClient(async (client) => {
        const instance = { environment, component, ...given({ color: options.color, instance: options.instance }) };
        const part = { tail: options.tail, ...given({ sinceMs: options.since }) };
        let logs = await look(client, project, { what: 'logs', logs: { ...instance, ...part } });
        if (!options.follow) return output.answer({ schemaVersion: 1, ...logs }, logs.lines.join('\n') || null);
        const { inspectProject } = await import('../client/inspect.js');
        for (;;) {
          if (logs.lines.length > 0) output.stdout.write(`${logs.lines.join('\n')}\n`);
          logs = await inspectProject(client, project, { what: 'logs', logs: { ...instance, after: logs.offset } });
        }
      });
    });
}
