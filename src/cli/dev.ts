import { once } from 'node:events';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Configuration } from '../domain/configuration.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { keepPrivate } from '../hosts/private-files.js';
import { installed } from '../installation.js';
import { applyConfiguration } from './apply.js';
import { retentionOption } from './arguments.js';
import { type BackgroundProcess, startInBackground } from './background.js';
import { type DevNote, noteRunningDev } from './dev-note.js';
import { stopDev } from './dev-stop.js';
import { type DevTemporal, ensureTemporal } from './dev-temporal.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';
import { SupervisedProcess } from './supervised.js';

const workerReadyWithinMs = 30_000;

export function addDev(program: Command, invocation: Invocation): void {
  program
    .command('dev')
    .summary('Temporal, worker and edge, until Ctrl-C')
    .description(
      "Runs Temporal's dev server (its database lies in .bascule/), a worker and the managed edge until Ctrl-C. " +
        'The edge and the instances go on serving after it.',
    )
    .usage('[options]')
    .addOption(retentionOption())
    .option('--ui', "with Temporal's UI, for browsers of this machine")
    .option('--stop', 'end all of it: also the edge and the instances, which stay as they are on record')
    .addHelpText('after', '\nExample:\n  $ bascule dev\n  $ bascule dev --stop')
    .action(async ({ stop, ui = false, retention }: DevArguments) => {
      const folder = join(dirname(resolve(invocation.configurationFile)), '.bascule');
      if (stop) return stopDev(invocation, folder);
      await keepPrivate(folder);
      const { loadConfiguration } = await import('../config/load.js');
      const configuration = await loadConfiguration(invocation.configurationFile);
      const interrupted = Promise.race(
        ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(invocation.context.signals, signal)),
      );
      await runDev(invocation, configuration, folder, { interrupted, ui, retentionMs: retention });
    });
}

interface DevArguments {
  readonly stop?: boolean;
  readonly ui?: boolean;
  readonly retention?: number;
}

interface DevOptions {
  readonly interrupted: Promise<unknown>;
  readonly ui: boolean;
  readonly retentionMs: number | undefined;
}

async function runDev(
  invocation: Invocation,
  configuration: Configuration,
  folder: string,
  options: DevOptions,
): Promise<void> {
  const note = await noteRunningDev(folder);
  try {
    await runNoted(invocation, configuration, folder, { ...options, note });
  } finally {
    await note.remove();
  }
}

async function runNoted(
  invocation: Invocation,
  configuration: Configuration,
  folder: string,
  { interrupted, ui, retentionMs, note }: DevOptions & { readonly note: DevNote },
): Promise<void> {
  const { output, context } = invocation;
  const { env } = context;
  const parts: { worker?: SupervisedProcess; server?: SupervisedProcess | null } = {};
  const noteStarted = () =>
    note.started([parts.worker, parts.server].flatMap((part) => (part ? [part.current.pid] : [])));
  const onRestart = async (said: string): Promise<void> => {
    output.note(said);
    await noteStarted();
  };
  const temporal = await ensureTemporal(folder, {
    ...{ env, ui, onRestart },
    ...(retentionMs !== undefined && { retentionMs }),
  });
  parts.server = temporal.server;
  output.note(temporal.server ? `Temporal runs at ${temporal.address}` : describeOther(temporal));
  const worker = await SupervisedProcess.start({
    what: 'the worker',
    start: () => startWorker(invocation, folder),
    failure: whyItEnded,
    onRestart,
  });
  parts.worker = worker;
  try {
    await noteStarted();
    const serverRuns = temporal.server?.keepRunning() ?? interrupted;
    const isUp = await Promise.race([
      prepare(invocation, configuration, worker.current).then(() => true),
      interrupted.then(() => false),
      serverRuns.then(() => false),
    ]);
    if (isUp) {
      output.answer(documentOf(configuration, temporal), describe(invocation, configuration, temporal, worker.current));
      await Promise.race([interrupted, worker.keepRunning(), serverRuns]);
    }
  } finally {
    output.note(temporal.server ? '\nending the worker and Temporal …' : '\nending the worker …');
    await worker.stop();
    await temporal.stop();
    output.note(
      'The edge and the instances go on serving. `bascule dev` brings the worker back, `bascule dev --stop` ends them too.',
    );
  }
}

/** Whose Temporal this project uses, and what that means for it. */
function describeOther({ address, owner }: DevTemporal): string {
  const found = `Temporal answers at ${address} already`;
  if (!owner) return found;
  return [
    `${found}: ${owner.name} runs it (process ${owner.pid}).`,
    'When that ends, this site goes on serving, operations of this project wait, and its commands end with 5 until it is back.',
    'For a Temporal of its own: TEMPORAL_ADDRESS=127.0.0.1:PORT bascule dev',
  ].join('\n');
}

function startWorker({ configurationFile, context }: Invocation, folder: string): Promise<BackgroundProcess> {
  // By this very Node.js, which need not be the one of PATH.
  const PATH = [dirname(process.execPath), context.env.PATH].join(delimiter);
  return startInBackground(installed('dist/bascule'), ['worker', '--config', configurationFile], {
    log: join(folder, 'worker.log'),
    env: { ...context.env, PATH },
  });
}

/** Waits for the worker; gives the edge its first configuration where it has none. Throws `worker-ended`. */
async function prepare(invocation: Invocation, configuration: Configuration, worker: BackgroundProcess): Promise<void> {
  const { connectClient } = await import('../client/connection.js');
  const { project } = configuration;
  const client = await connectClient(invocation.context.env);
  try {
    await untilWorkerAnswers(client, project, worker);
    const { edge } = await look(client, project, { what: 'status' });
    if (edge.generation !== null) return;
    invocation.output.note('the edge has no configuration yet: applying bascule.yaml');
    const id = `${project}/apply/${crypto.randomUUID()}`;
    const change = { kind: 'apply', id, operation: id, skipCertificates: true } as const;
    const result = await applyConfiguration(client, { project, edge: edge.name }, change, invocation);
    if (result.outcome === 'succeeded') return;
    const { code, message, remedy } = result;
    throw new BasculeError('refused', { code: code ?? result.outcome, message, remedy: remedy ?? '' });
  } finally {
    await client.connection.close();
  }
}

async function untilWorkerAnswers(client: Client, project: string, worker: BackgroundProcess): Promise<void> {
  const { withSignal } = await import('../client/abortable.js');
  const { ping } = await import('../client/inspect.js');
  const { answeredByWorker } = await import('../client/answering.js');
  const deadline = performance.now() + workerReadyWithinMs;
  const ended = new AbortController();
  void worker.ended.then(() => ended.abort());
  for (;;) {
    try {
      const ask = () => answeredByWorker(client, project, () => ping(client, project));
      return await withSignal(client, ended.signal, ask);
    } catch (error) {
      if (worker.how !== null) throw await whyItEnded(worker, worker.how);
      const isAbsent = isBasculeError(error) && error.code === 'no-worker';
      if (!isAbsent || performance.now() > deadline) throw error;
    }
  }
}

const whyItEnded = async (process: BackgroundProcess, how: string): Promise<BasculeError> =>
  new BasculeError('worker-ended', { log: process.log, how, lines: await process.lastLines() });

function urlsOf({ edge, environments }: Configuration): { environment: string; url: string }[] {
  const port = edge.http.port === 80 ? '' : `:${edge.http.port}`;
  return environments.flatMap(({ name, hosts }) =>
    hosts.map((host) => ({ environment: name, url: `http://${host}${port}/` })),
  );
}

function documentOf(configuration: Configuration, temporal: DevTemporal): object {
  return {
    schemaVersion: 1,
    project: configuration.project,
    urls: urlsOf(configuration),
    temporal: temporal.address,
    temporalUi: temporal.uiUrl,
    temporalOwner: temporal.owner,
  };
}

function describe(
  { output }: Invocation,
  configuration: Configuration,
  temporal: DevTemporal,
  worker: BackgroundProcess,
): string {
  const { bold, green, cyan, dim } = output.out;
  const [first, ...more] = configuration.environments.map(({ name }) => name);
  const rows = [
    ...urlsOf(configuration).map(({ environment, url }) => [environment, url]),
    ...(temporal.uiUrl === null ? [] : [['Temporal', temporal.uiUrl]]),
    ['log', worker.log],
  ];
  const width = Math.max(...rows.map(([name = '']) => name.length));
  return [
    `${green('✔')} ${bold(configuration.project)} is up`,
    ...rows.map(([name = '', where]) => `  ${dim(name.padEnd(width))}  ${where}`),
    `${cyan('→')} in another terminal: bascule ${first === undefined ? 'status' : `deploy ${more.length > 0 ? `${first} ` : ''}SHA`}`,
    dim(
      `Ctrl-C ends the worker${temporal.server ? ' and Temporal' : ''}; the edge and the instances go on serving until \`bascule dev --stop\`.`,
    ),
  ].join('\n');
}
