/**
 * Runs lint, types, build and tests, and ends with `N passed, N failed[, N skipped]`; exits 1 where anything failed.
 *   tsx test/run/main.ts --limit MINUTES [argument of vitest...]
 *
 * A test on real processes that fails is run once more with its file, alone: where it passes then, it is named as flaky;
 * more than two of these fail the run. A run that is cut off counts what passed, names what ran, and leaves nothing.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ExecaError, execa } from 'execa';
import { cleanUp, type RunMark } from './clean.js';
import { closingLine, type Failure, type RunSummary, readEvents, summarize } from './events.js';

const mostFlaky = 2;
/** With more files than this that failed, something is broken. */
const mostFilesAgain = 6;
const stopWithinMs = 10_000;
/** How long Node.js takes to start on two quiet cores. */
const usualStartMs = 45;
const mostSlowness = 8;

const [option, minutes, ...vitestArguments] = process.argv.slice(2);
if (option !== '--limit' || !Number(minutes)) throw new Error('usage: main.ts --limit MINUTES [argument of vitest...]');

const id = randomBytes(3).toString('hex');
// Short: a Unix socket's path has 107 characters at most.
const mark: RunMark = { variable: `BASCULE_TEST_RUN=${id}`, folder: join(tmpdir(), `bt-${id}`) };
const cutOff = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => cutOff.abort(signal));

const failedChecks = await runChecks();
const startedAt = Date.now();
const timer = setTimeout(() => cutOff.abort(`the limit of ${minutes} minutes`), Number(minutes) * 60_000);
const { summary, flaky } = failedChecks.includes('build') ? { summary: summarize([]), flaky: [] } : await runTests();
clearTimeout(timer);
const left = await cleanUp(mark);
report(summary, flaky, left);

/** Answers which failed. */
async function runChecks(): Promise<string[]> {
  const checks = {
    biome: ['biome', 'check', '.'],
    types: ['tsc', '--noEmit'],
    build: [process.execPath, 'script/build.mjs'],
  };
  const runs = Object.entries(checks).map(async ([name, [program = '', ...args]]) => {
    const { failed, all } = await execa(program, args, {
      preferLocal: true,
      reject: false,
      all: true,
      cancelSignal: cutOff.signal,
    });
    print(`${failed ? 'FAIL' : 'ok  '} ${name}`);
    if (failed) print(all);
    return failed ? [name] : [];
  });
  return (await Promise.all(runs)).flat();
}

async function runTests(): Promise<{ summary: RunSummary; flaky: readonly Failure[] }> {
  const slowness = await measureSlowness();
  print(`This machine is taken for ${slowness.toFixed(1)} times as slow as two quiet cores.`);
  const env = { BASCULE_TEST_SLOWNESS: slowness.toFixed(2) };
  const first = await runVitest('first', vitestArguments, env);
  const files = [...new Set(first.failed.flatMap(({ file, kind }) => (file && kind !== 'unit' ? [file] : [])))];
  if (cutOff.signal.aborted || files.length === 0 || files.length > mostFilesAgain)
    return { summary: first, flaky: [] };
  print(`\nOnce more, alone: ${files.join(', ')}`);
  const again = await runVitest('again', ['--no-file-parallelism', ...projectArguments(), ...files], env);
  const stillFailed = new Set(again.failed.map(({ test }) => test));
  const isAgain = ({ file }: { readonly file: string | null }): boolean => file !== null && files.includes(file);
  return {
    summary: {
      ...first,
      passed: [...first.passed.filter((test) => !files.some((file) => test.startsWith(`${file} > `))), ...again.passed],
      failed: [...first.failed.filter((failure) => !isAgain(failure)), ...again.failed],
      running: again.running,
    },
    flaky: first.failed.filter((failure) => isAgain(failure) && !stillFailed.has(failure.test)),
  };
}

/** `--project NAME` of the arguments, without the files they name. */
function projectArguments(): readonly string[] {
  return vitestArguments.filter((word, index) => word === '--project' || vitestArguments[index - 1] === '--project');
}

/** Runs vitest in a process group of its own, and reads what it noted. */
async function runVitest(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<RunSummary> {
  // Containers' root is another user here, who has to pass.
  mkdirSync(mark.folder, { recursive: true, mode: 0o711 });
  const events = join(mark.folder, `${name}.events`);
  closeSync(openSync(events, 'w'));
  const [variable = '', value = ''] = mark.variable.split('=');
  const vitest = spawn('node_modules/.bin/vitest', ['run', ...args], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env, [variable]: value, TMPDIR: mark.folder, TEST_EVENTS_FILE: events },
  });
  const group = (signal: NodeJS.Signals) => vitest.pid && process.kill(-vitest.pid, signal);
  const stop = () => {
    group('SIGTERM');
    setTimeout(() => vitest.exitCode === null && vitest.signalCode === null && group('SIGKILL'), stopWithinMs).unref();
  };
  cutOff.signal.addEventListener('abort', stop, { once: true });
  if (cutOff.signal.aborted) stop();
  const [code] = await once(vitest, 'exit');
  cutOff.signal.removeEventListener('abort', stop);
  const summary = summarize(readEvents(events));
  const isUnexplained = code !== 0 && summary.failed.length + summary.running.length === 0 && !cutOff.signal.aborted;
  if (!isUnexplained) return summary;
  const failure = { test: `vitest ended with ${code}`, file: null, kind: '', error: 'and says no more' };
  return { ...summary, failed: [failure] };
}

/** How many times as long as usual Node.js takes to start: bounds of waits grow with it. */
async function measureSlowness(): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    const begin = performance.now();
    await execa(process.execPath, ['-e', '0']).catch((error: ExecaError) => print(error.message));
    times.push(performance.now() - begin);
  }
  const median = times.toSorted((a, b) => a - b)[3] ?? usualStartMs;
  return Math.min(Math.max(median / usualStartMs, 1), mostSlowness);
}

function report(
  { passed, failed, skipped, running, slowest }: RunSummary,
  flaky: readonly Failure[],
  left: readonly string[],
): void {
  if (slowest.length > 0) print('\nSlowest:');
  for (const { test, ms } of slowest) print(`  ${(ms / 1000).toFixed(1).padStart(5)} s  ${test}`);
  print('');
  for (const command of left) print(`Left running, and ended now: ${command.slice(0, 160)}`);
  for (const { test, error } of flaky) print(`Flaky: ${test}: ${error}`);
  const more = [
    ...failedChecks,
    ...(flaky.length > mostFlaky ? [`${flaky.length} flaky tests: test/flaky.md says what to do`] : []),
    ...(process.env.CI && skipped > 0 ? [`${skipped} skipped`] : []),
    ...(cutOff.signal.aborted ? [`the run was cut off by ${String(cutOff.signal.reason)}`] : []),
  ];
  for (const test of running) print(`Not finished: ${test}`);
  for (const { test } of failed) print(`Failed: ${test}`);
  for (const check of more) print(`Failed: ${check}`);
  const failures = failed.length + running.length + more.length + (passed.length === 0 ? 1 : 0);
  print(`${((Date.now() - startedAt) / 1000).toFixed(0)} s of tests`);
  print(closingLine(passed.length, failures, skipped));
  process.exit(failures > 0 ? 1 : 0);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
