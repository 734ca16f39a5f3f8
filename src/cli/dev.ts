import { once } from 'node:events';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { Client } from '@temporalio/client';
import type { Command } from 'commander';
import type { Configuration } from '../domain/configuration.js';
import { BasculeError, isBasculeError } from '../errors.js';
import { keepPrivate } from '../hosts/private-files.js';
import { installed } from '../installation.js';
import { applyConfiguration } from './apply.js';
import { type BackgroundProcess, startInBackground } from './background.js';
import { type DevNote, noteRunningDev } from './dev-note.js';
import { stopDev } from './dev-stop.js';
import { type DevTemporal, ensureTemporal } from './dev-temporal.js';
import type { Invocation } from './invocation.js';
import { look } from './look.js';

const workerReadyWithinMs = 30_000;

export function addDev(program: Command, invocation: Invocation): void {
  program
    .command('dev')
    .summary('Temporal, worker and edge, until Ctrl-C')
    .description(
      "Runs Temporal's dev server (its database lies in .bascule/), a worker and the managed edge until Ctrl-C. " +
        'The edge and the instances go on serving after it.',
    )
    .usage('[--ui | --stop]')
    .option('--ui', "with Temporal's UI, for browsers of this machine")
    .option('--stop', 'end all of it: also the edge and the instances, which stay as they are on record')
    .addHelpText('after', '\nExample:\n  $ bascule dev\n  $ bascule dev --stop')
    .action(async ({ stop, ui = false }: { readonly stop?: boolean; readonly ui?: boolean }) => {
      const folder = join(dirname(resolve(invocation.configurationFile)), '.bascule');
      if (stop) return stopDev(invocation, folder);
      await keepPrivate(folder);
      const { loadConfiguration } = await import('../config/load.js');
      const configuration = await loadConfiguration(invocation.configurationFile);
      const interrupted = Promise.race(
        ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(invocation.context.signals, signal)),
      );
      await runDev(invocation, configuration, folder, { interrupted, ui });
    });
}

async function runDev(
  invocation: Invocation,
  configuration: Configuration,
  folder: string,
  asked: { readonly interrupted: Promise<unknown>; readonly ui: boolean },
): Promise<void> {
  const note = await noteRunningDev(folder);
  try {
    await runNoted(invocation, configuration, folder, { ...asked, note });
  } finally {
    await note.remove();
  }
}

async function runNoted(
  invocation: Invocation,
  configuration: Configuration,
  folder: string,
  { interrupted, ui, note }: { readonly interrupted: Promise<unknown>; readonly ui: boolean; readonly note: DevNote },
): Promise<void> {
  const { output } = invocation;
  const temporal = await ensureTemporal(folder, invocation.context.env, { ui });
  output.note(
    temporal.server ? `Temporal runs at ${temporal.address}` : `Temporal answers at ${temporal.address} already`,
  );
  const worker = await startWorker(invocation, folder);
  try {
    await note.started([worker, temporal.server].flatMap((one) => one?.pid ?? []));
    const isUp = await Promise.race([
      prepare(invocation, configuration, worker).then(() => true),
      interrupted.then(() => false),
    ]);
    if (isUp) {
      output.answer(documentOf(configuration, temporal), describe(invocation, configuration, temporal, worker));
      await Promise.race([
        interrupted,
        unlessItEnds(worker),
        temporal.server ? unlessItEnds(temporal.server) : interrupted,
      ]);
    }
  } finally {
    output.note('\nending the worker and Temporal …');
    await worker.stop();
    await temporal.stop();
    output.note(
      'The edge and the instances go on serving. `bascule dev` brings the worker back, `bascule dev --stop` ends them too.',
    );
  }
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
  const { ping } = await import('../client/inspect.js');
  const { answeredByWorker } = await import('../client/answering.js');
  const deadline = performance.now() + workerReadyWithinMs;
  const ended = new AbortController();
  void worker.ended.then(() => ended.abort());
  for (;;) {
    try {
      const ask = () => answeredByWorker(client, project, () => ping(client, project));
      return await client.withAbortSignal(ended.signal, ask);
    } catch (error) {
      if (worker.how !== null) throw await whyItEnded(worker, worker.how);
      const isAbsent = isBasculeError(error) && error.code === 'no-worker';
      if (!isAbsent || performance.now() > deadline) throw error;
    }
  }
}

/** Never resolves. Throws `worker-ended` when the process ends. */
async function unlessItEnds(process: BackgroundProcess): Promise<never> {
  throw await whyItEnded(process, await process.ended);
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
    dim('Ctrl-C ends the worker and Temporal; the edge and the instances go on serving until `bascule dev --stop`.'),
  ].join('\n');
}
