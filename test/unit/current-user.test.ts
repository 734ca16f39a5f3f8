import { afterAll, beforeAll, expect, test, vi } from 'vitest';

// As in a container that was started with `--user 12345`: no entry of passwd has that number.
beforeAll(() => {
  const unknown = () => {
    throw Object.assign(new Error('uv_os_get_passwd returned ENOENT'), { code: 'ERR_SYSTEM_ERROR' });
  };
  // Files of a kind share their modules: those that another file has loaded know a user with a name.
  vi.resetModules();
  vi.doMock('node:os', async (original) => ({
    ...(await original<typeof import('node:os')>()),
    userInfo: unknown,
    homedir: unknown,
  }));
});

afterAll(() => {
  vi.doUnmock('node:os');
  vi.resetModules();
});

test('a user whose number has no name can ask for an operation, and is named by the number', async () => {
  const { Invocation } = await import('../../src/cli/invocation.js');
  const { ownProcess } = await import('../../src/cli/process-context.js');
  vi.spyOn(process, 'getuid').mockReturnValue(12345);
  const { by } = new Invocation({ ...ownProcess(), env: {} });
  expect(by).toMatch(/^uid-12345@./);
});

test('without HOME such a user has no remotes of Incus, which is no error', async () => {
  const { homeFolder } = await import('../../src/current-user.js');
  const { readRemotes } = await import('../../src/hosts/incus-remote.js');
  expect(homeFolder()).toBeNull();
  expect((await readRemotes({})).remotes).toEqual({});
});
