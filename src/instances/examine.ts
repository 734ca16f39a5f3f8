import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskUsage } from '../domain/examination.js';
import { BasculeError } from '../errors.js';
import { spaceAt } from '../hosts/disk.js';
import type { Host } from '../hosts/host.js';
import { programsAt } from '../hosts/listeners.js';
import { hasSystemCode } from '../system-error.js';
import { dataDirectory } from './data.js';
import { type Instance, type InstanceStatus, instanceFiles, readProcess } from './record.js';

/** Below either a deploy may fill the disk. */
const leastFreeBytes = 1_000_000_000;
const leastFreeShare = 0.1;
/** An instance that was started again so often ends for a reason. */
const manyRestarts = 3;

/**
 * What is not as it should be with a process; none where it is as it is wanted.
 * @returns `instance-not-running`, `port-in-use`, `instance-restarts`, `instance-left-failed`
 */
export async function examineProcess(instance: Instance): Promise<readonly BasculeError[]> {
  const { name, address, port } = instance;
  const found = problemsOf(instance, await readProcess(instance));
  if (found.every(({ code }) => code !== 'instance-not-running')) return found;
  const isFree = await instance.host.isAddressFree({ address, port });
  if (isFree) return found;
  const listeners = await programsAt(instance.host, { address, port });
  return [new BasculeError('port-in-use', { instance: name, address, port, listeners })];
}

/** What the record of an instance shows: `instance-not-running`, `instance-restarts`, `instance-left-failed`. */
export function problemsOf(
  { name, environment, component, color }: Instance,
  { state, wanted, isAlive, restarts, isFailed }: InstanceStatus,
): readonly BasculeError[] {
  const named = { instance: name, environment, component, color };
  if (isFailed) return [new BasculeError('instance-left-failed', named)];
  if (state === 'empty' || wanted === 'stopped') return [];
  if (!isAlive) return [new BasculeError('instance-not-running', named)];
  return restarts < manyRestarts ? [] : [new BasculeError('instance-restarts', { ...named, restarts })];
}

/** What the instances of a folder take: releases, logs, artifacts, and what their programs keep. Nothing of it is followed out of the folder. */
export async function measureInstances(host: Host, directory: string): Promise<readonly DiskUsage[]> {
  const names = (await host.readFolder(directory)).filter((name) => !['artifacts', dataDirectory].includes(name));
  const folders = names.map((name) => instanceFiles({ directory, name }));
  const sum = async (paths: readonly string[]) =>
    (await Promise.all(paths.map(measure))).reduce((total, bytes) => total + bytes, 0);
  const artifacts = join(directory, 'artifacts');
  const data = join(directory, dataDirectory);
  return [
    { what: 'releases', path: directory, bytes: await sum(folders.map(({ releases }) => releases)) },
    { what: 'logs', path: directory, bytes: await sum(folders.map(({ folder }) => join(folder, 'log'))) },
    { what: 'artifacts', path: artifacts, bytes: await measure(artifacts) },
    { what: 'data', path: data, bytes: await measure(data) },
  ];
}

/** Bytes of a file, or of all that lies in a folder; 0 where there is neither, or it may not be seen. */
export async function measure(path: string): Promise<number> {
  try {
    const stat = await lstat(path);
    if (!stat.isDirectory()) return stat.blocks * 512;
    const sizes = await Promise.all((await readdir(path)).map((name) => measure(join(path, name))));
    return sizes.reduce((total, bytes) => total + bytes, 0);
  } catch (error) {
    // Removed meanwhile, never there, or not for this user to see.
    if (hasSystemCode(error, 'ENOENT', 'EACCES')) return 0;
    throw error;
  }
}

/** Free space where a folder lies or will lie, for a person. Throws `disk-low`. */
export async function examineDisk(host: Host, path: string): Promise<string> {
  const { freeBytes, totalBytes } = await spaceAt(host, path);
  if (freeBytes < leastFreeBytes || freeBytes < leastFreeShare * totalBytes) {
    throw new BasculeError('disk-low', { path, freeBytes, totalBytes });
  }
  return `${(freeBytes / 1e9).toFixed(1)} GB free of ${(totalBytes / 1e9).toFixed(1)} GB`;
}
