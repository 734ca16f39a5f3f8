/**
 * What a command's start costs in CPU, beside Node.js that does nothing; and the memory that a worker keeps, when it has
 * just started and after many operations. With BASCULE_BENCH_OTHER=PROGRAM the same of another build, in turns.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import { execa } from 'execa';
import { DemoProject } from '../demo/project.js';
import { median, sorted } from './times.js';

const rounds = 11;
const operations = Number(process.env.BASCULE_BENCH_OPERATIONS ?? 500);
const idleAfterMs = 15_000;
const { BASCULE_BENCH_OTHER: other } = process.env;

interface Build {
  readonly name: string;
  readonly project: DemoProject;
}

/** User and system time of a command, in ms. */
async function cpuOf({ project }: Build, args: readonly string[]): Promise<number> {
  const script = 'TIMEFORMAT="%U %S"; exec 3>&2; time "$@" >/dev/null 2>/dev/null';
  const { stderr } = await execa('bash', ['-c', script, 'time', ...args], { cwd: project.folder, env: project.env });
  const [user = 0, system = 0] = stderr.trim().split(' ').map(Number);
  return (user + system) * 1_000;
}

/** Resident memory of a build's worker, in MB. */
async function memoryOf({ project }: Build): Promise<number> {
  const status = await readFile(`/proc/${project.workerPid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

async function serve(build: Build): Promise<void> {
  const { project } = build;
  for (const sha of ['aaaaaaaa', 'bbbbbbbb']) {
    await project.release(sha);
    for (const environment of ['staging', 'prod']) {
      await project.must('deploy', environment, sha, '--soak', '0s', '--drain', '0s');
    }
  }
}

/** The quickest operation with steps and a history of its own, in both environments at once. */
async function operate({ project }: Build): Promise<void> {
  const each = ['staging', 'prod'].map(async (environment) => {
    for (let count = 0; count < operations / 2; count += 1) await project.must('cleanup', environment);
  });
  await Promise.all(each);
}

const programs = [['this build', undefined], ...(other ? [['the other build', other]] : [])] as const;
const builds: Build[] = [];
for (const [name = '', program] of programs)
  builds.push({ name, project: await DemoProject.create(undefined, program) });
try {
  const idle = new Map<Build, number>();
  for (const build of builds) {
    await build.project.startTemporal();
    await build.project.startWorker();
  }
  await sleep(idleAfterMs);
  for (const build of builds) idle.set(build, await memoryOf(build));
  for (const build of builds) await build.project.must('apply');

  const [first] = builds;
  const commands: { label: string; build: Build; args: readonly string[]; ms: number[] }[] = first
    ? [{ label: 'node -e 0', build: first, args: ['node', '-e', '0'], ms: [] }]
    : [];
  for (const build of builds) {
    for (const command of ['--version', 'status']) {
      const args = [build.project.program, command];
      commands.push({ label: `bascule ${command}, ${build.name}`, build, args, ms: [] });
    }
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const { build, args, ms } of commands) ms.push(await cpuOf(build, args));
  }
  const nothing = median(commands[0]?.ms ?? []);
  const starts = new Table({
    head: ['CPU of a start', 'median', 'least', 'most', '× node -e 0'],
    style: { head: [], border: [] },
  });
  for (const { label, ms } of commands) {
    const cells = [median(ms), sorted(ms)[0] ?? 0, sorted(ms).at(-1) ?? 0].map((value) => `${value.toFixed(0)} ms`);
    starts.push([label, ...cells, (median(ms) / nothing).toFixed(2)]);
  }
  console.log(starts.toString());

  const memory = new Table({
    head: ['memory of a worker', 'idle', `after ${operations} operations`],
    style: { head: [], border: [] },
  });
  for (const build of builds) {
    await serve(build);
    await operate(build);
    memory.push([
      build.name,
      ...[idle.get(build) ?? 0, await memoryOf(build)].map((value) => `${value.toFixed(0)} MB`),
    ]);
  }
  console.log(memory.toString());
} finally {
  for (const { project } of builds) await project.stop();
}
