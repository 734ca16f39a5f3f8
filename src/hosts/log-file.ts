import { copyFile, open, rename, stat, truncate } from 'node:fs/promises';
import { hasSystemCode } from '../system-error.js';

export interface RotationLimits {
  readonly maxBytes: number;
  /** How many files are kept in all, the one that is written among them. */
  readonly files: number;
}

/**
 * Where a log has grown to `maxBytes` keeps it as `<log>.1` (and so on) and empties it: the program goes on writing into
 * the same file, and lines of that moment may get lost. Answers whether it did.
 */
export async function rotateLogFile(log: string, { maxBytes, files }: RotationLimits): Promise<boolean> {
  if ((await logSize(log)) < maxBytes) return false;
  for (let number = files - 2; number >= 1; number -= 1) {
    if ((await logSize(`${log}.${number}`)) > 0) await rename(`${log}.${number}`, `${log}.${number + 1}`);
  }
  if (files > 1) await copyFile(log, `${log}.1`);
  await truncate(log, 0);
  return true;
}

/** In bytes, 0 where there is none. */
export async function logSize(log: string): Promise<number> {
  try {
    return (await stat(log)).size;
  } catch (error) {
    if (hasSystemCode(error, 'ENOENT')) return 0;
    throw error;
  }
}

/** What lies between two offsets, fewer bytes where the file has become shorter. */
export async function readLogBytes(file: string, begin: number, end: number): Promise<Buffer> {
  if (end <= begin) return Buffer.alloc(0);
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.alloc(end - begin);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, begin);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
