/**
 * `bascule switch` beside a shell script that does the same by hand on a HAProxy of its own with the same configuration:
 * render, `haproxy -c`, mv, HUP, and the same proof. One after the other in each round, so that whatever else the
 * machine does weighs on both.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Table from 'cli-table3';
import { execa } from 'execa';
import { DemoProject, freePort } from '../demo/project.js';
import type { OperationResult } from '../src/domain/operation.js';
import { median, sorted, timed } from './times.js';

const rounds = 8;

/** What an operator would write; `$1` is the color to make active. */
const byHand = `
set -eu
digest=$(sha256sum "$1.cfg" | cut -c1-64)
sed "s/setenv BASCULE_DIGEST .*/setenv BASCULE_DIGEST $digest/" "$1.cfg" >haproxy.cfg.new
haproxy -c -q -f haproxy.cfg.new
mv haproxy.cfg.new haproxy.cfg
kill -HUP "$(cat haproxy.pid)"
until echo 'show env BASCULE_DIGEST' | socat - UNIX-CONNECT:haproxy.sock 2>/dev/null | grep -q "$digest"; do sleep 0.005; done
`;

interface ByHand {
  switchTo(color: string): Promise<void>;
}

async function startByHand(project: DemoProject): Promise<ByHand> {
  const directory = join(project.folder, 'by-hand');
  await mkdir(directory);
  const port = await freePort();
  for (const color of ['blue', 'green']) {
    const { stdout } = await project.bascule(['render', '--active', `prod=${color}`]);
    const own = stdout
      .replaceAll(`:${project.port}`, `:${port}`)
      .replaceAll(/stats socket \S+/g, `stats socket ${join(directory, 'haproxy.sock')}`);
    await writeFile(join(directory, `${color}.cfg`), `${own}\n`);
  }
  await writeFile(join(directory, 'haproxy.cfg'), await readFile(join(directory, 'blue.cfg')));
  // Ended with the project: it runs in its folder.
  spawn('haproxy', ['-W', '-p', 'haproxy.pid', '-f', 'haproxy.cfg'], {
    cwd: directory,
    stdio: 'ignore',
    detached: true,
  }).unref();
  const switchTo = async (color: string) => {
    await execa('sh', ['-c', byHand, 'by-hand', color], { cwd: directory, timeout: 20_000 });
  };
  const ready = 'until [ -S haproxy.sock ] && [ -s haproxy.pid ]; do sleep 0.05; done';
  await execa('sh', ['-c', ready], { cwd: directory, timeout: 10_000 });
  return { switchTo };
}

async function measure(project: DemoProject): Promise<Record<'shell' | 'workflow' | 'command', number[]>> {
  const hand = await startByHand(project);
  const times = { shell: [] as number[], workflow: [] as number[], command: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const deployed = await deploy(project, round);
    const back = ['switch', 'prod', deployed.from.color ?? '', '--json'];
    const { ms, value } = await timed(() => project.must<OperationResult>(...back));
    times.command.push(ms);
    times.workflow.push(value.durationMs);
    times.shell.push((await timed(() => hand.switchTo(round % 2 === 0 ? 'green' : 'blue'))).ms);
  }
  return times;
}

/** A switch goes to a release that had traffic: so each round deploys one, and switches back. */
async function deploy(project: DemoProject, round: number): Promise<OperationResult> {
  const sha = `${round}`.padStart(8, 'b');
  await project.release(sha);
  return await project.must<OperationResult>('deploy', 'prod', sha, '--soak', '0s', '--drain', '0s', '--json');
}

const project = await DemoProject.create((yaml) =>
  yaml.replace('  manage: true', '  httpKeepAlive: 1s\n  manage: true'),
);
try {
  await project.startTemporal();
  await project.startWorker();
  await project.must('apply');
  await project.release('aaaaaaaa');
  await project.must('deploy', 'prod', 'aaaaaaaa', '--soak', '0s');
  const times = await measure(project);
  const shell = median(times.shell);
  const table = new Table({
    head: ['a switch', 'median', 'least', 'most', '× shell'],
    style: { head: [], border: [] },
  });
  for (const [name, label] of [
    ['shell', 'shell script: render, haproxy -c, mv, HUP, proof'],
    ['workflow', 'bascule: the operation, from accepted to recorded'],
    ['command', 'bascule switch: the whole command'],
  ] as const) {
    const ms = sorted(times[name]);
    const cells = [median(ms), ms[0] ?? 0, ms.at(-1) ?? 0].map((value) => `${value.toFixed(0)} ms`);
    table.push([label, ...cells, (median(ms) / shell).toFixed(1)]);
  }
  console.log(table.toString());
  console.log(
    `${rounds} rounds. The operation also reads the edge, probes every pool before and after, and can be taken back.`,
  );
} finally {
  await project.stop();
}
