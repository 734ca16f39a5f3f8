import { setTimeout as sleep } from 'node:timers/promises';
import type { Claim, TakeBack } from '../domain/edge-change.js';
import { BasculeError } from '../errors.js';
import { claimArguments, type Edge, edgeFiles, masterSocket, runAct, runtimeSocket } from './edge.js';
import { claimTakeBack } from './fence.js';
import type { Target } from './install.js';
import { readInstalled } from './installed.js';
import { alerts, ensureManagedEdge, findProcesses, followLog, stopManagedEdge } from './managed.js';
import { readWorkers, type Workers } from './old-workers.js';
import { readRunning, reloadMs } from './runtime.js';

const pollMs = 10;

/** The first whose master CLI answers `reload` when it is done (management guide, "reload"). */
const firstWithAnswer = [2, 7] as const;

/**
 * Makes HAProxy load the installed configuration and waits for the proof: a new worker that answers with its digest
 * and generation. Nothing to do where that is so already; where no HAProxy runs and it is Bascule's, it is started.
 *
 * A master that answers `reload` says at once, and in its own words, that it could not. SIGHUP says nothing (management
 * guide, section 4), and success proves no digest: the worker is asked in both cases.
 *
 * @throws `reload-failed`, `edge-not-master-worker`, `edge-claimed`, and those of `runAct`
 */
export async function reloadEdge(
  edge: Edge,
  reload: { claim: Claim; target: Target; timeoutMs: number },
): Promise<void> {
  const { claim, target, timeoutMs } = reload;
  const before = await readRunning(runtimeSocket(edge));
  if (isProof(before, target)) return;
  const processes = await findProcesses(edge, before === null ? 0 : reloadMs);
  if (processes === null) return await startInstead(edge, before !== null);
  const logged = await followLog(edge);
  const { hasFailed, said } = await askToReload(edge, claim, processes, before?.pid ?? null);
  if (hasFailed) throw await reloadFailed(edge, target, said || alerts(await logged()));
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    const running = await readRunning(runtimeSocket(edge));
    if (running?.pid !== before?.pid && isProof(running, target)) return;
    const after = await readWorkers(masterSocket(edge), 0);
    if (after && after.failedReloads > processes.failedReloads) break;
    await sleep(pollMs);
  }
  throw await reloadFailed(edge, target, alerts(await logged()));
}

/**
 * Takes reloadEdge back, after `restoreConfiguration`: the restored configuration is loaded, with the same proof.
 * Where there was none before, a HAProxy of Bascule's own is stopped.
 *
 * @throws as `reloadEdge`, and `reload-failed` where HAProxy served something else than the installed file before
 */
export async function reloadRestored(edge: Edge, takeBack: TakeBack, timeoutMs: number): Promise<Claim> {
  const { record } = takeBack;
  const claim = await claimTakeBack(edge, takeBack);
  const installed = await readInstalled(edge);
  if (record.installed === null) {
    if (record.running !== null) await reloadEarlier(edge, claim, record.running, timeoutMs);
    else if (!edge.configuration.manage) await reloadUnproven(edge, claim);
    else if (installed === null) await stopManagedEdge(edge);
    return claim;
  }
  if (installed?.digest !== record.installed.digest) throw notLoadable(edge, 'the earlier file is not installed');
  const target = { generation: installed.generation, digest: installed.headerDigest };
  // Where the process served something else than the file, to load the file would give visitors what they never had.
  const servedTheFile = installed.digest === installed.headerDigest && record.running?.digest === installed.digest;
  const running = await readRunning(runtimeSocket(edge));
  if (record.running === null && running === null) return claim;
  if (record.running !== null && !servedTheFile) {
    if (isProof(running, record.running)) return claim;
    throw notLoadable(
      edge,
      `before, HAProxy served generation ${record.running.generation}, which is not the earlier file`,
    );
  }
  await reloadEdge(edge, { claim, target, timeoutMs });
  return claim;
}

/** Takes back the change of an edge whose HAProxy served what no file of Bascule said: somebody else's file, or a lost one. */
async function reloadEarlier(edge: Edge, claim: Claim, earlier: Target, timeoutMs: number): Promise<void> {
  if (isProof(await readRunning(runtimeSocket(edge)), earlier)) return;
  if ((await edge.host.readState(edgeFiles(edge).config)) === null) throw notLoadable(edge, 'the earlier file is lost');
  await reloadEdge(edge, { claim, target: earlier, timeoutMs });
}

/** Somebody else's file may name no socket on which HAProxy could prove that it runs it. */
async function reloadUnproven(edge: Edge, claim: Claim): Promise<void> {
  const processes = await findProcesses(edge, 0);
  if (processes === null) return;
  const { hasFailed, said } = await askToReload(edge, claim, processes, null);
  if (hasFailed) throw notLoadable(edge, 'the earlier file does not run', said);
}

/** Whether the master said that it failed, and why as far as it said so. */
async function askToReload(
  edge: Edge,
  claim: Claim,
  { master, version }: Workers,
  serving: number | null,
): Promise<{ readonly hasFailed: boolean; readonly said: string }> {
  const socket = answersReload(version) ? edge.configuration.files.masterSocket : 'none';
  const seen = serving === null ? 'none' : String(serving);
  const args = [...claimArguments(claim), String(master), socket, seen, edge.configuration.files.socket];
  const answer = await runAct(edge, { name: 'reload', args, owner: claim.owner });
  return { hasFailed: /^Success=0$/m.test(answer), said: alerts(answer) };
}

function answersReload(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > firstWithAnswer[0] || (major === firstWithAnswer[0] && minor >= firstWithAnswer[1]);
}

function isProof(running: Target | null, target: Target | null): boolean {
  return running !== null && running.digest === target?.digest && running.generation === target.generation;
}

async function startInstead(edge: Edge, isRunning: boolean): Promise<void> {
  const { masterSocket: socket, config } = edge.configuration.files;
  if (isRunning) throw new BasculeError('edge-not-master-worker', { host: edge.host.name, socket, config });
  if (edge.configuration.manage && (await ensureManagedEdge(edge))) return;
  throw notLoadable(edge, `no HAProxy runs ${edgeFiles(edge).config}`);
}

function notLoadable(edge: Edge, reason: string, output = ''): BasculeError {
  return new BasculeError('reload-failed', { host: edge.host.name, reason, output });
}

async function reloadFailed(edge: Edge, target: Target, output: string): Promise<BasculeError> {
  const running = await readRunning(runtimeSocket(edge));
  const serves = running ? `generation ${running.generation} still serves` : 'nothing answers';
  const reason = `generation ${target.generation} does not run, ${serves}`;
  return new BasculeError('reload-failed', { host: edge.host.name, reason, output });
}
