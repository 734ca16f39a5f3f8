/**
 * The main job, on real parts, in a folder of its own: two environments and two components behind one HAProxy; a release
 * whose health check fails; a deploy under load whose worker is killed in the middle; a rollback by signal.
 * Exits 1 if one request failed, or one answer came from where it should not.
 */
import Table from 'cli-table3';
import { execa } from 'execa';
import pc from 'picocolors';
import { type LoadReport, startLoad } from './load.js';
import { DemoProject, temporalProgram } from './project.js';

const first = 'a1a1a1a1a1';
const broken = 'bad0bad0ba';
const second = 'b2b2b2b2b2';
const mistakes: string[] = [];

const say = (text: string) => console.log(`\n${pc.bold(text)}`);
const note = (text: string) => console.log(pc.dim(`  ${text}`));

function expect(isSo: boolean, what: string): void {
  console.log(isSo ? pc.green(`  ✔ ${what}`) : pc.red(`  ✘ ${what}`));
  if (!isSo) mistakes.push(what);
}

/** Runs a command, its progress and its answer on the terminal; answers its exit code. */
async function run(project: DemoProject, args: readonly string[], onStep?: (line: string) => void): Promise<number> {
  console.log(pc.cyan(`$ bascule ${args.join(' ')}`));
  const { exitCode, stdout } = await project.bascule(args, (line) => {
    console.log(`  ${line}`);
    onStep?.(line);
  });
  console.log(stdout);
  return exitCode;
}

async function activeSha(project: DemoProject): Promise<string | null> {
  const { environments } = await project.must<{ environments: { name: string; sha: string | null }[] }>(
    'status',
    '--json',
  );
  return environments.find(({ name }) => name === 'prod')?.sha ?? null;
}

async function main(): Promise<void> {
  const startedAt = Date.now();
  say('Temporal, a worker and HAProxy on this machine');
  const project = await DemoProject.create((yaml) =>
    yaml.replaceAll('    run: ["node", "server.mjs"]', '    startDeadline: 5s\n    run: ["node", "server.mjs"]'),
  );
  try {
    await project.startTemporal();
    await story(project);
  } finally {
    if (process.env.KEEP === '1') keep(project);
    else await project.stop();
  }
  note(
    `${((Date.now() - startedAt) / 1000).toFixed(0)} s in all; ${process.env.KEEP === '1' ? 'left running' : 'nothing is left running'}`,
  );
  if (mistakes.length > 0) {
    console.error(
      pc.red(`\n${mistakes.length} of these were not so:\n${mistakes.map((one) => `  ${one}`).join('\n')}`),
    );
    process.exitCode = 1;
  }
}

async function story(project: DemoProject): Promise<void> {
  for (const sha of [first, second]) await project.release(sha);
  await project.release(broken, { isBroken: true });
  await project.startWorker();
  expect((await run(project, ['apply'])) === 0, 'one HAProxy serves staging and prod');

  say('A release to staging and to prod');
  expect((await run(project, ['deploy', 'staging', first, '--soak', '0s'])) === 0, `staging serves ${first}`);
  expect((await run(project, ['deploy', 'prod', first, '--soak', '0s'])) === 0, `prod serves ${first}`);

  say('Requests come, over kept connections, new ones, and with a cookie; they go on to the end');
  const load = startLoad(
    project.port,
    [
      { host: 'localhost', path: '/api/v1/things', kind: 'cookie', perSecond: 20, environment: 'prod' },
      { host: 'localhost', path: '/', kind: 'new', perSecond: 30, environment: 'prod' },
      { host: 'prod.localhost', path: '/', kind: 'keep-alive', perSecond: 30, environment: 'prod' },
      { host: 'staging.localhost', path: '/', kind: 'keep-alive', perSecond: 10, environment: 'staging' },
    ],
    180,
  );

  say('A release whose health check fails: it never gets traffic');
  expect((await run(project, ['deploy', 'prod', broken])) === 1, `${broken} was refused, with exit code 1`);
  expect((await activeSha(project)) === first, `prod serves ${first}`);

  say('The next release; the worker is killed with SIGKILL in the middle of it');
  let kill: Promise<void> | null = null;
  const deployed = await run(project, ['deploy', 'prod', second, '--soak', '3s'], (line) => {
    if (kill || !/\bstart\b/.test(line)) return;
    console.log(pc.red('  ⚡ kill -9 of the worker'));
    kill = project.killWorker().then(() => {
      note('a worker is started again');
      return project.startWorker();
    });
  });
  await kill;
  expect(kill !== null, 'the worker was killed in the middle of the deploy');
  expect(deployed === 0, `the deploy went on and prod serves ${second}`);

  say('A rollback, by one signal');
  const signalledAt = Date.now();
  const signal = ['workflow', 'signal', '--workflow-id', 'demo/environment/prod', '--name', 'rollback'];
  console.log(pc.cyan(`$ temporal ${signal.join(' ')}`));
  await execa(await temporalProgram(), [...signal, '--address', project.temporalAddress]);
  while ((await activeSha(project)) !== first && Date.now() - signalledAt < 15_000);
  const seconds = ((Date.now() - signalledAt) / 1000).toFixed(1);
  expect((await activeSha(project)) === first, `prod serves ${first} again after ${seconds} s`);

  const report = await load.stop();
  say('Who answered');
  show(report);
  expect(report.failures.length === 0, `${report.sent} requests, ${report.failures.length} failed`);
  expect(report.fromElsewhere === 0, 'no answer came from another environment');
  expect(!report.answered.some((one) => one.sha === broken), `${broken} answered nobody`);
}

function show(report: LoadReport): void {
  const time = (at: number) => new Date(at).toISOString().slice(11, 23);
  const table = new Table({
    head: ['host', 'color', 'sha', 'requests', 'from', 'to'],
    style: { head: [], border: [] },
  });
  for (const one of report.answered) {
    table.push([one.host, one.color, one.sha, one.count, time(one.firstAt), time(one.lastAt)]);
  }
  console.log(table.toString());
  for (const failure of report.failures) note(`failed: ${failure}`);
}

function keep(project: DemoProject): void {
  say('Left running (KEEP=1)');
  note(`prod      http://localhost:${project.port}/`);
  note(`staging   http://staging.localhost:${project.port}/`);
  note(`Temporal  temporal workflow list --address ${project.temporalAddress}`);
  note(`try       cd ${project.folder} && TEMPORAL_ADDRESS=${project.temporalAddress} bascule status`);
  note(`end it    pkill -9 -f ${project.folder}`);
  project.leaveRunning();
}

await main();
