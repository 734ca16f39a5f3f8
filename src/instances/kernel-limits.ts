import { BasculeError } from '../errors.js';
import type { Host } from '../hosts/host.js';

/**
 * What all instances of Incus share, since to the kernel they are of one user, and how much of it a Debian takes that has
 * just booted. Without a key the start of an instance hangs; without the other its systemd does.
 */
const limits = [
  { setting: 'kernel.keys.maxkeys', each: 22 },
  { setting: 'fs.inotify.max_user_instances', each: 9 },
];

/**
 * Whether the kernel of Incus's machine has room for so many instances, as any of them sees it. Answers what to show;
 * throws `incus-kernel-limit`.
 */
export async function examineKernelLimits(inInstance: Host, instances: number): Promise<string | null> {
  let least = Number.POSITIVE_INFINITY;
  for (const { setting, each } of limits) {
    const text = await inInstance.readText(`/proc/sys/${setting.replaceAll('.', '/')}`);
    if (text === null) continue;
    const room = Math.floor(Number(text) / each);
    if (room < instances)
      throw new BasculeError('incus-kernel-limit', { setting, limit: Number(text), room, instances });
    least = Math.min(least, room);
  }
  return least === Number.POSITIVE_INFINITY ? null : `has room for ${least} instances`;
}
