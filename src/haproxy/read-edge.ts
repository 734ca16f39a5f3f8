import type { AppliedConfiguration } from '../domain/configuration.js';
import type { Drift, DriftKind, EdgeRecord, PoolAnswer } from '../domain/edge-change.js';
import type { Color, EnvironmentState, HistoryLine } from '../domain/edge-state.js';
import { parseHistory } from '../domain/history.js';
import { BasculeError } from '../errors.js';
import { type Edge, edgeFiles } from './edge.js';
import type { InstalledConfiguration } from './header.js';
import { readApplied, readInstalled, readKept } from './installed.js';
import { colorFileOf } from './record.js';
import { renderConfiguration } from './render.js';
import { readRunning } from './runtime.js';
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
 * @throws `edge-of-other-project`, `state-file-is-link`, `edge-state-unreadable`
 */
export async function readEdge(edge: Edge, options: ReadOptions): Promise<EdgeRecord> {
  const files = edgeFiles(edge);
  const [claim, needsOperator, installed, applied, running] = await Promise.all([
    edge.host.readState(files.generation),
    edge.host.readState(files.needsOperator),
    readInstalled(edge),
    readApplied(edge),
    readRunning(edge.configuration.files.socket),
  ]);
  if (installed === null) {
    const foreign = await edge.host.readState(files.config);
    const drift = foreign === null ? [] : [driftOf('header', `${files.config} was not written by Bascule`)];
    const states = await readSeedStates(edge, options.wantedApplied);
    const nothing = { installed: null, histories: {}, applied: applied?.digest ?? null, needsOperator, pools: {} };
    return { ...nothing, claim: claim?.trim() ?? null, running, states, drift };
  }

  const served = running ? await findServed(edge, installed, running) : installed;
  const states = (served ?? installed).states;
  const histories = await readHistories(edge, states);
  const drift = [
    ...fileDrift(edge, installed, applied?.applied ?? null, options.version),
    ...processDrift(edge, installed, running, served),
    ...(await colorDrift(edge, states, histories)),
  ];
  const pools: Record<string, PoolAnswer> =
    options.probe && applied && running ? await probeEveryPool(applied.applied, installed.probe) : {};
  const { generation, digest, version } = installed;
  return {
    claim: claim?.trim() ?? null,
    installed: { generation, digest, version },
    running,
    states,
    histories: Object.fromEntries(Object.entries(histories).map(([name, lines]) => [name, lines ?? []])),
    applied: applied?.digest ?? null,
    drift,
    needsOperator,
    pools,
  };
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
  applied: AppliedConfiguration | null,
  version: string,
): readonly Drift[] {
  const { config, applied: appliedFile } = edgeFiles(edge);
  if (installed.digest !== installed.headerDigest) {
    return [driftOf('hand-edited', `${config} was edited by hand: its content is not that of its header's digest`)];
  }
  if (applied === null) return [driftOf('template', `${appliedFile} is missing, from which ${config} was rendered`)];
  // What another version rendered may differ: the next change carries this version's lines and says so.
  if (installed.version !== version) return [];
  if (renderConfiguration(applied, installed.states).digest === installed.digest) return [];
  return [driftOf('template', `${config} is not what ${appliedFile} renders: one of them was changed`)];
}

function processDrift(
  edge: Edge,
  installed: InstalledConfiguration,
  running: EdgeRecord['running'],
  served: InstalledConfiguration | null,
): readonly Drift[] {
  const { config } = edgeFiles(edge);
  if (running === null) {
    const { socket } = edge.configuration.files;
    return [driftOf('not-running', `no HAProxy with a configuration of Bascule answers on ${socket}`)];
  }
  if (served === installed) return [];
  const what = served ? `the kept ${config}.${served.generation}` : 'a configuration that is not kept';
  const message = `HAProxy (process ${running.pid}) serves generation ${running.generation}, ${what}; ${config} is generation ${installed.generation}`;
  return [driftOf('other-configuration-running', message)];
}

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
  if (lines === null) return 'has a line that is none';
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

/** Where no file has a header the seed's color files count, and a missing one means blue. */
async function readSeedStates(
  edge: Edge,
  wanted: AppliedConfiguration | undefined,
): Promise<readonly EnvironmentState[]> {
  const states: EnvironmentState[] = [];
  for (const { name } of wanted?.configuration.environments ?? []) {
    const file = edgeFiles(edge).color(name);
    const color = ((await edge.host.readState(file)) ?? 'blue').trim();
    if (color !== 'blue' && color !== 'green') {
      const reason = `it says ${JSON.stringify(color)} instead of blue or green`;
      throw new BasculeError('edge-state-unreadable', { host: edge.host.name, file, reason });
    }
    states.push({ name, color: color satisfies Color, sha: null, standby: null });
  }
  return states;
}

const driftOf = (kind: DriftKind, message: string): Drift => ({ kind, message });
