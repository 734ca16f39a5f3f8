import { type Command, CommanderError } from 'commander';
import { BasculeError } from '../errors.js';
import { reportError } from './failure.js';
import type { Invocation } from './invocation.js';
import { createProgram } from './program.js';

/** Runs one command line to its end, and answers its exit code. Errors are printed, not thrown. */
export async function runCommandLine(invocation: Invocation): Promise<number> {
  const { argv, stderr } = invocation.context;
  const program = createProgram(invocation);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      reportError(invocation, error);
    } else if (error.exitCode !== 0) {
      invocation.configure({ ...program.opts(), json: argv.includes('--json') });
      if (error.code === 'commander.help') stderr.write(program.helpInformation());
      reportError(invocation, usageError(error, program, argv));
    }
    // Else --help or --version was asked for.
  }
  return invocation.exitCode;
}

function usageError(error: CommanderError, program: Command, argv: readonly string[]): BasculeError {
  const command = program.commands.find((one) => one.name() === argv[0]);
  const problem = error.code === 'commander.help' ? 'which command?' : error.message.replace(/^error: /, '');
  return new BasculeError('usage', { problem, help: command ? `bascule ${command.name()} --help` : 'bascule --help' });
}
