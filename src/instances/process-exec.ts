import { constants } from 'node:os';
import { execa } from 'execa';
import { BasculeError } from '../errors.js';
import { ensureDataFolder } from './data.js';
import type { InstanceDriver } from './driver.js';
import { programEnvironment } from './environment.js';
import { instanceFiles } from './record.js';

/** The program's exit code; 128 and the signal's number where a signal ended it, as a shell has it. Throws `command-not-found`. */
export const runInRelease: InstanceDriver['runInRelease'] = async (
  instance,
  { sha, sha256, env },
  [program, ...args],
) => {
  const cwd = instanceFiles(instance).release(sha, sha256);
  const variables = programEnvironment(instance, { sha, env, data: await ensureDataFolder(instance) });
  // Ctrl-C on a terminal reaches the program too, which answers it as it likes.
  const stay = (): void => undefined;
  process.on('SIGINT', stay);
  try {
    const seen = { ...variables, ...(process.env.TERM === undefined ? {} : { TERM: process.env.TERM }) };
    const result = await execa(program, args, { cwd, env: seen, extendEnv: false, stdio: 'inherit', reject: false });
    if (result.code === 'ENOENT') throw new BasculeError('command-not-found', { host: 'localhost', program });
    return result.signal === undefined ? (result.exitCode ?? 1) : 128 + constants.signals[result.signal];
  } finally {
    process.off('SIGINT', stay);
  }
};
