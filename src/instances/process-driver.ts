import {
  admitInstance,
  disownInstance,
  markFailed,
  markHealthy,
  pruneReleases,
  reserveInstance,
  retakeInstance,
} from './claims.js';
import type { InstanceDriver } from './driver.js';
import { examineProcess } from './examine.js';
import { listensElsewhere } from './listeners.js';
import { lastLogLines, readLog } from './log.js';
import {
  deleteInstance,
  killInstance,
  migrateRelease,
  prepareRelease,
  recreateInstance,
  requireOwnAddress,
  startInstance,
} from './process.js';
import { runInRelease } from './process-exec.js';
import { checkHealth } from './process-health.js';
import { readProcess } from './record.js';

/** Processes of the worker's machine, which a worker keeps running (src/instances/keeper.ts). */
export const processDriver: InstanceDriver = {
  readRecord: readProcess,
  readInstance: readProcess,
  ...{ reserveInstance, retakeInstance, admitInstance, recreateInstance, killInstance },
  ...{ prepareRelease, pruneReleases, migrateRelease, startInstance, markHealthy },
  ...{ markFailed, disownInstance },
  async removeInstance(instance, ending) {
    await recreateInstance(instance, ending);
    await deleteInstance(instance, ending.owner);
  },
  ...{ checkHealth, requireOwnAddress, listensElsewhere },
  examineInstance: examineProcess,
  ...{ readLog, lastLogLines, runInRelease },
};
