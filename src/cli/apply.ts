import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import { defaults } from '../domain/defaults.js';
import type { ApplyChange, EdgeChangeResult } from '../domain/edge-change.js';
import { followed } from './certificates.js';
import { exitCodes, isFoundBeforehand } from './exit-codes.js';
import { formatSeconds } from './format.js';
import type { Invocation } from './invocation.js';
import type { Colors } from './output.js';
import { createProgressView } from './progress.js';

interface ApplyOptions {
  readonly dryRun?: boolean;
  readonly repair?: boolean;
  readonly skipCertificates?: boolean;
}

export function addApply(program: Command, invocation: Invocation): void {
  program
    .command('apply')
    .summary('put bascule.yaml in force on the edge')
    .description(
      "Puts the worker's bascule.yaml in force on the edge. Colors stay as they are. A new host that is to have a certificate is routed when that is there.",
    )
    .usage('[options]')
    .option('--dry-run', 'only show what would change')
    .option('--repair', 'mend what somebody else changed on the edge; shows first what it changes')
    .option('--skip-certificates', 'also where new hosts have no certificate, without obtaining it first')
    .addHelpText('after', '\nExample:\n  $ bascule apply --dry-run\n  $ bascule apply')
    .action(async (options: ApplyOptions) => {
      const project = await invocation.project();
      const edge = (await invocation.names())?.edge ?? defaults.edgeName;
      await invocation.withClient(async (client) => {
        const startedAt = new Date();
        const id = `${project}/apply/${crypto.randomUUID()}`;
        const change: ApplyChange = { kind: 'apply', id, operation: id, ...options };
        const name = { project, edge };
        if (options.repair && !options.dryRun) await showRepair(client, name, change, invocation);
        const result = await applyOrObtain(client, name, change, invocation);
        invocation.exitCode = exitCodeOf(result);
        const took = { startedAt: startedAt.toISOString(), durationMs: Date.now() - startedAt.getTime() };
        const text = describe(invocation.output.out, result, { ...options, ...took });
        invocation.output.answer({ ...documentOf(result, options), ...took }, text);
      });
    });
}

/** As `applyConfiguration`, and shows the steps; where new hosts have no certificate, that is obtained first. */
async function applyOrObtain(
  client: Client,
  name: { readonly project: string; readonly edge: string },
  change: ApplyChange,
  invocation: Invocation,
): Promise<EdgeChangeResult> {
  const result = await applyConfiguration(client, name, change, invocation);
  if (result.code !== 'certificates-missing') {
    createProgressView(invocation.output, '').finish(result.steps);
    return result;
  }
  invocation.output.note(`${result.message}: it is obtained first`);
  const { startWorkflow, followWorkflow } = await import('../client/certificates.js');
  const run = { id: change.id, type: 'apply', summary: 'apply bascule.yaml', input: change };
  await startWorkflow(client, name.project, run);
  return await followed(invocation, change.id, defaults.commandTimeoutMs, (options) =>
    followWorkflow<EdgeChangeResult>(client, change.id, options),
  );
}

/** Says what a repair is about to mend and to change, before it does. */
async function showRepair(
  client: Client,
  name: { readonly project: string; readonly edge: string },
  change: ApplyChange,
  invocation: Invocation,
): Promise<void> {
  const preview: ApplyChange = { ...change, id: `${change.id}/preview`, dryRun: true };
  const { outcome, mends = [], diff } = await applyConfiguration(client, name, preview, invocation);
  if (outcome === 'succeeded' && mends.length > 0) invocation.output.note(describeRepair(mends, diff).join('\n'));
}

const describeRepair = (mends: readonly string[], diff: string): string[] => [
  'mends:',
  ...mends.flatMap((text) => text.split('\n')).map((line) => `  ${line}`),
  ...(diff === '' ? ['haproxy.cfg stays as it is'] : [diff.trimEnd()]),
];

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
function documentOf(
  { id, outcome, code, message, remedy, generation, steps, changed, diff }: EdgeChangeResult,
  { dryRun = false }: { readonly dryRun?: boolean },
): object {
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
    began: (changed && !dryRun) || steps.some((step) => step.outcome.startsWith('take')),
    lost: [],
    warnings: [],
    components: [],
    steps,
    changed,
    diff,
  };
}

function describe(
  { green, red, cyan, dim, bold }: Colors,
  { outcome, code, message, remedy, changed, diff, generation, mends = [] }: EdgeChangeResult,
  { dryRun = false, repair = false, durationMs }: ApplyOptions & { readonly durationMs: number },
): string {
  const took = dim(` · ${formatSeconds(durationMs)}`);
  if (outcome !== 'succeeded') {
    const title = outcome === 'needs-operator' ? 'needs an operator' : `failed (${code ?? outcome})`;
    return [
      `${red('✘')} ${bold(`apply ${title}`)}${took}`,
      ...message.split('\n').map((line) => `  ${line}`),
      ...(outcome === 'needs-operator' || changed ? [] : ['  the edge serves what it served before']),
      ...(remedy ? [`${cyan('→')} ${remedy}`] : []),
    ].join('\n');
  }
  if (!changed) return `${green('✔')} the edge is as bascule.yaml says already${took}`;
  if (dryRun) {
    const shown = mends.length > 0 ? describeRepair(mends, diff) : [diff.trimEnd()];
    return [...shown, `${cyan('→')} bascule apply${repair ? ' --repair' : ''} puts this in force`].join('\n');
  }
  return `${green('✔')} bascule.yaml is in force · generation ${generation ?? ''}${took}`;
}
