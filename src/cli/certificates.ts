import { resolve } from 'node:path';
import type { Client } from '@temporalio/client';
import { type Command, Option } from 'commander';
import { formatDuration } from '../config/units.js';
import { revocationReasons } from '../domain/certificates.js';
import { defaults } from '../domain/defaults.js';
import type { StepReport } from '../domain/edge-change.js';
import type { CertificatesRequest, CertificatesResult } from '../domain/issuance.js';
import { certificatesWorkflowId } from '../domain/names.js';
import { BasculeError } from '../errors.js';
import { durationArgument, given } from './arguments.js';
import { addCertificatesStatus } from './certificates-status.js';
import { exitCodes, isFoundBeforehand } from './exit-codes.js';
import { formatSeconds } from './format.js';
import type { Invocation } from './invocation.js';
import type { Colors } from './output.js';
import { createProgressView } from './progress.js';

interface ObtainOptions {
  readonly force?: boolean;
  readonly keepGoing?: boolean;
  readonly detach?: boolean;
  readonly timeout?: number;
}

export function addCertificates(program: Command, invocation: Invocation): void {
  const group = program
    .command('certs')
    .summary('obtain, renew and look at certificates')
    .description('The certificates of `certificates.domains`: obtained by ACME, served by the edge, renewed in time.')
    .usage('issue|renew|status|revoke|adopt')
    .helpCommand(false);
  addObtaining(group, invocation, 'issue', {
    summary: 'obtain what is missing',
    description:
      'Obtains each certificate that is not there or not for all of its names, and waits until the edge serves it.',
  });
  addObtaining(group, invocation, 'renew', {
    summary: 'obtain what is due as well',
    description:
      'Obtains each certificate that is due (when its authority says so, else at a third of its lifetime left), as the schedule does every day.',
  });
  addCertificatesStatus(group, invocation);
  group
    .command('revoke')
    .summary('have a certificate revoked')
    .description(
      'Has the authority revoke the installed certificate, for a key that others may have. It is served on until the next one is there.',
    )
    .usage('NAME [options]')
    .argument('<name>', 'its first name')
    .addOption(
      new Option('--reason <reason>', 'why (RFC 5280, 5.3.1)').choices(revocationReasons).default('unspecified'),
    )
    .addHelpText('after', '\nExample:\n  $ bascule certs revoke example.org --reason keyCompromise')
    .action(async (name: string, { reason }: { reason: string }) => {
      const id = certificatesWorkflowId(await invocation.project(), 'revoke', crypto.randomUUID());
      const input = { name: name.toLowerCase(), reason };
      await runCertificates(
        invocation,
        { id, type: 'revokeCertificate', summary: `certs revoke ${name}`, input },
        false,
      );
    });
  group
    .command('adopt')
    .summary('take over from another ACME client')
    .description(
      'Keeps the certificates that are in the folder already until they are due, and the account of the client that obtained them.',
    )
    .usage('[options]')
    .option('--account-key <file>', "the account's key on the edge's host, such as dehydrated's account_key.pem")
    .addHelpText(
      'after',
      '\nExample:\n  $ bascule certs adopt --account-key /var/lib/dehydrated/accounts/aHR0cHM6/account_key.pem',
    )
    .action(async ({ accountKey }: { accountKey?: string }) => {
      const id = certificatesWorkflowId(await invocation.project(), 'adopt', crypto.randomUUID());
      const input = { accountKey: accountKey === undefined ? null : resolve(invocation.path(accountKey)) };
      await runCertificates(invocation, { id, type: 'adoptCertificates', summary: 'certs adopt', input }, false);
    });
}

function addObtaining(
  group: Command,
  invocation: Invocation,
  kind: CertificatesRequest['kind'],
  { summary, description }: { readonly summary: string; readonly description: string },
): void {
  group
    .command(kind)
    .summary(summary)
    .description(description)
    .usage('[NAME…] [options]')
    .argument('[names...]', 'first names of certificates; all where none is given')
    .option('--force', 'also those that are good')
    .option('--keep-going', 'one that fails keeps no other from being begun')
    .option('--detach', 'do not wait: print the id')
    .option('--timeout <duration>', 'how long to wait for the end; it goes on (default: 30m)', durationArgument)
    .addHelpText('after', `\nExample:\n  $ bascule certs ${kind}\n  $ bascule certs ${kind} example.org --force`)
    .action(async (names: string[], { force, keepGoing, detach = false, timeout }: ObtainOptions) => {
      const request: CertificatesRequest = {
        kind,
        ...(names.length > 0 ? { only: names.map((name) => name.toLowerCase()) } : {}),
        ...given({ force, keepGoing }),
      };
      const project = await invocation.project();
      const id = certificatesWorkflowId(project, kind, crypto.randomUUID());
      await runCertificates(
        invocation,
        { id, type: 'certificates', summary: `certs ${kind}`, input: request },
        detach,
        timeout,
      );
    });
}

/** Starts a workflow about certificates, waits for its end and prints how it ended. */
async function runCertificates(
  invocation: Invocation,
  run: { readonly id: string; readonly type: string; readonly summary: string; readonly input: unknown },
  isDetached: boolean,
  timeoutMs?: number,
): Promise<void> {
  const project = await invocation.project();
  await invocation.withClient(async (client) => {
    const { startWorkflow } = await import('../client/certificates.js');
    const { answeredByWorker } = await import('../client/answering.js');
    const { ping } = await import('../client/inspect.js');
    await answeredByWorker(client, project, () => ping(client, project));
    await startWorkflow(client, project, run);
    invocation.accepted = { operation: run.id, environment: null };
    if (isDetached) {
      const document = { schemaVersion: 1, operation: run.id, outcome: 'accepted', joined: false, position: 0 };
      invocation.output.answer(document, `${run.id}\n→ bascule follow ${run.id}`);
      return;
    }
    await followCertificates(invocation, client, run.id, given({ timeoutMs }));
  });
}

/** Shows what a workflow about certificates does, and prints how it ended. */
export const followCertificates: FollowWorkflow = (invocation, client, operation, wait) =>
  followToEnd<CertificatesResult>(invocation, client, operation, wait, { exitCodeOf, describe });

/** How a workflow that is no environment's operation is followed; `timeoutMs` is how long. */
export type FollowWorkflow = (
  invocation: Invocation,
  client: Client,
  operation: string,
  wait: { readonly timeoutMs?: number },
) => Promise<void>;

/** Shows what a workflow does that is no environment's operation, and prints how it ended. */
export async function followToEnd<Result extends { readonly steps: readonly StepReport[] }>(
  invocation: Invocation,
  client: Client,
  operation: string,
  { timeoutMs = defaults.commandTimeoutMs }: { readonly timeoutMs?: number },
  told: {
    readonly exitCodeOf: (result: Result) => number;
    readonly describe: (colors: Colors, result: Result) => string;
  },
): Promise<void> {
  const { followWorkflow } = await import('../client/certificates.js');
  const result = await followed(invocation, operation, timeoutMs, (options) =>
    followWorkflow<Result>(client, operation, options),
  );
  invocation.exitCode = told.exitCodeOf(result);
  invocation.output.answer(result, told.describe(invocation.output.out, result));
}

/** Shows the steps of what is followed, and bounds the wait. Throws `timeout-passed`. */
export async function followed<Result extends { readonly steps: readonly StepReport[] }>(
  invocation: Invocation,
  operation: string,
  timeoutMs: number,
  follow: (options: {
    readonly onSteps: (steps: readonly StepReport[]) => void;
    readonly signal: AbortSignal;
  }) => Promise<Result>,
): Promise<Result> {
  const timeout = new AbortController();
  const timer = setTimeout(() => {
    timeout.abort(new BasculeError('timeout-passed', { operation, timeout: formatDuration(timeoutMs) }));
  }, timeoutMs);
  await invocation.versionCompared;
  const view = createProgressView(invocation.output, '');
  let result: Result | null = null;
  try {
    result = await follow({
      onSteps: (steps) => view.show({ state: 'running', progress: { steps, waiting: null, until: null } }),
      signal: timeout.signal,
    });
    return result;
  } finally {
    clearTimeout(timer);
    view.finish(result?.steps ?? []);
  }
}

function exitCodeOf({ outcome, code, certificates }: CertificatesResult): number {
  if (outcome === 'failed' && code !== null && isFoundBeforehand(code) && certificates.length === 0) {
    return exitCodes.refused;
  }
  return exitCodes[outcome];
}

function describe({ green, red, bold, dim, cyan, yellow }: Colors, result: CertificatesResult): string {
  const { outcome, code, message, remedy, operation, durationMs, warnings } = result;
  const said = warnings.map((warning) => `  ${yellow('warning:')} ${warning}`);
  const took = dim(` · ${formatSeconds(durationMs)}`);
  if (outcome === 'succeeded') return [`${green('✔')} ${message}${took}`, ...said].join('\n');
  const title = outcome === 'needs-operator' ? 'needs an operator' : `failed (${code ?? outcome})`;
  return [
    `${red('✘')} ${bold(`${operation} ${title}`)}${took}`,
    ...message.split('\n').map((line) => `  ${line}`),
    ...said,
    ...(remedy ? [`${cyan('→')} ${remedy}`] : []),
  ].join('\n');
}
