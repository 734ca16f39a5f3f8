import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import { defaults } from '../domain/defaults.js';
import type { ApplyChange, EdgeChangeResult } from '../domain/edge-change.js';
import { exitCodes, isFoundBeforehand } from './exit-codes.js';
import { formatSeconds } from './format.js';
import type { Invocation } from './invocation.js';
import type { Colors } from './output.js';
import { createProgressView } from './progress.js';

interface ApplyOptions {
  readonly dryRun?: boolean;
  readonly repair?: boolean;
}

export function addApply(program: Command, invocation: Invocation): void {
  program
    .command('apply')
    .summary('put bascule.yaml in force on the edge')
    .description("Puts the worker's bascule.yaml in force on the edge. Colors stay as they are.")
    .usage('[options]')
    .option('--dry-run', 'only show what would change')
    .option('--repair', 'mend what somebody else changed on the edge')
    .addHelpText('after', '\nExample:\n  $ bascule apply --dry-run\n  $ bascule apply')
    .action(async (options: ApplyOptions) => {
      const project = await invocation.project();
      const edge = (await invocation.names())?.edge ?? defaults.edgeName;
      await invocation.withClient(async (client) => {
        const startedAt = new Date();
        const id = `${project}/apply/${randomUUID()}`;
        const change: ApplyChange = { kind: 'apply', id, operation: id, ...options };
        const result = await applyConfiguration(client, { project, edge }, change, invocation);
        createProgressView(invocation.output, '').finish(result.steps);
        process.exitCode = exitCodeOf(result);
        const took = { startedAt: startedAt.toISOString(), durationMs: Date.now() - startedAt.getTime() };
        const text = describe(invocation.output.out, result, { isDryRun: options.dryRun ?? false, ...took });
        invocation.output.answer({ ...documentOf(result), ...took }, text);
      });
    });
}

/** Asks the edge of a project to put the worker's bascule.yaml in force. Throws `no-worker`. */
export async function applyConfiguration(
  client: Client,
  name: { readonly project: string; readonly edge: string },
  change: ApplyChange,
  invocation: Invocation,
): Promise<EdgeChangeResult> {
  const { changeEdge } = await import('../client/edge.js');
  const { answeredByWorker } = await import('../client/answering.js');
  const { ping } = await import('../client/inspect.js');
  const { isUnanswered } = await import('../client/connection.js');
  await answeredByWorker(client, name.project, () => ping(client, name.project));
  invocation.accepted = { operation: change.id, environment: null };
  const signal = AbortSignal.timeout(defaults.commandTimeoutMs);
  for (;;) {
    try {
      return await changeEdge(client, name, change, signal);
    } catch (error) {
      // The same id is the same change: a worker that is started again goes on with it.
      if (!isUnanswered(error) || signal.aborted) throw error;
    }
  }
}

function exitCodeOf({ outcome, code }: EdgeChangeResult): number {
  if (outcome === 'needs-operator') return exitCodes['needs-operator'];
  if (outcome === 'succeeded') return exitCodes.succeeded;
  return code !== null && isFoundBeforehand(code) ? exitCodes.refused : exitCodes.failed;
}

/** The shape of every result, for a change that is of no environment. */
function documentOf({
  id,
  outcome,
  code,
  message,
  remedy,
  generation,
  steps,
  changed,
  diff,
}: EdgeChangeResult): object {
  const nothing = { color: null, sha: null };
  return {
    schemaVersion: 1,
    operation: id,
    environment: null,
    kind: 'apply',
    sha: null,
    outcome: outcome === 'withdrawn' ? 'failed' : outcome,
    code,
    message,
    remedy,
    from: nothing,
    to: nothing,
    generation,
    lost: [],
    warnings: [],
    components: [],
    steps,
    changed,
    diff,
  };
}

function describe(
  { green, red, cyan, dim }: Colors,
  { outcome, message, remedy, changed, diff, generation }: EdgeChangeResult,
  { isDryRun, durationMs }: { readonly isDryRun: boolean; readonly durationMs: number },
): string {
  const took = dim(` · ${formatSeconds(durationMs)}`);
  if (outcome !== 'succeeded')
    return [`${red('✘')} ${message}${took}`, ...(remedy ? [`${cyan('→')} ${remedy}`] : [])].join('\n');
  if (!changed) return `${green('✔')} the edge is as bascule.yaml says already${took}`;
  if (isDryRun) return `${diff.trimEnd()}\n${cyan('→')} bascule apply puts this in force`;
  return `${green('✔')} bascule.yaml is in force · generation ${generation ?? ''}${took}`;
}
