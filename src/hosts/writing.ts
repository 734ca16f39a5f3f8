import { rm } from 'node:fs/promises';
import { BasculeError } from '../errors.js';
import { hasSystemCode } from '../system-error.js';

/** Runs what writes a file. Throws `file-not-writable` where the disk is full, or the file may not or cannot be written. */
export async function writing<T>(file: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw asWriteError(file, error);
  }
}

/**
 * Removes what is half-written, after an error that matters more than one of this: where it cannot be removed either, the
 * next worker does when it starts.
 */
export async function removeHalfWritten(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5 }).catch(() => undefined);
}

/** An error of writing a file, which the operating system's does not name; any other error as it is. */
export function asWriteError(file: string, error: unknown): unknown {
  if (!hasSystemCode(error, 'ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'ENOTDIR', 'EEXIST')) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new BasculeError('file-not-writable', { file, reason }, { cause: error });
}
