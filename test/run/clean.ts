import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopEngine } from '../e2e/rig/engines.js';
import { stopIncusd } from '../incus/rig/incusd.js';

const goneWithinMs = 15_000;

/** What all that a run starts has in common: a variable of its environment, and the folder of its files. */
export interface RunMark {
  readonly variable: string;
  readonly folder: string;
}

/** Ends what a run has left behind: its processes, mounts and files. Answers what was still running. */
export async function cleanUp(mark: RunMark): Promise<readonly string[]> {
  const left = new Map<number, string>();
  for (const name of existsSync(mark.folder) ? readdirSync(mark.folder) : []) {
    const stop = name.startsWith('bascule-incus-')
      ? stopIncusd
      : name.startsWith('bascule-engine-')
        ? stopEngine
        : null;
    // Its containers and bridges know nothing of the run that made them.
    await stop?.(join(mark.folder, name)).catch((error: unknown) => console.error(error));
  }
  const deadline = Date.now() + goneWithinMs;
  for (let running = processesOf(mark); running.length > 0 && Date.now() < deadline; running = processesOf(mark)) {
    for (const { pid, command } of running) {
      left.set(pid, command);
      tryTo(() => process.kill(pid, 'SIGKILL'));
    }
    await sleep(50);
  }
  for (const point of mountsBelow(mark.folder)) tryTo(() => execFileSync('umount', ['--lazy', point]));
  rmSync(mark.folder, { recursive: true, force: true, maxRetries: 5 });
  return [...left.values()];
}

function processesOf({ variable, folder }: RunMark): { readonly pid: number; readonly command: string }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((name) => {
    const read = (file: string): string => tryTo(() => readFileSync(`/proc/${name}/${file}`, 'utf8')) ?? '';
    // One that has ended, and whose parent has not asked how, has neither.
    const command = read('cmdline').replaceAll('\0', ' ').trim();
    const isOfRun =
      read('environ').split('\0').includes(variable) ||
      command.includes(folder) ||
      tryTo(() => readlinkSync(`/proc/${name}/cwd`))?.startsWith(folder);
    return isOfRun && command !== '' ? [{ pid: Number(name), command }] : [];
  });
}

/** Mount points below a folder, the innermost first. */
function mountsBelow(folder: string): readonly string[] {
  const lines = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return lines
    .map((line) => line.split(' ')[1] ?? '')
    .filter((point) => point.startsWith(`${folder}/`))
    .toReversed();
}

/** A process or a mount may go by itself meanwhile. */
function tryTo<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}
