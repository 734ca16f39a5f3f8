import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BasculeError } from '../errors.js';
import { isProcessAlive, ownIdentity, type ProcessIdentity } from '../hosts/process-identity.js';
import type { Invocation } from './invocation.js';
import { type LocalProject, openLocalProject } from './local-project.js';

/** The worker and Temporal's server take up to 15 s each. */
const devEndsWithinMs = 40_000;

/** Notes in a project's folder that `bascule dev` runs; answers how to take that back. */
export async function noteRunningDev(folder: string): Promise<() => Promise<void>> {
  const file = devFile(folder);
  await writeFile(file, `${JSON.stringify(await ownIdentity())}\n`);
  return () => rm(file, { force: true });
}

/**
 * Ends what `bascule dev` runs, and what it leaves running: the managed edge first, then the instances, which stay on
 * record: the next worker starts them again. Needs no Temporal.
 *
 * @throws `worker-running` where another worker would start it all again, and what ending processes throws
 */
export async function stopDev(invocation: Invocation, folder: string): Promise<void> {
  const project = await openLocalProject(invocation);
  const stopped = [...(await endDev(folder))];
  const { refuseSecondWorker } = await import('../worker-lease.js');
  await refuseSecondWorker(project.configuration);
  stopped.push(...(await endEdge(project)), ...(await endInstances(project)));
  const { green, dim } = invocation.output.out;
  const { manage } = project.configuration.edge;
  invocation.output.answer(
    { schemaVersion: 1, project: project.configuration.project, stopped },
    [
      ...(stopped.length === 0 ? ['Nothing runs.'] : stopped.map((what) => `${green('✔')} stopped ${what}`)),
      ...(manage ? [] : ['HAProxy is not run by Bascule here (edge.manage), and was left as it is.']),
      ...(stopped.length === 0 ? [] : [dim('`bascule dev` brings all of it back as it was.')]),
    ].join('\n'),
  );
}

async function endDev(folder: string): Promise<readonly string[]> {
  const dev = await readRunningDev(folder);
  if (!dev) return [];
  process.kill(dev.pid, 'SIGTERM');
  const deadline = Date.now() + devEndsWithinMs;
  while (await isProcessAlive(dev)) {
    if (Date.now() > deadline) {
      const program = `bascule dev (${dev.pid})`;
      throw new BasculeError('command-timed-out', { host: 'localhost', program, timeoutMs: devEndsWithinMs });
    }
    await sleep(50);
  }
  return ['bascule dev, with its worker and Temporal'];
}

/** Null where it does not run: one that was killed left its note. */
async function readRunningDev(folder: string): Promise<ProcessIdentity | null> {
  try {
    const dev = JSON.parse(await readFile(devFile(folder), 'utf8')) as ProcessIdentity;
    return (await isProcessAlive(dev)) ? dev : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

const devFile = (folder: string): string => join(folder, 'dev.json');

async function endEdge({ edge }: LocalProject): Promise<readonly string[]> {
  if (!edge.configuration.manage) return [];
  const { findProcesses, stopManagedEdge } = await import('../haproxy/managed.js');
  if ((await findProcesses(edge, 0)) === null) return [];
  await stopManagedEdge(edge);
  return [`HAProxy at ${edge.configuration.http.address}:${edge.configuration.http.port}`];
}

async function endInstances(project: LocalProject): Promise<readonly string[]> {
  const { readApplied } = await import('../haproxy/installed.js');
  const { allInstances } = await import('../instances/places.js');
  const { readInstance } = await import('../instances/record.js');
  const { haltInstance } = await import('../instances/process.js');
  const inForce = await readApplied(project.edge);
  if (!inForce) return [];
  const ended = await Promise.all(
    allInstances(project, inForce.applied).map(async ({ instance, component }) => {
      if (!(await readInstance(instance)).isAlive) return [];
      // The edge is down: no color is active any more.
      await haltInstance({ ...instance, edgeConfig: null }, component);
      return [instance.name];
    }),
  );
  return ended.flat();
}
