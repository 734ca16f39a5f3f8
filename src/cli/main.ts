import { reportError } from './failure.js';
import { Invocation } from './invocation.js';
import { ownProcess } from './process-context.js';
import { runCommandLine } from './run.js';

const invocation = new Invocation(ownProcess());

// Who read stdout has seen enough (`bascule status | head -1`): that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});
process.on('uncaughtException', (error) => {
  reportError(invocation, error);
  process.exit(invocation.exitCode);
});

// All is said by then. A call that gRPC would still try again must neither keep this process nor fail in it.
void runCommandLine(invocation).then((exitCode) => process.exit(exitCode));
