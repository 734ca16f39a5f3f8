import { expect, test } from 'vitest';
import type { Host } from '../../src/hosts/host.js';
import { examineKernelLimits } from '../../src/instances/kernel-limits.js';

const hostWith = (files: Readonly<Record<string, string>>) =>
  ({ readText: async (path: string) => files[path] ?? null }) as unknown as Host;
const kernel = (maxkeys: number, watchers: number) =>
  hostWith({
    '/proc/sys/kernel/keys/maxkeys': `${maxkeys}\n`,
    '/proc/sys/fs/inotify/max_user_instances': `${watchers}\n`,
  });

test('a kernel as it comes has room for nine instances, and the tenth is told of before it hangs', async () => {
  expect(await examineKernelLimits(kernel(200, 128), 9)).toBe('has room for 9 instances');
  await expect(examineKernelLimits(kernel(200, 128), 10)).rejects.toMatchObject({
    code: 'incus-kernel-limit',
    message: expect.stringContaining("kernel.keys.maxkeys of Incus's machine is 200, which is enough for 9 instances"),
    remedy: expect.stringContaining("printf 'kernel.keys.maxkeys = 2000\\n"),
  });
});

test('one with more keys has room for as many as may watch files', async () => {
  expect(await examineKernelLimits(kernel(2_000, 128), 14)).toBe('has room for 14 instances');
  await expect(examineKernelLimits(kernel(2_000, 128), 15)).rejects.toMatchObject({
    message: expect.stringContaining("fs.inotify.max_user_instances of Incus's machine is 128"),
  });
});

test('one that has no such limit is no finding', async () => {
  expect(await examineKernelLimits(hostWith({}), 1_000)).toBeNull();
});
