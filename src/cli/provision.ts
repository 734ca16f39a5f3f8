import type { Command } from 'commander';
import { defaults } from '../domain/defaults.js';
import { dryProvisionWorkflowId, provisionWorkflowId } from '../domain/names.js';
import type { ProvisionRequest, ProvisionResult, ProvisionStep } from '../domain/provision.js';
import { durationArgument, given } from './arguments.js';
import { type FollowWorkflow, followToEnd } from './certificates.js';
import { exitCodes, isFoundBeforehand } from './exit-codes.js';
import { formatSeconds } from './format.js';
import type { Invocation } from './invocation.js';
import type { Colors } from './output.js';
import { columns } from './table.js';

interface ProvisionOptions {
  readonly dryRun?: boolean;
  readonly detach?: boolean;
  readonly timeout?: number;
}

export function addProvision(program: Command, invocation: Invocation): void {
  program
    .command('provision')
    .summary('make the edge: its instance of Incus, HAProxy in it, the ports that lead there')
    .description(
      'Takes a machine with nothing but Incus to an edge that serves bascule.yaml: what is missing is made, in an instance ' +
        'that Bascule owns. What somebody else made is never changed. Again it goes on from what there is.',
    )
    .usage('[options]')
    .option('--dry-run', 'only list what would be done')
    .option('--detach', 'do not wait: print the id')
    .option('--timeout <duration>', 'how long to wait for the end; it goes on (default: 30m)', durationArgument)
    .addHelpText('after', '\nExample:\n  $ bascule provision --dry-run\n  $ bascule provision')
    .action(async ({ dryRun, detach = false, timeout }: ProvisionOptions) => {
      const project = await invocation.project();
      const edge = (await invocation.names())?.edge ?? defaults.edgeName;
      const request: ProvisionRequest = given({ dryRun });
      const id = dryRun ? dryProvisionWorkflowId(project, crypto.randomUUID()) : provisionWorkflowId(project, edge);
      await invocation.withClient(async (client) => {
        const { startWorkflow } = await import('../client/certificates.js');
        const { answeredByWorker } = await import('../client/answering.js');
        const { ping } = await import('../client/inspect.js');
        await answeredByWorker(client, project, () => ping(client, project));
        await startWorkflow(client, project, { id, type: 'provision', summary: 'provision', input: request });
        invocation.accepted = { operation: id, environment: null };
        if (detach) {
          const document = { schemaVersion: 1, operation: id, outcome: 'accepted', joined: false, position: 0 };
          invocation.output.answer(document, `${id}\n→ bascule follow ${id}`);
          return;
        }
        await followProvision(invocation, client, id, given({ timeoutMs: timeout }));
      });
    });
}

/** Shows what a provisioning does, and prints how it ended. */
export const followProvision: FollowWorkflow = (invocation, client, operation, wait) =>
  followToEnd<ProvisionResult>(invocation, client, operation, wait, { exitCodeOf, describe });

function exitCodeOf({ outcome, code, changed }: ProvisionResult): number {
  if (outcome === 'failed' && code !== null && isFoundBeforehand(code) && !changed) return exitCodes.refused;
  return exitCodes[outcome];
}

function describe(colors: Colors, result: ProvisionResult): string {
  const { green, red, bold, dim, cyan } = colors;
  const { outcome, code, message, remedy, dryRun, changed, plan, durationMs } = result;
  const took = dim(` · ${formatSeconds(durationMs)}`);
  if (outcome !== 'succeeded') {
    const title = outcome === 'needs-operator' ? 'needs an operator' : `failed (${code ?? outcome})`;
    return [
      `${red('✘')} ${bold(`provision ${title}`)}${took}`,
      ...message.split('\n').map((line) => `  ${line}`),
      ...(remedy ? [`${cyan('→')} ${remedy}`] : []),
    ].join('\n');
  }
  if (dryRun && changed) {
    return [...table(colors, plan), `${cyan('→')} bascule provision does this${took}`].join('\n');
  }
  return `${green('✔')} ${message}${took}`;
}

const table = ({ green, yellow, dim }: Colors, plan: readonly ProvisionStep[]): string[] =>
  columns(
    plan.map(({ name, state, does }) =>
      state === 'right' ? [green('✔'), name, dim(does)] : [yellow(state === 'unknown' ? '?' : '+'), name, does],
    ),
  );
