import { setTimeout as sleep } from 'node:timers/promises';
import { BasculeError } from '../errors.js';
import { isProcessAlive, type ProcessIdentity } from '../hosts/process-identity.js';
import { readDevNote, removeDevNote } from './dev-note.js';
import type { Invocation } from './invocation.js';
import { type LocalProject, openLocalProject } from './local-project.js';

/** The worker and Temporal's server take up to 15 s each. */
const devEndsWithinMs = 40_000;
const partEndsWithinMs = 15_000;
/** What visitors are in the middle of may come to its end; a WebSocket has none. */
const edgeGraceMs = 10_000;

/** What `--stop` has ended. */
export interface Stopped {
  readonly dev: 'stopped' | 'left-overs-stopped' | 'not-running';
  readonly edge: 'stopped' | 'not-running' | 'not-managed';
  /** Names. */
  readonly instances: readonly string[];
}

/**
 * Ends what `bascule dev` runs, and what it leaves running: the managed edge first, then the instances, which stay on
 * record: the next worker starts them again. Needs no Temporal.
 *
 * @throws `worker-would-restart` where a worker that is not dev's runs, and what ending processes throws
 */
export async function stopDev(invocation: Invocation, folder: string): Promise<void> {
  const project = await openLocalProject(invocation);
  const dev = await endDev(invocation, folder);
  await refuseOtherWorker(project);
  const edge = await endEdge(invocation, project);
  const stopped: Stopped = { dev, edge, instances: await endInstances(project) };
  const { green, dim } = invocation.output.out;
  const lines = describe(project, stopped);
  invocation.output.answer(
    { schemaVersion: 1, project: project.configuration.project, ...stopped, stopped: lines },
    [
      ...(lines.length === 0 ? ['Nothing runs.'] : lines.map((line) => `${green('✔')} stopped ${line}`)),
      ...(edge === 'not-managed' ? ['HAProxy is not run by Bascule here (edge.manage): it was left as it is.'] : []),
      ...(lines.length === 0 ? [] : [dim('`bascule dev` brings all of it back as it was.')]),
    ].join('\n'),
  );
}

function describe({ configuration }: LocalProject, { dev, edge, instances }: Stopped): readonly string[] {
  const { address, port } = configuration.edge.http;
  return [
    ...(dev === 'stopped' ? ['bascule dev, with its worker and Temporal'] : []),
    ...(dev === 'left-overs-stopped' ? ['what a bascule dev that was killed had started'] : []),
    ...(edge === 'stopped' ? [`HAProxy at ${address}:${port}`] : []),
    ...instances,
  ];
}

/** Ends dev as Ctrl-C does; where it was killed, what it had started. Throws `command-timed-out`. */
async function endDev({ output }: Invocation, folder: string): Promise<Stopped['dev']> {
  const dev = await readDevNote(folder);
  if (!dev) return 'not-running';
  if (await isProcessAlive(dev)) {
    output.note(`ending bascule dev (process ${dev.pid}) …`);
    process.kill(dev.pid, 'SIGINT');
    if (await hasEnded(dev, devEndsWithinMs)) return 'stopped';
    const program = `bascule dev (${dev.pid})`;
    throw new BasculeError('command-timed-out', { host: 'localhost', program, timeoutMs: devEndsWithinMs });
  }
  const leftOvers = await endLeftOvers(dev.started);
  await removeDevNote(folder);
  return leftOvers > 0 ? 'left-overs-stopped' : 'not-running';
}

/** Answers how many there were. */
async function endLeftOvers(processes: readonly ProcessIdentity[]): Promise<number> {
  let ended = 0;
  for (const one of processes) {
    if (!(await isProcessAlive(one))) continue;
    ended += 1;
    process.kill(one.pid, 'SIGTERM');
    if (await hasEnded(one, partEndsWithinMs)) continue;
    process.kill(one.pid, 'SIGKILL');
    await hasEnded(one, partEndsWithinMs);
  }
  return ended;
}

async function hasEnded(one: ProcessIdentity, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs;
  while (await isProcessAlive(one)) {
    if (performance.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

async function refuseOtherWorker({ configuration }: LocalProject): Promise<void> {
  const { leaseHolder } = await import('../worker-lease.js');
  const holder = await leaseHolder(configuration);
  if (holder) throw new BasculeError('worker-would-restart', { pid: holder.pid, host: holder.host });
}

/** Before the instances, which visitors reach until it is down. */
async function endEdge({ output }: Invocation, { edge }: LocalProject): Promise<Stopped['edge']> {
  if (!edge.configuration.manage) return 'not-managed';
  const { findProcesses, stopManagedEdge } = await import('../haproxy/managed.js');
  if ((await findProcesses(edge, 0)) === null) return 'not-running';
  output.note(`ending HAProxy: what is under way has ${edgeGraceMs / 1_000} s …`);
  await stopManagedEdge(edge, { graceMs: edgeGraceMs });
  return 'stopped';
}

async function endInstances(project: LocalProject): Promise<readonly string[]> {
  const { readApplied } = await import('../haproxy/installed.js');
  const { allInstances } = await import('../instances/places.js');
  const { readProcess } = await import('../instances/record.js');
  const { haltInstance } = await import('../instances/process.js');
  const inForce = await readApplied(project.edge);
  if (!inForce) return [];
  const ended = await Promise.all(
    allInstances(project, inForce.applied).map(async ({ instance, component }) => {
      // Those of Incus are its system's to start and to end.
      if (instance.incus || !(await readProcess(instance)).isAlive) return [];
      // The edge is down, or not Bascule's: no color is active any more.
      await haltInstance({ ...instance, edgeConfig: null }, component);
      return [instance.name];
    }),
  );
  return ended.flat();
}
