import { isBasculeError } from '../errors.js';
import { type Ending, endingOfError, exitCodes } from './exit-codes.js';
import type { Invocation } from './invocation.js';
import { originalStack } from './original-stack.js';

/** What is printed of an error, as `--json` has it. */
interface ErrorDocument {
  readonly schemaVersion: 1;
  readonly operation: string | null;
  readonly outcome: Ending;
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

/** Says what went wrong and what to type next, and sets the exit code. */
export function reportError(invocation: Invocation, error: unknown): void {
  const document = describeError(invocation, error);
  const { output, options } = invocation;
  const { red, cyan, dim } = output.err;
  invocation.exitCode = exitCodes[document.outcome];
  const lines = [
    `${red('✘')} ${document.message.split('\n').join('\n  ')}`,
    ...(document.remedy === '' ? [] : [`${cyan('→')} ${document.remedy}`]),
    ...(options.verbose && error instanceof Error ? [dim(stackOf(error))] : []),
  ];
  output.stderr.write(`${lines.join('\n')}\n`);
  if (output.options.json) output.answer(document, '');
}

/** An error as `--json` has it. */
export function describeError({ accepted, options }: Invocation, error: unknown): ErrorDocument {
  const operation = accepted?.operation ?? null;
  const outcome = endingOfError(error, operation !== null);
  if (isBasculeError(error)) {
    const code = error.code === 'refused' || error.code === 'not-answered' ? codeGiven(error.args) : error.code;
    return { schemaVersion: 1, operation, outcome, code, message: error.message, remedy: error.remedy };
  }
  const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const goesOn = operation === null ? '' : ` How ${operation} goes on: bascule follow ${operation}`;
  return {
    schemaVersion: 1,
    operation,
    outcome,
    code: 'unforeseen',
    message: `this was not foreseen, and is a bug in Bascule: ${said}`,
    remedy: `${options.verbose ? 'Please report it with what stands below.' : 'Please report it, with what --verbose shows.'}${goesOn}`,
  };
}

/** The code that a workflow gave. */
const codeGiven = (args: object): string => ('code' in args ? String(args.code) : 'refused');

/** With what caused it. */
function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : '';
  return `${originalStack(error.stack ?? error.message)}${cause}`;
}
