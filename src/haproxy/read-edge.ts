import type { AppliedConfiguration } from '../domain/configuration.js';
import type { Drift, DriftKind, EdgeRecord, PoolAnswer } from '../domain/edge-change.js';
import type { EnvironmentState, HistoryLine } from '../domain/edge-state.js';
import { parseHistory } from '../domain/history.js';
import type { BasculeError } from '../errors.js';
import { type Edge, edgeFiles, runtimeSocket } from './edge.js';
import type { InstalledConfiguration } from './header.js';
import { examineApplied, readInstalled, readKept } from './installed.js';
import { colorFileOf } from './record.js';
import { findSwapped, recoverStates, type Swapped } from './recover.js';
import { renderConfiguration } from './render.js';
import { findServers, type RunningServers, readProbe, type ServerStatus } from './runtime.js';
import { whyNotRunning } from './silence.js';
import { probeEveryPool } from './verify.js';

export interface ReadOptions {
  /** The worker's own configuration: names the environments where no Bascule configuration is installed yet. */
  readonly wantedApplied?: AppliedConfiguration;
  /** Whether to ask every pool for its answer. */
  readonly probe: boolean;
  /** Version of Bascule. */
  readonly version: string;
}

/**
 * All that the steps of an edge change go by, and every kind of drift.
 *
 * @throws `edge-of-other-project`, `state-file-is-link`, `edge-state-unreadable`, `haproxy-unreachable`
 */
export async function readEdge(edge: Edge, options: ReadOptions): Promise<EdgeRecord> {
  return (await lookAtEdge(edge, options)).record;
}

/**
 * The same with every server as HAProxy has it, asked once: none where it does not run.
 *
 * @throws as `readEdge`
 */
export async function lookAtEdge(
  edge: Edge,
  options: ReadOptions,
): Promise<{ readonly record: EdgeRecord; readonly servers: readonly ServerStatus[] }> {
  const files = edgeFiles(edge);
  const [generationText, needsOperator, installed, inForce, seen] = await Promise.all([
    edge.host.readState(files.generation),
    edge.host.readState(files.needsOperator),
    readInstalled(edge),
    examineApplied(edge),
    findServers(runtimeSocket(edge)),
  ]);
  const claim = claimOf(generationText);
  const record = await recordOf(edge, options, { claim, needsOperator, installed, inForce, seen });
  return { record, servers: seen?.servers ?? [] };
}

async function recordOf(
  edge: Edge,
  options: ReadOptions,
  found: Pick<EdgeRecord, 'claim' | 'needsOperator'> & {
    readonly installed: InstalledConfiguration | null;
    readonly inForce: Awaited<ReturnType<typeof examineApplied>>;
    readonly seen: RunningServers | null;
  },
): Promise<EdgeRecord> {
  const { claim, needsOperator, installed, inForce, seen } = found;
  const running = seen && { pid: seen.pid, generation: seen.generation, digest: seen.digest };
  const { applied, problem } = inForce;
  const common = { claim, running, applied: inForce.digest, needsOperator };
  const probeWith = async (probe: string) =>
    options.probe && applied && running ? await probeEveryPool(edge.host, applied, probe) : {};
  if (installed === null) {
    const recovered = await recoverStates(edge, { applied, wanted: options.wantedApplied, running: seen });
    const pools = running?.digest ? await probeWith(await readProbe(runtimeSocket(edge))) : {};
    return { ...common, ...recovered, installed: null, drift: await missingDrift(edge, running), pools };
  }

  const served = running ? await findServed(edge, installed, running) : installed;
  const claimed = (served ?? installed).states;
  const swapped = applied && seen && served ? findSwapped(applied, claimed, seen.servers) : [];
  const states = claimed.map((state) => swapped.find((one) => one.state?.name === state.name)?.state ?? state);
  const histories = await readHistories(edge, states);
  const drift = [
    ...fileDrift(edge, installed, { applied, problem, version: options.version }),
    ...(await processDrift(edge, installed, running, served)),
    ...swapped.map((one) => swappedDrift(edge, one)),
    ...(await colorDrift(edge, states, histories)),
  ];
  const pools: Record<string, PoolAnswer> = await probeWith(installed.probe);
  const { generation, digest, version } = installed;
  return {
    ...common,
    installed: { generation, digest, version },
    states,
    histories: Object.fromEntries(Object.entries(histories).map(([name, lines]) => [name, lines ?? []])),
    drift,
    pools,
  };
}

/** The claim as a shell reads it on the host, where it is compared: without NUL and final newlines. */
function claimOf(text: string | null): string | null {
  return text === null ? null : text.replaceAll('\0', '').replace(/\n+$/, '');
}

/** Where no haproxy.cfg of Bascule is installed: a file of somebody else, or one that is gone under a HAProxy that runs it. */
async function missingDrift(edge: Edge, running: EdgeRecord['running']): Promise<readonly Drift[]> {
  const { config } = edgeFiles(edge);
  const isForeign = (await edge.host.readState(config)) !== null;
  const isServed = running !== null && running.digest !== '';
  if (!isForeign && !isServed) return [];
  const found = `${config} ${isForeign ? 'was not written by Bascule' : 'is missing'}`;
  const served = isServed ? `; HAProxy (process ${running.pid}) still serves generation ${running.generation}` : '';
  return [driftOf('header', `${found}${served}`)];
}

/** The file that the process runs: the installed one or a kept one; null where it is none of them. */
async function findServed(
  edge: Edge,
  installed: InstalledConfiguration,
  running: { readonly generation: number; readonly digest: string },
): Promise<InstalledConfiguration | null> {
  // A file that was edited by hand keeps the digest of what it was in its header, as the process does in its memory.
  if (running.generation === installed.generation && running.digest === installed.headerDigest) return installed;
  const kept = await readKept(edge, running.generation);
  return kept?.headerDigest === running.digest ? kept : null;
}

function fileDrift(
  edge: Edge,
  installed: InstalledConfiguration,
  of: { readonly applied: AppliedConfiguration | null; readonly problem: string | null; readonly version: string },
): readonly Drift[] {
  const { applied, problem, version } = of;
  const { config, applied: appliedFile } = edgeFiles(edge);
  if (installed.digest !== installed.headerDigest) {
    return [driftOf('hand-edited', `${config} was edited by hand: its content is not that of its header's digest`)];
  }
  if (problem !== null) return [driftOf('template', problem)];
  if (applied === null) return [driftOf('template', `${appliedFile} is missing, from which ${config} was rendered`)];
  // What another version rendered may differ: the next change carries this version's lines and says so.
  if (installed.version !== version) return [];
  if (renderConfiguration(applied, installed.states).digest === installed.digest) return [];
  return [driftOf('template', `${config} is not what ${appliedFile} renders: one of them was changed`)];
}

async function processDrift(
  edge: Edge,
  installed: InstalledConfiguration,
  running: EdgeRecord['running'],
  served: InstalledConfiguration | null,
): Promise<readonly Drift[]> {
  const { config } = edgeFiles(edge);
  if (running === null) {
    const why = await whyNotRunning(edge);
    if (why) return [{ kind: why.code === 'edge-silent' ? 'silent' : 'not-running', ...textOf(why) }];
    return [driftOf('not-running', `no HAProxy answers on ${edge.configuration.files.socket}`)];
  }
  if (served === installed) return [];
  const what = served ? `the kept ${config}.${served.generation}` : 'a configuration that Bascule did not install';
  const message = `HAProxy (process ${running.pid}) serves ${what} instead of ${config} (generation ${installed.generation})`;
  return [driftOf('other-configuration-running', message)];
}

function swappedDrift(edge: Edge, { environment, said, served }: Swapped): Drift {
  const { config } = edgeFiles(edge);
  const message = `HAProxy sends ${environment} to ${served}, and the header of ${config} says ${said}: its server lines were swapped by hand`;
  return driftOf('other-configuration-running', message);
}

const textOf = ({ message, remedy }: BasculeError): Pick<Drift, 'message' | 'remedy'> => ({ message, remedy });

async function colorDrift(
  edge: Edge,
  states: readonly EnvironmentState[],
  histories: Readonly<Record<string, readonly HistoryLine[] | null>>,
): Promise<readonly Drift[]> {
  const drift: Drift[] = [];
  const files = edgeFiles(edge);
  for (const state of states) {
    const color = await edge.host.readState(files.color(state.name));
    const isRight = state.sha === null ? color === null || color.trim() === state.color : color === colorFileOf(state);
    if (!isRight || (color === null && state.color === 'green')) {
      const found = color === null ? 'is missing' : `says ${JSON.stringify(color.trim())}`;
      drift.push(driftOf('color-file', `${files.color(state.name)} ${found}; ${state.color} is active`));
    }
    const problem = historyProblem(state, histories[state.name] ?? null);
    if (problem) drift.push(driftOf('history-file', `${files.history(state.name)} ${problem}`));
  }
  return drift;
}

function historyProblem(state: EnvironmentState, lines: readonly HistoryLine[] | null): string | null {
  if (lines === null) return 'has a line that names no release';
  const top = lines[0];
  if (state.sha === null) return top ? `names ${top.sha}; nothing is deployed` : null;
  if (!top) return `is missing or empty; ${state.color} ${state.sha} is active`;
  if (top.color === state.color && top.sha === state.sha) return null;
  return `begins with ${top.color} ${top.sha}; ${state.color} ${state.sha} is active`;
}

/** By environment; null where the file has a line that is none. */
async function readHistories(
  edge: Edge,
  states: readonly EnvironmentState[],
): Promise<Readonly<Record<string, readonly HistoryLine[] | null>>> {
  const read = async (name: string) =>
    [name, parseHistory((await edge.host.readState(edgeFiles(edge).history(name))) ?? '')] as const;
  return Object.fromEntries(await Promise.all(states.map((state) => read(state.name))));
}

const driftOf = (kind: DriftKind, message: string): Drift => ({ kind, message });
