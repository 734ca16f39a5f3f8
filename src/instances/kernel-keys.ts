import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';

/** What each service of systemd takes, summed up over those of a Debian that has just booted. */
const keysOfInstance = 22;

/**
 * Whether the kernel of Incus's machine has keys for so many instances, as any of them sees it: without one the start of
 * an instance hangs. Answers what to show; throws `incus-keys-few`.
 */
export async function examineKeys(inInstance: Host, instances: number): Promise<string | null> {
  const text = await inInstance.readText('/proc/sys/kernel/keys/maxkeys');
  if (text === null) return null;
  const room = Math.floor(Number(text) / keysOfInstance);
  if (room < instances) throw new BasculeError('incus-keys-few', { limit: Number(text), room, instances });
  return `of the kernel for ${room} instances`;
}
