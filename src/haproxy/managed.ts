import { setTimeout as sleep } from 'node:timers/promises';
import { BasculeError } from '../errors.js';
import { logSize, readLogBytes } from '../hosts/log-file.js';
import { type Edge, edgeFiles, masterSocket, runAct, runtimeSocket } from './edge.js';
import { readInstalled } from './installed.js';
import { readWorkers, type Workers } from './old-workers.js';
import { readRunning, reloadMs } from './runtime.js';

/** HAProxy is up in a tenth of a second; a busy machine takes longer. */
const startTimeoutMs = 15_000;
const stopTimeoutMs = 10_000;
const pollMs = 20;

/**
 * Starts the edge's HAProxy where a configuration is installed and none runs, apart from this process: neither its end
 * nor Ctrl-C reaches it. Two who start at once start one.
 *
 * @returns whether HAProxy serves the installed configuration now; false where none is installed
 * @throws `edge-start-failed`, `edge-other-haproxy`, and those of `runAct`
 */
export async function ensureManagedEdge(edge: Edge): Promise<boolean> {
  const installed = await readInstalled(edge);
  if (installed === null) return false;
  if ((await findProcesses(edge, 0)) !== null) return true;
  const logged = await followLog(edge);
  await runAct(edge, { name: 'start', args: [edge.configuration.files.masterSocket], owner: 'start' });
  const deadline = performance.now() + startTimeoutMs;
  while (performance.now() < deadline) {
    const running = await readRunning(runtimeSocket(edge));
    const isUp = (await findProcesses(edge, 0)) !== null;
    if (running && running.digest === installed.headerDigest && isUp) return true;
    if (!isUp && alerts(await logged()) !== '') break;
    await sleep(pollMs);
  }
  const { log } = edgeFiles(edge);
  throw new BasculeError('edge-start-failed', { host: edge.host.name, log, output: alerts(await logged()) });
}

/**
 * Ends the edge's HAProxy and waits until it has ended.
 *
 * @param graceMs how long it may answer what is under way, without taking anything new; then, or at once, it is cut off
 * @throws `edge-other-haproxy`, `command-timed-out` where not even SIGKILL ended it
 */
export async function stopManagedEdge(edge: Edge, { graceMs = 0 } = {}): Promise<void> {
  const pid = (await findProcesses(edge, (await readRunning(runtimeSocket(edge))) ? reloadMs : 0))?.master;
  if (pid === undefined) return;
  // HAProxy management guide, section 4: the master passes SIGUSR1 and SIGTERM on, and ends after its workers.
  const signals = [
    ...(graceMs > 0 ? [{ signal: 'USR1', withinMs: graceMs }] : []),
    { signal: 'TERM', withinMs: stopTimeoutMs },
    { signal: 'KILL', withinMs: stopTimeoutMs },
  ];
  for (const { signal, withinMs } of signals) {
    await edge.host.run(['kill', '-s', signal, String(pid)], { timeoutMs: stopTimeoutMs });
    if (await hasEnded(edge, pid, withinMs)) return;
  }
  const { name: host } = edge.host;
  throw new BasculeError('command-timed-out', { host, program: `haproxy (${pid})`, timeoutMs: stopTimeoutMs });
}

async function hasEnded(edge: Edge, pid: number, withinMs: number): Promise<boolean> {
  const { config } = edge.configuration.files;
  const deadline = performance.now() + withinMs;
  while ((await edge.host.readText(`/proc/${pid}/cmdline`))?.split('\0').includes(config)) {
    if (performance.now() > deadline) return false;
    await sleep(pollMs);
  }
  return true;
}

/**
 * The processes of this edge's HAProxy, null where none answers.
 *
 * @param retryMs how long to try again where nothing answers: `reloadMs` where one runs, which may be loading
 * @throws `edge-other-haproxy` where the one that answers runs another configuration file
 */
export async function findProcesses(edge: Edge, retryMs: number): Promise<Workers | null> {
  const { config, masterSocket: socket } = edge.configuration.files;
  const processes = await readWorkers(masterSocket(edge), retryMs);
  const pid = processes?.master ?? 0;
  if (processes === null || pid === 0) return null;
  const commandLine = await edge.host.readText(`/proc/${pid}/cmdline`);
  // It may have ended meanwhile.
  if (commandLine === null) return null;
  if (!commandLine.split('\0').includes(config)) {
    throw new BasculeError('edge-other-haproxy', { host: edge.host.name, socket, file: config, pid });
  }
  return processes;
}

/**
 * Answers what the managed HAProxy has written since now, all of the log where it was rotated meanwhile. One that is not
 * Bascule's writes elsewhere.
 */
export async function followLog(edge: Edge): Promise<() => Promise<string>> {
  if (!edge.configuration.manage) return async () => '';
  const { log } = edgeFiles(edge);
  const begin = await logSize(log);
  return async () => {
    const size = await logSize(log);
    return (await readLogBytes(log, begin <= size ? begin : 0, size)).toString('utf8');
  };
}

/** The last lines of HAProxy's own output that say why it could not load; that a pool is empty is no reason. */
export function alerts(log: string): string {
  const lines = log
    .split('\n')
    .filter((line) => line.startsWith('[ALERT]') && !line.includes('has no server available'));
  return lines.slice(-5).join('\n');
}
