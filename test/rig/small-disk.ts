import { mkdir } from 'node:fs/promises';
import { execa } from 'execa';

/** A file system of a megabyte at a folder, which may be filled or made read-only. Needs root, to mount it. */
export async function mountSmallDisk(folder: string): Promise<{ unmount(): Promise<void> }> {
  await mkdir(folder, { recursive: true });
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]);
  return { unmount: async () => void (await execa('umount', ['-l', folder], { reject: false })) };
}
