import { expect, test, vi } from 'vitest';
import { Invocation } from '../../src/cli/invocation.js';
import { ownProcess } from '../../src/cli/process-context.js';
import { homeFolder } from '../../src/current-user.js';
import { readRemotes } from '../../src/hosts/incus-remote.js';

// As in a container that was started with `--user 12345`: no entry of passwd has that number.
vi.mock('node:os', async (original) => {
  const unknown = () => {
    throw Object.assign(new Error('uv_os_get_passwd returned ENOENT'), { code: 'ERR_SYSTEM_ERROR' });
  };
  return { ...(await original<typeof import('node:os')>()), userInfo: unknown, homedir: unknown };
});

test('a user whose number has no name can ask for an operation, and is named by the number', () => {
  vi.spyOn(process, 'getuid').mockReturnValue(12345);
  const { by } = new Invocation({ ...ownProcess(), env: {} });
  expect(by).toMatch(/^uid-12345@./);
});

test('without HOME such a user has no remotes of Incus, which is no error', async () => {
  expect(homeFolder()).toBeNull();
  expect((await readRemotes({})).remotes).toEqual({});
});
