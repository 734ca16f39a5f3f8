import { expect, test } from 'vitest';
import type { Host } from '../../src/hosts/host.js';
import { examineKeys } from '../../src/instances/kernel-keys.js';

const hostWith = (limit: string | null) => ({ readText: async () => limit }) as unknown as Host;

test('a kernel as it comes has keys for nine instances, and the tenth is told of before it hangs', async () => {
  expect(await examineKeys(hostWith('200\n'), 9)).toBe('of the kernel for 9 instances');
  await expect(examineKeys(hostWith('200\n'), 10)).rejects.toMatchObject({
    code: 'incus-keys-few',
    message: expect.stringContaining('enough for 9 instances: bascule.yaml has 10'),
    remedy: expect.stringContaining("printf 'kernel.keys.maxkeys = 2000\\n"),
  });
  expect(await examineKeys(hostWith('2000\n'), 10)).toBe('of the kernel for 90 instances');
});

test('one that has no such limit is no finding', async () => {
  expect(await examineKeys(hostWith(null), 1_000)).toBeNull();
});
