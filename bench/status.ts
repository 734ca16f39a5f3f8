/**
 * How long `bascule status` takes, the whole command, beside one that only starts: by the number of environments, while
 * nothing runs and while one deploys. The commands take turns, so that whatever else the machine does weighs on all.
 */
import Table from 'cli-table3';
import { DemoProject } from '../demo/project.js';
import { median, sorted, timed } from './times.js';

const sizes = [2, 20];
const rounds = 10;
const sha = 'aaaaaaaa';

interface Row {
  readonly label: string;
  readonly ms: readonly number[];
}

async function measure(environments: number): Promise<readonly Row[]> {
  const names = Array.from({ length: environments }, (_, index) => `e${index + 1}`);
  const project = await DemoProject.create((yaml) => withEnvironments(yaml, names));
  try {
    await project.startTemporal();
    await project.startWorker();
    await project.release(sha);
    await project.must('apply');
    for (const name of names) await project.must('deploy', name, sha, '--soak', '0s', '--detach');
    for (const name of names) await project.must('follow', `demo/${name}/deploy/1`);
    const idle = await inTurns(project);
    await project.must('deploy', 'e1', sha, '--again', '--wait-for-approval', '--detach');
    const { status } = await inTurns(project);
    return [
      { label: `a command that only starts`, ms: idle.start },
      { label: `status, ${environments} environments`, ms: idle.status },
      { label: `status, ${environments} environments, one deploys`, ms: status },
    ];
  } finally {
    await project.stop();
  }
}

async function inTurns(project: DemoProject): Promise<Record<'start' | 'status', number[]>> {
  const times = { start: [] as number[], status: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    times.start.push((await timed(() => project.must('--version'))).ms);
    times.status.push((await timed(() => project.must('status'))).ms);
  }
  return times;
}

/** examples/local.yaml with these environments instead of its own, each with one component and a host of its own. */
function withEnvironments(yaml: string, names: readonly string[]): string {
  const lines = names.map((name) => `  ${name}: { prefix: ${name}-, hosts: [${name}.localhost], soak: 0s, drain: 1s }`);
  return yaml
    .replace(/^environments:\n(?: .*\n)+/m, `environments:\n${lines.join('\n')}\n`)
    .replace(/^ {2}api:\n(?: {4}.*\n)+/m, '');
}

const table = new Table({
  head: ['the whole command', 'median', 'least', 'most', '× start'],
  style: { head: [], border: [] },
});
for (const size of sizes) {
  const rows = await measure(size);
  const start = median(rows[0]?.ms ?? []);
  for (const { label, ms } of rows) {
    const inOrder = sorted(ms);
    const cells = [median(inOrder), inOrder[0] ?? 0, inOrder.at(-1) ?? 0].map((value) => `${value.toFixed(0)} ms`);
    table.push([label, ...cells, (median(ms) / start).toFixed(1)]);
  }
}
console.log(table.toString());
