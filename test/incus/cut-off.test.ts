import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../rig/chaos.js';
import type { EndlessRun } from './rig/endless-run.js';
import { runningProcesses } from './rig/remains.js';

const program = fileURLToPath(new URL('rig/endless-run.ts', import.meta.url));

/** What this machine has of a run. */
async function remainsOf({ folder, bridge, pids }: EndlessRun) {
  const [links, rules, loops] = await Promise.all(
    ['ip -brief link', 'nft list ruleset', 'losetup --list --output BACK-FILE'].map(
      async (command) => (await execa('sh', ['-c', command])).stdout,
    ),
  );
  return {
    processes: runningProcesses().filter(({ pid, command }) => pids.includes(pid) || command.includes(folder)).length,
    mounts: (await readFile('/proc/self/mounts', 'utf8')).split(` ${folder}`).length - 1,
    loopDevices: loops?.includes(folder),
    bridge: links?.includes(bridge),
    rules: rules?.includes(bridge),
    folder: existsSync(folder),
  };
}

test('a run that is killed leaves no daemon, container, bridge, mount, file or process behind', async () => {
  const { BASCULE_TEST_RUN: _run, WATCHED_RUN: _watched, TMPDIR: _folder, ...env } = process.env;
  const killed = spawn(process.execPath, ['--import', 'tsx', program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void killed.kill('SIGKILL'));
  const [line] = (await once(createInterface(killed.stdout), 'line')) as [string];
  const run = JSON.parse(line) as EndlessRun;
  const before = await remainsOf(run);
  expect(before).toMatchObject({ loopDevices: true, bridge: true, rules: true, folder: true });
  expect(before.processes).toBeGreaterThanOrEqual(5);
  expect(before.mounts).toBeGreaterThan(0);

  killed.kill('SIGKILL');
  const nothing = { processes: 0, mounts: 0, loopDevices: false, bridge: false, rules: false, folder: false };
  await until('nothing of it is left', async () => {
    const left = await remainsOf(run);
    return Object.entries(nothing).every(([name, none]) => left[name as keyof typeof left] === none);
  }).catch(async () => expect(await remainsOf(run)).toEqual(nothing));
});
