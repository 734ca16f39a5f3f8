/**
 * How long haproxy.cfg takes to render and to check, by the number of components. The sizes take turns in each round, so
 * that whatever else the machine does weighs on all. To start a program costs the same for all; the last column is what
 * each component more costs, the same in every row where the time grows linearly.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Table from 'cli-table3';
import { execa } from 'execa';
import { DemoProject } from '../demo/project.js';
import { median, timed } from './times.js';

const sizes = [25, 50, 100, 200];
const rounds = 8;

/** examples/local.yaml with so many components, each with a route of its own. */
function withComponents(yaml: string, count: number): string {
  const components = Array.from({ length: count }, (_, number) =>
    [
      `  c${number}:`,
      '    port: 8080',
      '    health: { path: /health }',
      number === 0 ? '    default: true' : `    routes: [{ prefix: /c${number} }]`,
      '    run: ["node", "server.mjs"]',
    ].join('\n'),
  );
  return yaml
    .replace(/127\.\d+\.\d+\.0\/24/, '127.77.0.0/16')
    .replace(/^components:\n(?: .*\n)+/m, `components:\n${components.join('\n')}\n`);
}

const measured = await Promise.all(
  sizes.map(async (components) => ({
    components,
    project: await DemoProject.create((yaml) => withComponents(yaml, components)),
    render: [] as number[],
    check: [] as number[],
  })),
);
try {
  for (let round = 0; round < rounds; round += 1) {
    for (const { project, render, check } of measured) {
      const { ms, value } = await timed(() => project.bascule(['render']));
      render.push(ms);
      const file = join(project.folder, 'haproxy.cfg');
      await writeFile(file, `${value.stdout}\n`);
      check.push((await timed(() => execa('haproxy', ['-c', '-f', file]))).ms);
    }
  }
  const table = new Table({
    head: ['components × 2 environments', 'bascule render', 'haproxy -c', 'together', 'each more'],
    style: { head: [], border: [] },
  });
  let before: { components: number; ms: number } | null = null;
  for (const { components, render, check } of measured) {
    const ms = median(render) + median(check);
    const more = before && (ms - before.ms) / (components - before.components);
    const cells = [median(render), median(check), ms].map((time) => `${time.toFixed(0)} ms`);
    table.push([components, ...cells, more === null ? '' : `${more.toFixed(2)} ms`]);
    before = { components, ms };
  }
  console.log(table.toString());
} finally {
  await Promise.all(measured.map(({ project }) => project.stop()));
}
