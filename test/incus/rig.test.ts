import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Container, launchContainer } from './rig/container.js';

let container: Container;

beforeAll(async () => {
  container = await launchContainer();
});
afterAll(() => container.remove());

test('a container has systemd, and runs HAProxy in master-worker mode', async () => {
  expect(await container.run('systemctl', 'is-active', 'haproxy')).toBe('active');
  expect(await container.run('sh', '-c', 'tr "\\0" " " <"/proc/$(cat /run/haproxy.pid)/cmdline"')).toContain('-Ws');
});
