import { BasculeError, isBasculeError } from '../errors.js';
import { isHaproxy } from '../hosts/processes.js';
import { type Edge, masterSocket, runtimeSocket } from './edge.js';
import { readInstalled } from './installed.js';
import { type HaproxySocket, RuntimeApi } from './runtime.js';

/** With it HAProxy checks its file, as `doctor` has it do, and ends. */
const checkOnly = '-c';

/** A HAProxy that runs this edge's file and can't be asked on one of its sockets. */
interface SilentHaproxy {
  /** Of the master; of the process itself where there is none. */
  readonly pid: number;
  /** By the system's word. */
  readonly reason: string;
}

/**
 * Why an edge that has a configuration answers nobody, where a worker can't simply start it: it runs, and its socket was
 * removed or moved or may not be used; or somebody else has to start it. Null where a change may go on.
 */
export async function whyNotRunning(edge: Edge): Promise<BasculeError<'edge-silent' | 'edge-not-running'> | null> {
  const { socket } = edge.configuration.files;
  const { manage } = edge.configuration;
  const host = edge.host.name;
  const silent = await findSilent(edge, runtimeSocket(edge));
  if (silent !== null) {
    const installedSocket = /^\s*stats socket (\S+)/m.exec((await readInstalled(edge))?.text ?? '')?.[1] ?? socket;
    const movedFrom = installedSocket === socket ? null : installedSocket;
    return new BasculeError('edge-silent', { host, socket, ...silent, manage, movedFrom });
  }
  return manage ? null : notRunning(edge);
}

/** That no HAProxy of this edge runs. */
export function notRunning(edge: Edge): BasculeError<'edge-not-running'> {
  const { files, manage } = edge.configuration;
  const { socket, masterSocket, config } = files;
  return new BasculeError('edge-not-running', { host: edge.host.name, socket, masterSocket, config, manage });
}

/** Why no master answers: it lost its socket, HAProxy runs in another mode, or it does not run. */
export async function whyNoMaster(edge: Edge, running: { readonly pid: number } | null): Promise<BasculeError> {
  const { masterSocket: socket, config } = edge.configuration.files;
  const host = edge.host.name;
  const found = await findSilent(edge, masterSocket(edge));
  if (found === null && running === null) return notRunning(edge);
  // Its master is another process than the worker that answered.
  const isMaster = found !== null && running !== null && found.pid !== running.pid;
  if (isMaster) return new BasculeError('edge-master-silent', { host, socket, ...found });
  return new BasculeError('edge-not-master-worker', { host, socket, config });
}

/** The HAProxy that runs this edge's file although nothing answers on a socket; null where there is none. */
async function findSilent(edge: Edge, socket: HaproxySocket): Promise<SilentHaproxy | null> {
  const pid = await findMaster(edge);
  if (pid === null) return null;
  const reason = await whySilent(socket);
  // It may have been about to end, and has ended while it was asked again and again.
  return reason === null || (await findMaster(edge)) !== pid ? null : { pid, reason };
}

/** The process that serves with this edge's file in its command line and that no other such process started. */
async function findMaster(edge: Edge): Promise<number | null> {
  const { config } = edge.configuration.files;
  const found = (await edge.host.processesOf(config)).filter(
    (one) => isHaproxy(one) && one.commandLine.includes(config) && !one.commandLine.includes(checkOnly),
  );
  return found.find(({ parent }) => !found.some(({ pid }) => pid === parent))?.pid ?? null;
}

/** Null where it answers after all, as one that is just being started does. */
async function whySilent(socket: HaproxySocket): Promise<string | null> {
  try {
    await new RuntimeApi(socket).command('help');
    return null;
  } catch (error) {
    if (!isBasculeError(error)) throw error;
    return 'reason' in error.args ? String(error.args.reason) : error.message;
  }
}
