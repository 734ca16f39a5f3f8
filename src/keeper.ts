import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { loadProject, type Project, type ProjectPlace } from './activities/project.js';
import { readEnv } from './config/secrets.js';
import { defaults } from './domain/defaults.js';
import { edgeFiles } from './haproxy/edge.js';
import { readApplied } from './haproxy/installed.js';
import { ensureManagedEdge } from './haproxy/managed.js';
import { rotateLogFile } from './hosts/log-file.js';
import { InstanceKeeper } from './instances/keeper.js';
import { allInstances } from './instances/places.js';

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
    const inForce = await readApplied(project.edge);
    if (!inForce) return;
    const kept = allInstances(project, inForce.applied).map(({ instance, component }) => ({
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
