import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { isListening } from '../../src/listening.js';

test('a Temporal that listens is not taken for gone by a command too busy to look for a second, one that is gone is', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const bound = server.address();
  const place = { host: '127.0.0.1', port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
  const listening = isListening(place);
  // Nothing else runs meanwhile, as while a command loads its modules on a busy machine.
  for (const until = performance.now() + 1_200; performance.now() < until; );
  expect(await listening).toBe(true);
  server.close();
  await once(server, 'close');
  expect(await isListening(place)).toBe(false);
});
