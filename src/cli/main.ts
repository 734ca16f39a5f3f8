#!/usr/bin/env node
import { type Command, CommanderError } from 'commander';
import { BasculeError } from '../errors.js';
import { reportError } from './failure.js';
import { Invocation } from './invocation.js';
import { createProgram } from './program.js';

const invocation = new Invocation();

// Who read stdout has seen enough (`bascule status | head -1`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});
process.on('uncaughtException', (error) => {
  reportError(invocation, error);
  process.exit();
});

await run(process.argv);
// All is said. A call that gRPC would still try again must neither keep this process nor fail in it.
process.exit();

async function run(argv: readonly string[]): Promise<void> {
  const program = createProgram(invocation);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(invocation, error);
    // --help and --version were asked for.
    if (error.exitCode === 0) return;
    invocation.configure({ ...program.opts(), json: argv.includes('--json') });
    if (error.code === 'commander.help') process.stderr.write(program.helpInformation());
    reportError(invocation, usageError(error, program, argv));
  }
}

function usageError(error: CommanderError, program: Command, argv: readonly string[]): BasculeError {
  const command = program.commands.find((one) => one.name() === argv[2]);
  const problem = error.code === 'commander.help' ? 'which command?' : error.message.replace(/^error: /, '');
  return new BasculeError('usage', { problem, help: command ? `bascule ${command.name()} --help` : 'bascule --help' });
}
