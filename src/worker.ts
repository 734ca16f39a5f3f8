import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { Client } from '@temporalio/client';
import {
  DefaultLogger,
  type InjectedSinks,
  type LogEntry,
  NativeConnection,
  Runtime,
  Worker,
} from '@temporalio/worker';
import pino from 'pino';
import { restoreLooks } from './activities/certificates.js';
import { withFailPoints } from './activities/fail-point.js';
import { createActivities } from './activities/index.js';
import { onlyInOwnWorkflows } from './activities/own-workflows.js';
import { loadProject, type ProjectPlace, type WorkerContext } from './activities/project.js';
import { certificateMetrics } from './certificate-states.js';
import { asUnreachable, connectionSettings } from './client/connection.js';
import { dataConverter, markOf, readEncryptionKeys } from './client/encryption.js';
import { assertNamespace } from './client/namespace.js';
import { loadConfiguration } from './config/load.js';
import { taskQueue, workerIdentity } from './domain/names.js';
import type { Notice } from './domain/notice.js';
import { activitiesAtOnce } from './domain/timeouts.js';
import { LocalHost } from './hosts/local.js';
import { keepPrivate } from './hosts/private-files.js';
import { installed } from './installation.js';
import { startKeeper } from './keeper.js';
import { notify } from './notify.js';
import { readVersion } from './version.js';
import { visibleText } from './visible-text.js';
import { acquireLease } from './worker-lease.js';
import { removeLeftovers } from './worker-leftovers.js';
import { freeMetricsPort, type MetricsServer, serveMetrics } from './worker-metrics.js';
import type { NoticeSinks } from './workflows/notices.js';

export interface WorkerOptions {
  /** Path of bascule.yaml. */
  readonly configurationFile: string;
  /** Where `/healthz` and Prometheus's `/metrics` are, such as `127.0.0.1:9464`; nowhere where it is not given. */
  readonly metrics?: string;
}

/** What cannot be written yet is kept up to this. */
const logBufferBytes = 1_000_000;

/** A workflow task queued for a dead worker waits this long before another one gets it; by default 10 s. */
const stickyQueueScheduleToStartTimeout = '1s';

/**
 * Workflows are kept in one thread and in one V8 context, which all of them share: a second thread costs 45 MB. Some for
 * each environment and for the edge are enough; one that is not kept is replayed from its history.
 */
const workflowCache = { maxCachedWorkflows: 100, workflowThreadPoolSize: 1, reuseV8Context: true } as const;

/**
 * Runs the project's worker until SIGTERM or SIGINT: carries out every operation, and keeps the edge and the recorded
 * instances running. What was in the middle of something when a worker was killed is resumed by the next one.
 *
 * @throws `worker-running` where another one holds the lease, `temporal-unreachable`, `temporal-refused`,
 * `temporal-settings-unusable`, `namespace-missing`, `search-attribute-missing`, `config-invalid`, `encryption-key-invalid`, `file-not-writable`, and
 * those of `serveMetrics`
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  // They are about this process, not about HAProxy and the programs that it starts.
  for (const name of Object.keys(process.env).filter((name) => name.startsWith('MALLOC_'))) delete process.env[name];
  const configuration = await loadConfiguration(options.configurationFile);
  await keepPrivate(dirname(configuration.instances.addressBook));
  const keys = readEncryptionKeys(process.env);
  const log = pino({ name: 'bascule-worker', serializers: { error: pino.stdSerializers.err } }, logDestination());
  const exporterPort = await freeMetricsPort();
  Runtime.install({
    logger: new DefaultLogger('INFO', (entry) => writeLog(log, entry)),
    telemetryOptions: options.metrics ? { metrics: { prometheus: { bindAddress: `127.0.0.1:${exporterPort}` } } } : {},
  });
  const lease = await acquireLease(configuration);
  if (lease.unwritten) {
    const { message, remedy } = lease.unwritten;
    log.error({ error: message, remedy }, 'goes on without its lease until that can be written');
  }
  let connection: NativeConnection | null = null;
  try {
    await removeLeftovers(configuration);
    const place = { configurationFile: options.configurationFile, host: withFailPoints(new LocalHost()) };
    // Before Temporal answers, so that visitors are served whatever becomes of it.
    const keeper = startKeeper(place, log);
    let metrics: MetricsServer | null = null;
    let isPolling = (): boolean => false;
    let stopLooks = (): void => {};
    try {
      metrics = options.metrics
        ? await serveMetrics(
            options.metrics,
            exporterPort,
            () => isPolling(),
            async () => certificateMetrics(await loadProject(place)),
          )
        : null;
      connection = await connect();
      const { connectionOptions, namespace } = connectionSettings(process.env);
      await assertNamespace(connection.operatorService, { namespace, address: connectionOptions.address });
      const context: WorkerContext = {
        ...place,
        project: configuration.project,
        client: new Client({ connection, namespace, dataConverter: dataConverter(keys) }),
        version: readVersion(),
      };
      const worker = await Worker.create({
        connection,
        namespace,
        taskQueue: taskQueue(configuration.project),
        identity: workerIdentity({
          version: context.version,
          pid: process.pid,
          host: hostname(),
          keys: keys.map(markOf),
        }),
        dataConverter: dataConverter(keys),
        sinks: noticeSinks(place, log),
        activities: Object.assign({}, ...Object.values(createActivities(context))),
        interceptors: { activity: [onlyInOwnWorkflows] },
        workflowBundle: workflowBundle(keys.length > 0),
        stickyQueueScheduleToStartTimeout,
        ...workflowCache,
        maxConcurrentActivityTaskExecutions: activitiesAtOnce,
        // A cancellation reaches an activity with the answer to its heartbeat.
        maxHeartbeatThrottleInterval: '500ms',
        shutdownGraceTime: '10s',
      });
      stopLooks = await keepLooks(context, log);
      isPolling = () => worker.getState() === 'RUNNING';
      void lease.lost.then(() => {
        log.error('another worker has taken the lease over: this one ends');
        worker.shutdown();
      });
      await worker.run();
    } finally {
      stopLooks();
      await metrics?.stop();
      await keeper.stop();
    }
  } finally {
    await connection?.close();
    await lease.release();
  }
}

const looksEveryMs = 60_000;

/** Has certificates looked at as long as the worker runs: Temporal may lose its database meanwhile, and the schedule with it. */
async function keepLooks(context: WorkerContext, log: pino.Logger): Promise<() => void> {
  let hasFailed = false;
  const restore = async (): Promise<void> => {
    try {
      await restoreLooks(context);
      hasFailed = false;
    } catch (error) {
      // Once for each outage.
      if (!hasFailed) log.error({ error }, 'could not look after the schedule of renewals');
      hasFailed = true;
    }
  };
  await restore();
  const timer = setInterval(restore, looksEveryMs);
  return () => clearInterval(timer);
}

/** An operation's end is told by whoever runs it then; one that is told while the worker is killed may be lost. */
function noticeSinks(place: ProjectPlace, log: pino.Logger): InjectedSinks<NoticeSinks> {
  const ended = async (notice: Notice): Promise<void> => {
    try {
      const { configuration } = await loadProject(place);
      if (configuration.notify) await notify(configuration.notify, notice);
    } catch (error) {
      log.error({ error, operation: notice.operation }, 'could not tell of its end');
    }
  };
  return { notices: { ended: { fn: (_, notice) => void ended(notice), callDuringReplay: false } } };
}

/** Where the disk is full the log has gaps, and the worker goes on. */
function logDestination(): pino.DestinationStream {
  const destination = pino.destination({ dest: 2, maxLength: logBufferBytes }).on('error', () => {});
  return { write: (line) => void destination.write(visibleText(line)) };
}

/** The bundle that the build made for how failures are converted. */
const workflowBundle = (isEncrypted: boolean): { readonly codePath: string } => ({
  codePath: installed(`dist/${isEncrypted ? 'workflow-bundle-encrypted' : 'workflow-bundle'}.js`),
});

async function connect(): Promise<NativeConnection> {
  const { connectionOptions } = connectionSettings(process.env);
  try {
    return await NativeConnection.connect(connectionOptions);
  } catch (error) {
    throw asUnreachable(error, connectionOptions.address);
  }
}

function writeLog(log: pino.Logger, entry: LogEntry): void {
  const level = entry.level.toLowerCase() as 'trace' | 'debug' | 'info' | 'warn' | 'error';
  log[level](entry.meta ?? {}, entry.message);
}
