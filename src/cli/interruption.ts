import { isOfCertificates, isProvision } from '../domain/names.js';
import { signalExitCodes } from './exit-codes.js';
import type { Invocation } from './invocation.js';

/**
 * While something is asked of Temporal: Ctrl-C, SIGTERM and SIGHUP end this command alone, and say how to go on.
 * What has no end of its own leaves without a word (`isEndless`). Answers how to stop heeding them.
 */
export function heedInterruption(invocation: Invocation, { isEndless = false } = {}): () => void {
  const { signals, exit } = invocation.context;
  const handlers = Object.entries(signalExitCodes).map(([signal, code]) => {
    const leave = () => {
      if (!isEndless) sayFarewell(invocation, signal);
      exit(code);
    };
    signals.on(signal, leave);
    return { signal, leave };
  });
  return () => {
    for (const { signal, leave } of handlers) signals.off(signal, leave);
  };
}

function sayFarewell(invocation: Invocation, signal: string): void {
  const { output } = invocation;
  output.stderr.write(`\n${farewell(invocation)}\n`);
  if (output.options.json) output.answer(document(invocation, signal), null);
}

function farewell({ accepted }: Invocation): string {
  if (!accepted) return 'Interrupted.';
  const { operation, environment } = accepted;
  if (environment === null)
    return `${operation} goes on. See: bascule ${isOfCertificates(operation) || isProvision(operation) ? `follow ${operation}` : 'status'}`;
  return `${operation} goes on.\n  follow it: bascule follow ${operation}\n  abort it:  bascule abort ${environment}`;
}

function document(invocation: Invocation, signal: string): object {
  return {
    schemaVersion: 1,
    operation: invocation.accepted?.operation ?? null,
    outcome: 'interrupted',
    code: signal,
    message: farewell(invocation),
    remedy: null,
  };
}
