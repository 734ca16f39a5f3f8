import { BasculeError } from '../errors.js';
import { programsAt } from '../hosts/listeners.js';
import { type Edge, edgeFiles, runAct, runtimeSocket } from './edge.js';
import { findProcesses } from './managed.js';
import { readEdge } from './read-edge.js';
import { readRunning, reloadMs } from './runtime.js';
import { notRunning, whyNoMaster, whyNotRunning } from './silence.js';

/** Master CLI commands, `set-var` in global and `option redispatch` as Bascule writes them came with 2.4. */
const oldestVersion = [2, 4] as const;
const commandMs = 10_000;

/** HAProxy's version as `haproxy -v` says it. Throws `command-not-found`, `haproxy-too-old`. */
export async function examineProgram(edge: Edge): Promise<string> {
  const { stdout } = await edge.host.run(['haproxy', '-v'], { timeoutMs: commandMs });
  const version = /version (\d+)\.(\d+)\S*/.exec(stdout);
  const [major = 0, minor = 0] = [version?.[1], version?.[2]].map(Number);
  const isOld = major < oldestVersion[0] || (major === oldestVersion[0] && minor < oldestVersion[1]);
  if (isOld) {
    throw new BasculeError('haproxy-too-old', { host: edge.host.name, version: version?.[0] ?? stdout.trim() });
  }
  return version?.[0] ?? '';
}

/** What HAProxy runs. Throws `edge-not-running`, `edge-silent`, `address-in-use`, `edge-not-master-worker`, `edge-other-haproxy`. */
export async function examineProcess(edge: Edge): Promise<string> {
  const { http } = edge.configuration;
  const host = edge.host.name;
  const running = await readRunning(runtimeSocket(edge));
  const processes = await findProcesses(edge, running ? reloadMs : 0);
  if (running === null) {
    const why = await whyNotRunning(edge);
    if (why?.code === 'edge-silent') throw why;
    if (!(await edge.host.isAddressFree(http))) {
      throw new BasculeError('address-in-use', { host, ...http, listeners: await programsAt(edge.host, http) });
    }
    throw notRunning(edge);
  }
  if (processes === null) throw await whyNoMaster(edge, running);
  const old = processes.old.map(({ pid, uptime }) => `${pid} for ${uptime}`);
  const lingering = old.length === 0 ? '' : `; old workers still end their connections: ${old.join(', ')}`;
  return `generation ${running.generation}, process ${processes.master}${lingering}`;
}

/** The installed file, by HAProxy's own word. Throws `haproxy-refused`, `edge-not-applied`. */
export async function examineFile(edge: Edge): Promise<string> {
  const { config } = edge.configuration.files;
  const host = edge.host.name;
  if ((await edge.host.readText(config)) === null) throw new BasculeError('edge-not-applied', { host, file: config });
  await runAct(edge, { name: 'check', args: [], owner: 'doctor' });
  return config;
}

/** Whether files and process agree. Throws `edge-needs-operator`, `edge-drift`, and those of `readEdge`. */
export async function examineState(edge: Edge, version: string): Promise<null> {
  const record = await readEdge(edge, { probe: false, version });
  const host = edge.host.name;
  if (record.needsOperator !== null) {
    const { needsOperator: file } = edgeFiles(edge);
    throw new BasculeError('edge-needs-operator', { host, file, text: record.needsOperator });
  }
  // That HAProxy does not run is a finding of its own.
  const drift = record.drift
    .filter(({ kind }) => kind !== 'not-running' && kind !== 'silent')
    .map(({ message }) => message);
  if (drift.length > 0) throw new BasculeError('edge-drift', { host, drift });
  return null;
}
