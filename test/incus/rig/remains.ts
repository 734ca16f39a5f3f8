import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const endedWithinMs = 20_000;
/** How long LXC takes to clear up after a container whose first process has ended. */
const clearedUpWithinMs = 5_000;

/** A process of this machine. */
interface Running {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  /** The variables it was started with, as `NAME=value`. */
  readonly variables: readonly string[];
}

/**
 * Removes a daemon of Incus without its help, whatever state it is in: its processes, containers, bridges, firewall chains,
 * mounts, loop devices and files. All that it has is in its folder, which is thrown away.
 */
export async function removeDaemon(directory: string): Promise<void> {
  const isOfDaemon = ({ command, variables }: Running) =>
    command.includes(`${directory}/`) || variables.includes(`INCUS_DIR=${directory}/incus`);
  const isMonitor = (one: Running) => isOfDaemon(one) && one.command.startsWith('[lxc monitor]');
  await endProcesses((one, all) => {
    // The first process of a container knows nothing of the daemon; its parent does.
    const isContainer = all.some((other) => other.pid === one.parent && isMonitor(other));
    return isContainer || (isOfDaemon(one) && !isMonitor(one));
  });
  const deadline = Date.now() + clearedUpWithinMs;
  while (runningProcesses().some(isMonitor) && Date.now() < deadline) await sleep(50);
  await endProcesses(isOfDaemon);
  for (const bridge of namesIn(join(directory, 'incus/networks'))) removeBridge(bridge);
  for (const point of mountsBelow(directory)) attempt('umount', '--lazy', point);
  for (const device of loopDevicesOf(directory)) attempt('losetup', '--detach', device);
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** SIGKILL, until there is none; new ones of them may come meanwhile. */
export async function endProcesses(isMeant: (one: Running, all: readonly Running[]) => boolean): Promise<void> {
  const deadline = Date.now() + endedWithinMs;
  for (;;) {
    const all = runningProcesses();
    const left = all.filter((one) => isMeant(one, all));
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`still running: ${left.map(({ command }) => command).join(', ')}`);
    for (const { pid } of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    await sleep(50);
  }
}

/** Those of this machine but this one. */
export function runningProcesses(): readonly Running[] {
  const pids = namesIn('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.flatMap((pid) => {
    try {
      const [command = '', environ = '', stat = ''] = ['cmdline', 'environ', 'stat'].map((file) =>
        readFileSync(`/proc/${pid}/${file}`, 'utf8'),
      );
      // One that has ended, and whose parent has not asked how, has no command.
      if (command === '') return [];
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return [{ pid: Number(pid), parent, command: command.replaceAll('\0', ' '), variables: environ.split('\0') }];
    } catch {
      return [];
    }
  });
}

/** With the rules that Incus made for it, and for addresses of its network. */
function removeBridge(bridge: string): void {
  const network = /inet (\d+\.\d+\.\d+\.)/.exec(attempt('ip', '-4', 'address', 'show', bridge))?.[1];
  const chains = attempt('nft', 'list', 'table', 'inet', 'incus')
    .split(/^\tchain /m)
    .slice(1);
  for (const chain of chains) {
    const [name = ''] = chain.split(' ');
    if (!name.endsWith(`.${bridge}`) && !(network && chain.includes(network))) continue;
    attempt('nft', 'flush', 'chain', 'inet', 'incus', name);
    attempt('nft', 'delete', 'chain', 'inet', 'incus', name);
  }
  attempt('ip', 'link', 'delete', bridge);
}

/** The innermost first. */
function mountsBelow(directory: string): readonly string[] {
  const points = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  return points.filter((point) => point.startsWith(`${directory}/`)).toReversed();
}

function loopDevicesOf(directory: string): readonly string[] {
  const lines = attempt('losetup', '--list', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE').split('\n');
  return lines.filter((line) => line.includes(` ${directory}/`)).map((line) => line.split(' ')[0] ?? '');
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What a command prints; nothing where it fails, for what it is about may be gone. */
function attempt(program: string, ...args: readonly string[]): string {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
