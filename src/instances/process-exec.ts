import { mkdir } from 'node:fs/promises';
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
    const inRelease = { cwd, env: seen, extendEnv: false, reject: false } as const;
    // What is started behind another program ends with an exit code of its own where there is none.
    const found = await execa('sh', ['-c', 'command -v -- "$1"', 'find', program], inRelease);
    if (found.exitCode !== 0) throw new BasculeError('command-not-found', { host: 'localhost', program });
    await mkdir(instanceFiles(instance).temporary, { recursive: true, mode: 0o700 });
    const words = [...(await noPrivileges()), '--', program, ...args];
    const result = await execa('setpriv', words, { ...inRelease, stdio: 'inherit' });
    return result.signal === undefined ? (result.exitCode ?? 1) : 128 + constants.signals[result.signal];
  } finally {
    process.off('SIGINT', stay);
  }
};

/** As `no_privileges` of templates/instance-host.sh has it for the component's own program. */
async function noPrivileges(): Promise<readonly string[]> {
  const bounding = '--bounding-set=-all';
  const { exitCode } = await execa('setpriv', [bounding, 'true'], { reject: false });
  return ['--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs', ...(exitCode === 0 ? [bounding] : [])];
}
