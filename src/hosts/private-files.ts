import { randomUUID } from 'node:crypto';
import { chmod, link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasSystemCode } from '../system-error.js';
import { removeHalfWritten, writing } from './writing.js';

/**
 * Has all that this process writes from here on, and what it starts, be for its user alone; and closes a folder to others
 * that an earlier version left open.
 */
export async function keepPrivate(folder: string): Promise<void> {
  process.umask(0o077);
  try {
    await chmod(folder, 0o700);
  } catch (error) {
    // There is none yet, or it is another user's, who decides.
    if (!hasSystemCode(error, 'ENOENT', 'ENOTDIR', 'EPERM', 'EROFS')) throw error;
  }
}

/** As `Host.writePrivately`, on this machine. */
export async function writePrivately(file: string, text: string): Promise<void> {
  await place(file, text, async (partial) => await rename(partial, file));
}

/** As `Host.createPrivately`, on this machine. */
export async function createPrivately(file: string, text: string): Promise<void> {
  await place(file, text, async (partial) => {
    try {
      await link(partial, file);
    } catch (error) {
      if (!hasSystemCode(error, 'EEXIST')) throw error;
    }
    await rm(partial);
  });
}

async function place(file: string, text: string, put: (partial: string) => Promise<void>): Promise<void> {
  const folder = dirname(file);
  const partial = `${file}.${randomUUID()}.partial`;
  await writing(file, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    try {
      await writeThrough(partial, text);
      await put(partial);
    } catch (error) {
      await removeHalfWritten(partial);
      throw error;
    }
    await syncFolder(folder);
  });
}

async function writeThrough(file: string, text: string): Promise<void> {
  const opened = await open(file, 'wx', 0o600);
  try {
    await opened.writeFile(text);
    await opened.sync();
  } finally {
    await opened.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const opened = await open(folder, 'r');
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}
