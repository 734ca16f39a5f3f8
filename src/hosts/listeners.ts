import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { isEveryAddress } from '../domain/addresses.js';
import type { BindAddress } from '../domain/configuration.js';
import type { Host, HostProcess, Listener, ListeningSocket } from './host.js';
import { readHostProcess } from './processes.js';

/** Sockets that listen, of /proc/net/tcp and tcp6 (proc(5)): an address is hexadecimal words in the machine's byte order. */
export function parseListeners(table: string): readonly ListeningSocket[] {
  const line = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A(?:\s+\S+){5}\s+(\d+)/gm;
  return [...table.matchAll(line)].map(([, address = '', port = '', inode = '']) => ({
    address: readableAddress(address),
    port: Number.parseInt(port, 16),
    isEveryAddress: /^0+$/.test(address),
    inode,
  }));
}

/** Whether nobody else can listen there beside it. */
export const overlaps = (one: ListeningSocket, bind: BindAddress): boolean =>
  one.port === bind.port && (one.isEveryAddress || isEveryAddress(bind) || one.address === bind.address);

/** Sockets of this machine that listen. */
export async function listeningSockets(): Promise<readonly ListeningSocket[]> {
  // Where IPv6 is switched off there is no second file.
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')),
  );
  return parseListeners(tables.join('\n'));
}

/** Finds the program of each of these sockets; one that several processes share counts for the first that began. */
export async function withProcesses(sockets: readonly ListeningSocket[]): Promise<readonly Listener[]> {
  if (sockets.length === 0) return [];
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const holders = new Map<string, number[]>();
  await Promise.all(
    pids.map(async (pid) => {
      for (const inode of await socketsOf(pid)) holders.set(inode, [...(holders.get(inode) ?? []), pid]);
    }),
  );
  return await Promise.all(
    sockets.map(async (socket) => {
      const found = await Promise.all((holders.get(socket.inode) ?? []).map(readHostProcess));
      const known = found.filter((process) => process !== null).toSorted((a, b) => b.ageMs - a.ageMs);
      return { ...socket, process: known[0] ?? null };
    }),
  );
}

/** Who has an address, as an error says it: with the release that it is, where that is one. */
export async function programsAt(host: Host, bind: BindAddress) {
  const listeners = await host.listenersAt(bind);
  return await Promise.all(
    listeners.map(async ({ address, isEveryAddress, process }) => ({
      ...{ address, isEveryAddress },
      program: process === null ? null : { pid: process.pid, name: process.name },
      release: process === null ? null : (releaseOf(process) ?? releaseOf(await readHostProcess(process.session))),
    })),
  );
}

/** By its folder `<instance>/releases/<sha>-<12 digits of its SHA-256>`, in this project or another one. */
function releaseOf(process: HostProcess | null): { instance: string; sha: string } | null {
  const found = /^(.+)\/releases\/([0-9a-f]{7,40})-[0-9a-f]{12}(?:\/|$)/.exec(process?.folder ?? '');
  return found ? { instance: basename(found[1] ?? ''), sha: found[2] ?? '' } : null;
}

/** Inodes of the sockets that a process has open; none where it ended, or is another user's. */
async function socketsOf(pid: number): Promise<readonly string[]> {
  try {
    const folder = `/proc/${pid}/fd`;
    const open = await Promise.all(
      (await readdir(folder)).map((name) => readlink(`${folder}/${name}`).catch(() => '')),
    );
    return open.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []);
  } catch {
    return [];
  }
}

function readableAddress(hexadecimal: string): string {
  const bytes = (hexadecimal.match(/.{8}/g) ?? []).flatMap((word) =>
    (word.match(/../g) ?? []).toReversed().map((byte) => Number.parseInt(byte, 16)),
  );
  // An IPv4 address as IPv6 has it (::ffff:127.0.0.1) is one too.
  const isMapped = bytes.slice(0, 12).every((byte, index) => byte === (index < 10 ? 0 : 0xff));
  if (bytes.length === 4 || isMapped) return bytes.slice(-4).join('.');
  const groups = bytes.flatMap((byte, index) =>
    index % 2 === 0 ? [((byte << 8) | (bytes[index + 1] ?? 0)).toString(16)] : [],
  );
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
