import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import { operationsKeptMs } from '../domain/defaults.js';
import type { CheckReport, DiskUsage, Examination } from '../domain/examination.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { readVersion } from '../version.js';
import type { Invocation } from './invocation.js';
import { openLocalProject } from './local-project.js';
import { look } from './look.js';
import type { Colors } from './output.js';
import { columns } from './table.js';
import { compareVersions } from './worker-version.js';

/** Clocks that differ by more make times in histories and certificates wrong. A task may wait for a busy worker. */
const clockToleranceMs = 5_000;
const taskDelayMs = 15_000;

interface Diagnosis {
  readonly schemaVersion: 1;
  readonly project: string;
  /** Who looked at the machine of edge and instances: the worker, or this command where no worker answers. */
  readonly examinedBy: 'worker' | 'command';
  readonly checks: readonly CheckReport[];
  readonly usage: readonly DiskUsage[];
}

export function addDoctor(program: Command, invocation: Invocation): void {
  program
    .command('doctor')
    .summary('what is missing or not as it should be')
    .description(
      'Looks at Temporal, the worker, HAProxy, instances, artifacts, secrets and the disk, and says of each thing that ' +
        'is missing or different what to type. Changes nothing. Ends with 1 where it found something.',
    )
    .usage('')
    .addHelpText('after', '\nExample:\n  $ bascule doctor')
    .action(async () => {
      const project = await invocation.project();
      const diagnosis = await diagnose(invocation, project);
      invocation.exitCode = diagnosis.checks.some(({ findings }) => findings.length > 0) ? 1 : 0;
      invocation.output.answer(diagnosis, describe(invocation.output.out, diagnosis));
    });
}

async function diagnose(invocation: Invocation, project: string): Promise<Diagnosis> {
  const { check, notChecked } = await import('../check.js');
  const head = { schemaVersion: 1, project } as const;
  let examination: Examination | null = null;
  const checks: CheckReport[] = [];
  let askedAt = Date.now();
  const temporal = await check('Temporal', async () => {
    await invocation.withClient(async (client) => {
      const attributes = await check('search attributes', () => examineSearchAttributes(client));
      checks.push(attributes);
      if (attributes.findings.some(({ code }) => code === 'namespace-missing')) {
        checks.push(notChecked('worker', 'there is no namespace to ask it in'));
        return;
      }
      checks.push(await check('operations kept', () => describeRetention(client)));
      checks.push(
        await check('worker', async () => {
          askedAt = Date.now();
          examination = await look(client, project, { what: 'doctor' });
          return describeWorker(client, project);
        }),
      );
    });
    const { connectionSettings } = await import('../client/connection.js');
    return connectionSettings(invocation.context.env).connectionOptions.address;
  });
  checks.unshift(temporal);
  const seen = examination as Examination | null;
  if (seen) {
    const clocks = await check('clocks', async () => clockDifferences(seen, askedAt));
    return { ...head, examinedBy: 'worker', checks: [...checks, clocks, ...seen.checks], usage: seen.usage };
  }
  const unasked = ['search attributes', 'worker']
    .filter((name) => checks.every((one) => one.name !== name))
    .map((name) => notChecked(name, 'Temporal does not answer'));
  const clocks = notChecked('clocks', 'no worker answers');
  const { checks: more, usage } = await examineHere(invocation);
  return { ...head, examinedBy: 'command', checks: [...checks, ...unasked, clocks, ...more], usage };
}

/** Throws `namespace-missing`, `search-attribute-missing`. */
async function examineSearchAttributes(client: Client): Promise<string> {
  const { assertNamespace } = await import('../client/namespace.js');
  const { namespace } = client.options;
  const { addressOf } = await import('../client/connection.js');
  await assertNamespace(client.connection.operatorService, { namespace, address: addressOf(client) });
  return `of namespace ${namespace}`;
}

/** How long Temporal keeps operations. Less than the default is a choice, and no fault. */
async function describeRetention(client: Client): Promise<string> {
  const { readRetention } = await import('../client/namespace.js');
  const ms = await readRetention(client);
  const { namespace } = client.options;
  const kept = `${formatDays(ms)} after their end`;
  if (ms >= operationsKeptMs) return kept;
  return `${kept}; for longer: temporal operator namespace update --namespace ${namespace} --retention ${formatDays(operationsKeptMs, 'd')}`;
}

/** Days, or hours where it is no whole number of them. */
function formatDays(ms: number, unit?: 'd'): string {
  const [days, hours] = [ms / 86_400_000, ms / 3_600_000];
  if (unit === 'd') return `${days}d`;
  if (Number.isInteger(days)) return days === 1 ? '1 day' : `${days} days`;
  return hours === 1 ? '1 hour' : `${hours} hours`;
}

/** The worker that polls. Throws `version-differs`. */
async function describeWorker(client: Client, project: string): Promise<string> {
  const { readPollers } = await import('../client/workers.js');
  const [latest] = await readPollers(client, project);
  const other = latest?.version ? compareVersions(latest.version, readVersion()) : null;
  if (other) throw new BasculeError('version-differs', { difference: other.message });
  return latest?.identity ?? '';
}

/**
 * Clocks that are more than some seconds apart, as `clock-differs` each. The worker read its own between `askedAt` and now,
 * which on a busy machine are some seconds apart themselves.
 */
export function clockDifferences({ at, temporalAheadMs }: Examination, askedAt: number): readonly BasculeError[] {
  const read = Date.parse(at);
  const workerAheadMs = read < askedAt ? read - askedAt : Math.max(0, read - Date.now());
  const isTemporalOff =
    temporalAheadMs !== null && (temporalAheadMs > clockToleranceMs || temporalAheadMs < -taskDelayMs);
  return [
    ...(Math.abs(workerAheadMs) > clockToleranceMs
      ? [new BasculeError('clock-differs', { whose: "the worker's clock, seen from here,", aheadMs: workerAheadMs })]
      : []),
    ...(isTemporalOff
      ? [
          new BasculeError('clock-differs', {
            whose: "Temporal's clock, seen by the worker,",
            aheadMs: temporalAheadMs,
          }),
        ]
      : []),
  ];
}

/** The same on this machine, from the bascule.yaml here; a file that can't be read is the only finding then. */
async function examineHere(invocation: Invocation): Promise<Pick<Diagnosis, 'checks' | 'usage'>> {
  const { examineHost } = await import('../doctor.js');
  const { readVersion } = await import('../version.js');
  try {
    return await examineHost({ ...(await openLocalProject(invocation)), problem: null }, readVersion());
  } catch (error) {
    if (!isBasculeError(error)) throw error;
    const { code, message, remedy } = error;
    const findings = [{ code, message, remedy }];
    const { notChecked } = await import('../check.js');
    const rest = notChecked('HAProxy, instances and what else is on this machine', 'bascule.yaml could not be read');
    return { checks: [{ name: 'bascule.yaml', note: null, findings, notChecked: null }, rest], usage: [] };
  }
}

function describe(colors: Colors, { examinedBy, checks, usage }: Diagnosis): string {
  const { green, red, dim, cyan, bold, yellow } = colors;
  const lines = checks.flatMap(({ name, note, findings, notChecked }) => {
    if (notChecked !== null) return [dim(`- ${name}  not checked: ${notChecked}`)];
    if (findings.length === 0) return [`${green('✔')} ${name}${note === null ? '' : dim(`  ${note}`)}`];
    return findings.flatMap(({ message, remedy }) => [
      `${red('✘')} ${bold(name)}: ${message.split('\n').join('\n    ')}`,
      `  ${cyan('→')} ${remedy}`,
    ]);
  });
  const sizes = columns(usage.map(({ what, path, bytes }) => [`  ${what}`, megabytes(bytes), dim(path)]));
  const findings = checks.reduce((count, one) => count + one.findings.length, 0);
  const unchecked = checks.filter((one) => one.notChecked !== null).length;
  return [
    ...(examinedBy === 'worker' ? [] : [yellow('no worker answers: this machine is looked at from here')]),
    ...lines,
    ...(sizes.length === 0 ? [] : ['', bold('what takes how much'), ...sizes]),
    '',
    findings === 0
      ? green('nothing is missing')
      : `${findings} ${findings === 1 ? 'finding' : 'findings'}${unchecked === 0 ? '' : `, ${unchecked} not checked`}`,
  ].join('\n');
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`.padStart(12);
