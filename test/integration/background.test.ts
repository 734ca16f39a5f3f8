import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startInBackground } from '../../src/cli/background.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bascule-background-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a log of days before is kept once, and the program begins a new one', async () => {
  const log = join(folder, 'worker.log');
  const days = 'x'.repeat(10_000_000);
  await writeFile(log, days);
  const program = await startInBackground(process.execPath, ['-e', 'console.log("new")'], { log, env: process.env });
  await program.ended;
  expect(await readFile(log, 'utf8')).toBe('new\n');
  expect((await stat(`${log}.1`)).size).toBe(days.length);
});

test('a short log is added to', async () => {
  const log = join(folder, 'worker.log');
  await writeFile(log, 'before\n');
  const program = await startInBackground(process.execPath, ['-e', 'process.exit(3)'], { log, env: process.env });
  expect(await program.ended).toBe('with exit code 3');
  expect(await program.lastLines()).toEqual(['before']);
});
