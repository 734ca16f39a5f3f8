import { isBasculeError } from '../errors.js';
import { type Edge, edgeFiles, masterSocket } from './edge.js';
import { readInstalled } from './installed.js';
import type { Worker, Workers } from './old-workers.js';
import { RuntimeApi } from './runtime.js';

/** HAProxy configuration manual, section 2.5 (time format). */
const millisecondsPer = {
  us: 0.001,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
} as const;

/**
 * When the last old worker has ended at the latest, RFC 3339; null where there is none, or one that nothing ends.
 *
 * An old worker's `hard-stop-after` is the one of the configuration it was loaded with, and runs from the reload that
 * replaced it; later reloads do not begin it anew (measured on HAProxy 2.6 and 2.8). That reload was no later than the
 * start of the next younger worker that is still there.
 *
 * @throws `edge-of-other-project`, `state-file-is-link`
 */
export async function readOldWorkersEndBy(edge: Edge, workers: Workers | null): Promise<string | null> {
  if (!workers) return null;
  const readAt = Date.now();
  const ends = await Promise.all(
    workers.old.map(async (worker) => {
      const hardStopMs = await readHardStop(edge, worker);
      return hardStopMs === null ? null : replacedBy(worker, workers, readAt) + hardStopMs;
    }),
  );
  const last = Math.max(...ends.filter((end) => end !== null));
  return Number.isFinite(last) ? new Date(last).toISOString() : null;
}

/**
 * The `hard-stop-after` of a worker's configuration, infinite where it has none, null where the worker has ended meanwhile.
 * Of one that does not answer, or whose configuration is not kept any more, it is assumed to be that of the installed one.
 */
async function readHardStop(edge: Edge, { pid }: Worker): Promise<number | null> {
  const commands = `@!${pid} show env BASCULE_GENERATION;@!${pid} show info`;
  const answer = await new RuntimeApi(masterSocket(edge)).command(commands).catch(ifSilent);
  if (answer !== null && !/^Pid: /m.test(answer)) return null;
  const generation = Number(/^BASCULE_GENERATION=(\d+)$/m.exec(answer ?? '')?.[1] ?? 0);
  const installed = await readInstalled(edge);
  const isKept = answer !== null && generation !== installed?.generation;
  const kept = isKept ? await edge.host.readState(edgeFiles(edge).kept(generation)) : null;
  return parseHardStop(kept ?? installed?.text ?? '');
}

function ifSilent(error: unknown): null {
  if (isBasculeError(error)) return null;
  throw error;
}

function parseHardStop(configuration: string): number {
  const [, amount, unit = 'ms'] = /^\s*hard-stop-after\s+(\d+)(us|ms|s|m|h|d)?/m.exec(configuration) ?? [];
  if (amount === undefined) return Number.POSITIVE_INFINITY;
  return Number(amount) * millisecondsPer[unit as keyof typeof millisecondsPer];
}

function replacedBy({ reloads }: Worker, { current, old }: Workers, readAt: number): number {
  const younger = [...(current ? [current] : []), ...old].filter((worker) => worker.reloads < reloads);
  const next = younger.toSorted((a, b) => b.reloads - a.reloads)[0];
  // Uptimes are whole seconds.
  return next ? readAt - uptimeMs(next) + 1_000 : readAt;
}

function uptimeMs({ uptime }: Worker): number {
  const [, days, hours, minutes, seconds] = /^(\d+)d(\d+)h(\d+)m(\d+)s$/.exec(uptime) ?? [];
  return (
    (((Number(days ?? 0) * 24 + Number(hours ?? 0)) * 60 + Number(minutes ?? 0)) * 60 + Number(seconds ?? 0)) * 1_000
  );
}
