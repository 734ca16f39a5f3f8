import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { loadProject, type Project, type ProjectPlace } from './activities/project.js';
import { readEnv } from './config/secrets.js';
import { defaults } from './domain/defaults.js';
import { backendName } from './domain/names.js';
import { edgeFiles, runtimeSocket } from './haproxy/edge.js';
import { readApplied } from './haproxy/installed.js';
import { ensureManagedEdge } from './haproxy/managed.js';
import { findServers } from './haproxy/runtime.js';
import { admitServer, drainServer } from './haproxy/side-by-side.js';
import { incusHostOf } from './hosts/edge-host.js';
import { rotateLogFile } from './hosts/log-file.js';
import { driverOf } from './instances/drivers.js';
import { InstanceKeeper } from './instances/keeper.js';
import { allInstances, type PlacedInstance } from './instances/places.js';
import type { Instance } from './instances/record.js';

const everyMs = 1_000;
const logLimits = { maxBytes: defaults.logBytes, files: defaults.logFiles };

export interface Keeper {
  stop(): Promise<void>;
}

/**
 * Keeps the managed edge and the recorded instances running while the worker runs: what a reboot or a crash ended is
 * started again, as it was. The edge comes first, so that visitors have what still runs. Their logs are kept short.
 */
export function startKeeper(place: ProjectPlace, log: Logger): Keeper {
  const stopping = new AbortController();
  const instances = new InstanceKeeper();
  const lastErrors = new Map<string, string>();
  const keeping = keep();
  return {
    async stop() {
      stopping.abort();
      await keeping;
    },
  };

  async function keep(): Promise<void> {
    while (!stopping.signal.aborted) {
      await attempt('the project', pass);
      await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  async function pass(): Promise<void> {
    const project = await loadProject(place);
    if (project.configuration.edge.manage) {
      await attempt('the edge', () => ensureManagedEdge(project.edge));
      await attempt("the edge's log", () => rotateLogFile(edgeFiles(project.edge).log, logLimits));
    }
    await attempt('the instances', () => keepInstances(project));
  }

  /** What fails, as to rotate a log does on a full disk, keeps nothing else from being looked after. */
  async function attempt(what: string, run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
      lastErrors.delete(what);
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      // Once a second the same error would hide everything else in the log.
      if (said !== lastErrors.get(what)) log.error({ error: said }, `could not look after ${what}`);
      lastErrors.set(what, said);
    }
  }

  async function keepInstances(project: Project): Promise<void> {
    const { host } = project.configuration.edge;
    // Incus neither starts nor deletes an instance while files of it are asked for again and again.
    if (host.driver === 'incus' && !(await incusHostOf(host).client.isRunning())) return;
    const inForce = await readApplied(project.edge);
    if (!inForce) return;
    const placed = allInstances(project, inForce.applied);
    await attempt('what is drained', () => keepDrained(project, placed));
    // Those of Incus are kept by Incus and their own systemd.
    const processes = placed.filter(({ instance }) => !instance.incus);
    const kept = processes.map(({ instance, component }) => ({
      instance,
      run: component.run,
      readEnv: () => readEnv(component),
    }));
    for (const event of await instances.keepRunning(kept)) {
      if (event.error) log.error({ instance: event.instance, error: event.error.message }, 'could not keep it running');
      else log.warn({ instance: event.instance }, 'it had ended and was started again');
    }
  }
}

/** A reload of the edge leads visitors to every server again: those that an operation replaces are drained anew. */
async function keepDrained({ edge }: Project, placed: readonly PlacedInstance[]): Promise<void> {
  const sideBySide = placed.filter(({ instance }) => instance.color === null);
  const recordOf = (instance: Instance) => driverOf(instance).readRecord(instance);
  const records = await Promise.all(sideBySide.map(async (one) => ({ ...one, ...(await recordOf(one.instance)) })));
  const drained = records.filter(({ isDrained }) => isDrained);
  if (drained.length === 0) return;
  const socket = runtimeSocket(edge);
  const seen = await findServers(socket);
  for (const { instance, component } of drained) {
    const place = { backend: backendName(null, component.pool), server: instance.name };
    const server = seen?.servers.find((one) => one.backend === place.backend && one.name === place.server);
    // MAINT is an operator's doing.
    if (!server || /^(?:DRAIN|MAINT)/.test(server.status)) continue;
    await drainServer(socket, place);
    // The operation let visitors in again meanwhile.
    if (!(await recordOf(instance)).isDrained) await admitServer(socket, place);
  }
}
