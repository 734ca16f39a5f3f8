import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { identityOf, type ProcessIdentity } from '../../../src/hosts/process-identity.js';
import type { RunMark } from '../../run/clean.js';
import { runningProcesses } from './remains.js';

const watchdog = fileURLToPath(new URL('watchdog.ts', import.meta.url));
const runVariable = 'BASCULE_TEST_RUN';

/** Values of this machine by the file of /proc/sys that holds them. */
type Limits = Readonly<Record<string, number>>;

/** Of what a watchdog removes all that is left once its owner has ended. */
export interface WatchedRun {
  readonly owner: ProcessIdentity;
  readonly mark: RunMark;
  readonly limits: Limits;
}

/**
 * The services of all instances take their keys and what they watch files by from those of one user of this machine. As
 * Linux comes that is enough for about nine instances; the start of the next one hangs.
 */
const neededLimits: Limits = {
  'kernel/keys/maxkeys': 2_000,
  'kernel/keys/maxbytes': 2_000_000,
  'fs/inotify/max_user_instances': 1_024,
};

/**
 * Readies this machine for a run on Incus, and has what it leaves removed however it ends. Answers how to end it. Once in a
 * run: where another kind of test has done so, nothing is left to do.
 */
export default async function prepareRun(): Promise<() => void> {
  if (process.env.WATCHED_RUN) return () => undefined;
  const limits = raiseLimits();
  await startWatchdog(limits);
  return () => restoreLimits(limits);
}

/** Unless another run needs them as they are. */
export function restoreLimits(limits: Limits): void {
  if (!runningProcesses().some(({ command }) => command.includes('/incusd --group'))) setLimits(limits);
}

function setLimits(limits: Limits): void {
  for (const [name, limit] of Object.entries(limits)) writeFileSync(`/proc/sys/${name}`, String(limit));
}

/** Answers what they were. */
function raiseLimits(): Limits {
  const before = Object.keys(neededLimits).map((name) => [name, Number(readFileSync(`/proc/sys/${name}`, 'utf8'))]);
  const limits = Object.fromEntries(before) as Limits;
  const raised = Object.entries(neededLimits).map(([name, needed]) => [name, Math.max(needed, limits[name] ?? 0)]);
  setLimits(Object.fromEntries(raised));
  return limits;
}

/** `make test` marks its run and ends after vitest does; else the run is vitest's own. */
async function startWatchdog(limits: Limits): Promise<void> {
  const isOfRunner = process.env[runVariable] !== undefined;
  if (!isOfRunner) {
    process.env[runVariable] = randomBytes(3).toString('hex');
    process.env.TMPDIR = join(tmpdir(), `bt-${process.env[runVariable]}`);
    // Containers' root is another user here, who has to pass.
    mkdirSync(process.env.TMPDIR, { mode: 0o711 });
  }
  const owner = await identityOf(isOfRunner ? process.ppid : process.pid);
  if (owner === null) throw new Error('the run that this is part of has ended');
  const mark = { variable: `${runVariable}=${process.env[runVariable]}`, folder: tmpdir() };
  const watched: WatchedRun = { owner, mark, limits };
  process.env.WATCHED_RUN = JSON.stringify(watched);
  // Without the mark of the run, by which it would end itself.
  const { [runVariable]: _run, TMPDIR: _folder, ...env } = process.env;
  spawn(process.execPath, ['--import', 'tsx', watchdog], {
    env,
    cwd: join(watchdog, '../../../..'),
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
  }).unref();
}
