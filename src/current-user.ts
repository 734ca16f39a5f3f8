import { homedir, userInfo } from 'node:os';
import { hasSystemCode } from './system-error.js';

/** Whom this process runs as; a container may run one whose number has no name (`--user 12345`). */
export const currentUserName = (): string => ifNamed(() => userInfo().username) ?? `uid-${process.getuid?.() ?? 0}`;

/** The user's home folder; null where HOME is not set and the user's number has no name. */
export const homeFolder = (): string | null => ifNamed(homedir);

/** Null where the system has no entry for this user: Node.js says so by an error of its own kind. */
function ifNamed(ask: () => string): string | null {
  try {
    return ask();
  } catch (error) {
    if (hasSystemCode(error, 'ERR_SYSTEM_ERROR')) return null;
    throw error;
  }
}
