/**
 * How long haproxy.cfg takes to render and to check, by the number of components. The sizes take turns in each round, so
 * that whatever else the machine does weighs on all. To start HAProxy costs the same for all; the last column is what each
 * component more costs, the same in every row where the time grows linearly.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Table from 'cli-table3';
import { execa } from 'execa';
import type { AppliedConfiguration } from '../src/domain/configuration.js';
import { stampPlaceholders } from '../src/haproxy/header.js';
import { renderConfiguration } from '../src/haproxy/render.js';
import { largeConfiguration } from '../test/rig/large-configuration.js';
import { median, timed } from './times.js';

const sizes = [25, 50, 100, 200];
const rounds = 8;

interface Size {
  readonly components: number;
  readonly applied: AppliedConfiguration;
  readonly render: number[];
  readonly check: number[];
}

const folder = await mkdtemp(join(tmpdir(), 'bascule-bench-'));
try {
  const measured: Size[] = [];
  for (const components of sizes) {
    const applied = await largeConfiguration(components, join(folder, 'haproxy.sock'));
    measured.push({ components, applied, render: [], check: [] });
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const { components, applied, render, check } of measured) {
      const { ms, value } = await timed(async () => renderConfiguration(applied, []));
      render.push(ms);
      const file = join(folder, `${components}.cfg`);
      await writeFile(file, stampPlaceholders(value, { project: 'demo', states: [], version: '0.0.0' }));
      check.push((await timed(() => execa('haproxy', ['-c', '-f', file]))).ms);
    }
  }
  const table = new Table({
    head: ['components × 2 environments', 'render', 'haproxy -c', 'together', 'each more'],
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
  await rm(folder, { recursive: true });
}
